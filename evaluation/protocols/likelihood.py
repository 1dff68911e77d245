"""Zero-shot classification by models that give a text a probability instead of an embedding: the captioner and the words of
CLIP's figure 2 (Radford et al. 2021, arXiv:2103.00020, section 2.3).

N = pictures, P = prompts, C = classes.
"""

from collections.abc import Callable, Sequence

import numpy as np

from evaluation.catalog.benchmarks import Prompts
from evaluation.protocols.zero_shot_classifier import Rows


def class_scores(text_scores: Callable[[Sequence[str]], Rows], prompts: Prompts) -> Rows:
    """(N, C): the mean over a class's names and templates of what `text_scores` gives, (N, P) for P texts.

    For the captioner log p(text | picture), for words the mean log-probability of the text's words. The mean of logarithms
    and not of probabilities: one template that the model finds unlikely would else count for nothing.
    """
    spoken = [
        [template.replace("{}", name) for template in prompts.templates for name in names]
        for names in prompts.classes.values()
    ]
    distinct = sorted({prompt for group in spoken for prompt in group})
    place = {prompt: position for position, prompt in enumerate(distinct)}
    scores_NP = np.asarray(text_scores(distinct))
    columns = [scores_NP[:, [place[prompt] for prompt in group]].mean(axis=1) for group in spoken]
    return np.stack(columns, axis=1).astype(np.float32)
