"""The recipe: what a whole run is made from, as one checked value. The rooms own the sections, this file joins them.

load("demo", ["train.learning_rate=0.001"])     a shipped recipe with one change
load("my.yaml")                                 a file of one's own, usually `extends: demo` and the difference
"""

import difflib
import os
from collections.abc import Sequence
from typing import Any, TypeVar

from pydantic import Field, PrivateAttr, ValidationError, model_validator

from evaluation.config import PICTURES_ALONE, EvaluateConfig
from orchestration.recipe_file import hide_environment, read_document, shipped_recipes, to_yaml
from pipeline.config import CurateConfig
from pipeline.demo.config import DemoWebConfig
from pipeline.errors import ConfigError
from pipeline.settings import Settings
from pipeline.settings_errors import config_error
from training.config import TrainConfig
from training.saving.best_metric import asks_for_a_score, step_metrics
from training.spec import get_spec

Model = TypeVar("Model", bound=Settings)

TEXT_FAMILIES = ("clip",)
"""Families whose models bring pictures and texts into one space."""


class TrackConfig(Settings):
    """Where the run is told of in MLflow; the server's address is MLFLOW_TRACKING_URI, never part of a recipe."""

    experiment: str = Field(default="openwit", min_length=1, max_length=200)
    """MLflow experiment that the runs are listed under."""

    register_as: str | None = Field(default=None, min_length=1, max_length=200)
    """Name in the model registry for the trained model; null registers nothing."""


class ExpectConfig(Settings):
    """What dataset a recipe is written for, while nobody has named one: what `openwit plan` counts with."""

    rows: int = Field(ge=1)
    """Samples that it has."""

    what: str = Field(min_length=1, max_length=200)
    """What its samples are, in words: pairs of a picture and a text, pictures with a label, pictures."""


class Recipe(Settings):
    """A whole run. A section that is null is not run; `data` and `checkpoint` stand in for the work before them."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    """What the run is called in tables, reports and MLflow."""

    description: str = ""
    """One or two sentences for the report's first lines."""

    web: DemoWebConfig | None = None
    """The demo web that is built and served on loopback for the crawl."""

    data: str | None = None
    """Folder or URL of a finished dataset (with manifest.json), of WebDataset tars, or of pictures, instead of `curate`."""

    expects: ExpectConfig | None = None
    """The dataset that this recipe wants to be told with `--set data=FOLDER`; a run begins when it was told."""

    checkpoint: str | None = None
    """Folder or URL of a finished checkpoint, instead of `train`."""

    curate: CurateConfig | None = None
    """From web pages to shards."""

    train: TrainConfig | None = None
    """From shards to a checkpoint."""

    evaluate: EvaluateConfig | None = None
    """From a checkpoint to scores."""

    track: TrackConfig = TrackConfig()
    """How the run appears in MLflow."""

    @model_validator(mode="after")
    def _parts_fit(self) -> "Recipe":
        if self.data is not None and self.curate is not None:
            raise ValueError("both data and curate are given; keep one (--set curate=null uses the finished dataset)")
        if self.checkpoint is not None and self.train is not None:
            raise ValueError("both checkpoint and train are given; keep one (--set train=null uses the checkpoint)")
        named = self.curate is not None or self.data is not None or self.expects is not None
        if self.train is not None and not named and not _names_its_own(self.train):
            raise ValueError("train has no dataset; add curate, or data: with the folder of a finished dataset")
        if self.evaluate is not None and self.train is None and self.checkpoint is None:
            raise ValueError("evaluate has no model; add train, or checkpoint: with the folder of a finished one")
        if self.curate is None and self.train is None and self.evaluate is None:
            raise ValueError("nothing to do; add at least one of curate, train and evaluate, or `extends: demo`")
        self._family_fits()
        self._tasks_beside_are_known()
        self._best_metric_can_occur()
        return self

    def _family_fits(self) -> None:
        """A model that reads no text cannot be asked in words."""
        if self.train is None or get_spec(self.train.model).family in TEXT_FAMILIES:
            return
        family = get_spec(self.train.model).family
        asked = self.evaluate.protocols if self.evaluate and "protocols" in self.evaluate.model_fields_set else ()
        beside = self.train.watch
        asked += beside.evaluate_protocols if "evaluate_protocols" in beside.model_fields_set else ()
        for protocol in asked:
            if protocol not in PICTURES_ALONE:
                raise ValueError(
                    f"{protocol} needs a model that reads text and {self.train.model} is of family {family};"
                    " set evaluate.protocols=[linear_probe]"
                )

    def _tasks_beside_are_known(self) -> None:
        """What is measured while training goes on: said now, and not at the first snapshot."""
        if self.train is None or not self.train.watch.evaluate_every_steps:
            return
        try:
            EvaluateConfig(tasks=self.train.watch.evaluate_tasks)
        except ConfigError as error:
            raise ValueError(str(error).replace("evaluate.tasks", "watch.evaluate_tasks", 1)) from error

    def _best_metric_can_occur(self) -> None:
        """A slip in the name of a score would else be a run that keeps no best checkpoint, and says nothing."""
        if self.train is None or not asks_for_a_score(self.train):
            return
        from evaluation.score_names import headline_names

        asked = wanted_beside(self.train)
        names = headline_names(asked["tasks"], asked["protocols"])
        if (named := self.train.checkpoints.best_metric) not in names:
            near = difflib.get_close_matches(named, names, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            there = ", ".join((*step_metrics(self.train), *names))
            raise ValueError(f"train.checkpoints.best_metric: there will be no {named}; {hint}there will be {there}")

    _written: dict[str, Any] = PrivateAttr(default_factory=dict)

    def shown(self) -> dict[str, Any]:
        """The recipe as JSON values for logs and pages: whatever came from the environment stays `${env:NAME}`."""
        return hide_environment(self.model_dump(mode="json"), self._written)


def wanted_beside(config: TrainConfig, datasets: str | None = None) -> dict[str, Any]:
    """The EvaluateConfig of a snapshot that is measured while training goes on (orchestration/beside.py), as JSON values.
    `datasets` is the recipe's `evaluate.datasets`, where benchmarks lie that are on disk."""
    watch = config.watch
    can_read = get_spec(config.model).family in TEXT_FAMILIES
    protocols = watch.evaluate_protocols if can_read else ("linear_probe",)
    asked = {"tasks": list(watch.evaluate_tasks), "protocols": list(protocols), "threads": 1}
    if datasets is None:
        return asked
    return asked | {"datasets": datasets if "://" in datasets else os.path.abspath(os.path.expanduser(datasets))}


def _names_its_own(train: TrainConfig) -> bool:
    """Whether every sample comes from a place that `train.data.sources` names."""
    return bool(train.data.sources) and all(source.path for source in train.data.sources)


def load(name_or_path: str, sets: Sequence[str] = ()) -> Recipe:
    """A shipped recipe's name or a .yaml file, with `key=value` overrides. Raises ConfigError with one line."""
    recipe = load_model(Recipe, name_or_path, sets)
    recipe._written = read_document(name_or_path, sets).written
    return recipe


def load_model(model: type[Model], name_or_path: str, sets: Sequence[str] = ()) -> Model:
    """`load` for any Settings class."""
    document = read_document(name_or_path, sets)
    try:
        return model.model_validate(document.value)
    except ValidationError as error:
        raise config_error(model, document, error) from error


def written_yaml(name_or_path: str, sets: Sequence[str] = ()) -> str:
    """The checked recipe as one YAML file, `${env:NAME}` unfilled: what a job takes along and a run may log."""
    load(name_or_path, sets)
    return to_yaml(read_document(name_or_path, sets).written)


__all__ = ["Recipe", "TrackConfig", "load", "load_model", "shipped_recipes", "written_yaml"]
