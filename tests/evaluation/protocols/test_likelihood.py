"""Classes scored by the probability of their prompts."""

from collections.abc import Sequence

import numpy as np

from evaluation.catalog.benchmarks import Prompts
from evaluation.protocols.likelihood import class_scores


def test_a_class_s_score_is_the_mean_over_its_names_and_templates_each_text_asked_for_once() -> None:
    prompts = Prompts({"a": ("x", "y"), "b": ("z",)}, ("{}", "the {}"), "1")
    asked: list[str] = []
    values = {"x": 1.0, "y": 2.0, "z": 7.0, "the x": 3.0, "the y": 6.0, "the z": 9.0}

    def text_scores(texts: Sequence[str]) -> np.ndarray:
        asked.extend(texts)
        return np.array([[values[text] * picture for text in texts] for picture in (1, 10)], np.float32)

    scores = class_scores(text_scores, prompts)
    assert sorted(asked) == sorted(values)
    np.testing.assert_allclose(scores, [[3.0, 8.0], [30.0, 80.0]])
