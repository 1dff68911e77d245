"""The `evaluate.probe` section of a recipe: classifiers on frozen features."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from pipeline.errors import ConfigError
from pipeline.settings import Settings

Anchor = Literal["zero", "zero_shot"]


def require_once(key: str, values: Sequence[object]) -> None:
    """Raises ConfigError where a value stands twice: it would be measured, and counted, twice."""
    for value in values:
        if values.count(value) > 1:
            raise ConfigError(f"{key}: {value} is named twice; name it once")


class ProbeConfig(Settings):
    """How classifiers are fitted to frozen features; the defaults are the papers'."""

    mode: Literal["exact", "sklearn"] = "exact"
    """exact solves each fit to its optimum and says how far off it can be; sklearn stops where the installed
    scikit-learn's LogisticRegression does on the same features (tol 1e-4, 1000 iterations), as published probes did;
    few_shot then has no anchor zero_shot, which scikit-learn does not know."""
    search_gap: float = Field(1e-3, gt=0, lt=1)
    """In mode exact: how far above its optimum a fit of the search may stay, as a share of it; fits that may win the search, and
    the final one, are solved to 1e-6 all the same."""
    full_path: bool = False
    """Also fit all 97 penalties and keep the curve: CLIP's search looks at 15."""
    device: Literal["auto", "cpu", "cuda"] = "auto"
    """Where fits run; auto takes a GPU where there is one."""
    precision: Literal["float32", "float64"] = "float32"
    """Of the matrix products; sums are float64 always. float32 is enough for the gap that exact promises, at half the time."""
    shots: tuple[int, ...] = Field((1, 2, 4, 8, 16), min_length=1)
    """Pictures per class of few_shot (arXiv:2103.00020, figure 6)."""
    seeds: tuple[int, ...] = Field((1, 2, 3), min_length=1)
    """Draws of few_shot and few_shot_lsr (CoOp, arXiv:2109.01134: 1 to 3); scores are means over them."""
    anchors: tuple[Anchor, ...] = Field(("zero", "zero_shot"), min_length=1)
    """What few_shot's penalty pulls the weights to: zero, or the zero-shot classifier (models that read text)."""
    lsr_shots: tuple[int, ...] = Field((1, 5, 10, 25), min_length=1)
    """Pictures per class of few_shot_lsr (big_vision)."""
    lsr_penalty: float = Field(1024.0, gt=0)
    """Ridge of few_shot_lsr: 2^10, big_vision's default."""
    neighbours: tuple[int, ...] = Field((10, 20, 100, 200), min_length=1)
    """Numbers of neighbours of knn (DINO, arXiv:2104.14294)."""
    temperature: float = Field(0.07, gt=0)
    """Of knn's votes: a neighbour at cosine s counts exp(s / temperature) (DINO's 0.07)."""

    @model_validator(mode="after")
    def _sklearn_knows_no_anchor(self) -> "ProbeConfig":
        if self.mode == "sklearn" and "anchors" in self.model_fields_set and "zero_shot" in self.anchors:
            raise ConfigError(
                "evaluate.probe.anchors: scikit-learn has no penalty on the distance to zero_shot weights;"
                " set anchors=[zero] or evaluate.probe.mode=exact"
            )
        return self

    @field_validator("shots", "seeds", "anchors", "lsr_shots", "neighbours")
    @classmethod
    def _once(cls, values: tuple[object, ...], info: ValidationInfo) -> tuple[object, ...]:
        require_once(f"evaluate.probe.{info.field_name}", values)
        return values
