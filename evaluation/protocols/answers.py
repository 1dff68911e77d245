"""How a model is asked which class a picture shows: in words where it reads some, else by the classes of its own head.

So what is measured of a zero-shot classifier's answers (corruptions, shifts, occlusion, shape) is measured of a ViT's too.

N = pictures, C = classes of the task.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog.benchmarks import Prompts, Task, prompts_of
from evaluation.catalog.words import imagenet_classes_of
from evaluation.corruptions.variant import Variant
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.models.layers import CLASSES, EMBEDDING
from evaluation.protocols.protocol import Question
from evaluation.protocols.zero_shot_classifier import classifier, cosines
from pipeline.errors import DataError

Answerer = Callable[[NDArray[np.floating]], NDArray[np.int64]]
Groups = Sequence[NDArray[np.int64]]
"""Of each class of a task the places among the model's own: one, or several that all mean it."""


def unable(task: Task, encoder: Encoder) -> str | None:
    """Why the model has no answer to which of the task's classes a picture shows; None where it has."""
    if encoder.reads_text:
        return None
    if not encoder.class_names:
        return f"asks in words or by classes, and {encoder.name} reads none and has none with names"
    try:
        groups(encoder, task)
    except DataError as error:
        return str(error)
    return None


def want(encoder: Encoder, variant: Variant | None = None) -> Wanted:
    """The features that answers are made of."""
    return Wanted(EMBEDDING if encoder.reads_text else CLASSES, variant)


def answerer(question: Question) -> Answerer:
    """From rows of `want` to the place of the likeliest class, (N,). Raises DataError for rows that have no such class."""
    assert question.prompts is not None
    if question.encoder.reads_text:
        weights_CD = classifier(question.embed, question.prompts).weights
        return lambda rows_ND: np.asarray(cosines(np.asarray(rows_ND, np.float32), weights_CD).argmax(axis=1))
    places_C = groups(question.encoder, question.task)
    return lambda logits_NK: np.asarray(of_classes(logits_NK, places_C).argmax(axis=1))


def of_classes(logits_NK: NDArray[np.floating], places_C: Groups) -> NDArray[np.floating]:
    """(N, C): the task's classes among all that the model tells apart, as ImageNet's subsets are measured (Hendrycks et al.
    2021, arXiv:2006.16241); of several that mean one class the likeliest counts, as in imagenet-testbed."""
    last = max(int(each.max()) for each in places_C)
    if logits_NK.shape[1] <= last:
        raise DataError(f"the model gives {logits_NK.shape[1]} logits and names {last + 1} classes; name as many")
    return np.stack([logits_NK[:, each].max(axis=1) for each in places_C], axis=1)


def groups(encoder: Encoder, task: Task) -> Groups:
    """Where the model has each class of the task; a model that tells ImageNet's classes has those of ObjectNet and of the frame
    sets, too, each as the classes of ImageNet that fall on it. Raises DataError for a class that it has not."""
    words = task.prompts or task.name
    prompts = prompts_of(words)
    try:
        return [np.array([place]) for place in places(encoder, prompts, task.name)]
    except DataError:
        falls_on = imagenet_classes_of(words)
        if all(synsets == (label,) for label, synsets in falls_on.items()):
            raise
        known, told = prompts_of("imagenet"), task.name
        try:
            place = dict(zip(known.classes, places(encoder, known, told).tolist(), strict=True))
        except DataError:
            place = {}
        if not place:
            raise
        return [np.array([place[synset] for synset in falls_on[label]], np.int64) for label in prompts.classes]


def places(encoder: Encoder, prompts: Prompts, task: str) -> NDArray[np.int64]:
    """(C,) where the model has each class of the task: the dataset's own word, or a name that prompts use for it.

    Raises DataError for a class that it has not, or has twice.
    """
    names, found = encoder.class_names, {}
    for key, spoken in prompts.classes.items():
        here = [place for place, name in enumerate(names) if name == key]
        if not here:
            wanted = {word.casefold() for word in spoken}
            here = [place for place, name in enumerate(names) if name.casefold() in wanted]
        if len(here) != 1:
            what = "has no class" if not here else f"has {len(here)} classes"
            some = ", ".join(names[:3]) + (f" and {len(names) - 3:,} more" if len(names) > 3 else "")
            raise DataError(
                f"{task}: the model {what} '{key}'; it tells apart {some}: train it on classes of these names"
            )
        found[key] = here[0]
    return np.array(list(found.values()), np.int64)
