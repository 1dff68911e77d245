"""Cards: one YAML file per benchmark, ours in cards/ and a user's own anywhere, checked like a recipe.

A card says what the benchmark is (kind, metric, names and templates), how large each split is in each of its variants, where
it comes from and under which licence, and in what the paper's own figures differ from it and why. The first variant is the
one that is measured; `task@variant` names another.
"""

import difflib
import os
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from evaluation.catalog.card_file import mistake, read_mapping
from pipeline.errors import ConfigError
from pipeline.settings import Settings

Kind = Literal["classification", "multilabel", "retrieval", "frames"]
HERE = Path(__file__).parent / "cards"
Hashes = dict[Literal["train", "val", "test"], Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]]


class Variant(Settings):
    """One way in which people split and ask a benchmark; what is null is as in the card, or not known in advance."""

    train: int | None = Field(None, ge=1)
    """Pictures to learn from."""
    val: int | None = Field(None, ge=1)
    """Pictures to choose by (a penalty, a layer); the final fit learns from them too."""
    test: int | None = Field(None, ge=1)
    """Pictures that are scored (anchors, for frames)."""
    frames: int | None = Field(None, ge=1)
    """Pictures in all, where anchors have neighbours."""
    prompts: str | None = None
    """Another set of names and templates."""
    metric: str | None = None
    """Another metric."""
    hashes: Hashes = Field(default_factory=dict)
    """split -> SHA-256 of its sorted (id, label) pairs (evaluation/catalog/hashes.py), where it is known."""
    note: str = ""
    """What is particular about it."""


class Hub(Settings):
    """A stable public copy on the Hugging Face hub."""

    repository: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    """Owner and name of the data set repository."""
    revision: str = "main"
    """Commit, branch or tag."""
    layout: Literal["webdataset", "parquet"]
    """How its files are laid out."""
    variant: str | None = None
    """The variant that it holds, where that is not the card's first."""
    gated: bool = False
    """Whether its makers want terms accepted first, there or at its source: then it is not downloaded for anyone."""


class KnownFile(Settings):
    """A published file by its content: what `openwit tasks verify` compares one of that name with."""

    name: str = Field(pattern=r"^[\w.+@ -]+$")
    """What it is called, without folders."""
    bytes: int | None = Field(None, ge=0)
    """Its size, where the source tells it."""
    md5: str | None = Field(None, pattern=r"^[0-9a-f]{32}$")
    """Of its bytes."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """Of its bytes."""
    of: str = ""
    """Which other dataset this is, where one publishes files under the same names (Fashion-MNIST)."""
    source: str = ""
    """Who states the hash: torchvision (0.28, datasets/*.py), tfds (tensorflow/datasets, url_checksums/*.txt), torchgeo,
    imagenet-testbed (hashed there at commit 0170eec)."""

    @model_validator(mode="after")
    def _has_a_hash(self) -> "KnownFile":
        if self.md5 is None and self.sha256 is None:
            raise ValueError(f"{self.name} has neither md5 nor sha256; give one")
        return self


class Paper(Settings):
    """What table 9 of arXiv:2103.00020 says of it."""

    classes: int | None = None
    """Classes."""
    train: int | None = None
    """Pictures to learn from."""
    test: int | None = None
    """Pictures that are scored."""


KNOWN_METRICS: dict[Kind, tuple[str, ...]] = {
    "classification": ("top1", "mean_per_class", "top5", "mean_top1_top5", "fold_mean", "roc_auc", "top1_any"),
    "multilabel": ("map_11_point", "map", "top1_any", "top1"),
    "retrieval": ("recall@1", "recall@5", "recall@10"),
    "frames": ("pm0", "pm10"),
}
"""What a task of a kind can be scored by."""


class Card(Settings):
    """A benchmark as data."""

    name: str = Field("", pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$|^$")
    """What recipes and reports call it; default: the file's name."""
    title: str = ""
    """What people call it."""
    kind: Kind = "classification"
    """What a picture is asked for: one class, several, its captions, or one class in all frames of a short film."""
    metric: str = "top1"
    """The figure that belongs in a table; of a multilabel card map_11_point unless said. top1_any takes labels for alternatives."""
    loader: str = ""
    """The drawing function of evaluation/pictures, for what openwit makes itself."""
    folder: str = ""
    """Where it lies: a name below evaluate.datasets, or a path; default: the card's name."""
    layouts: tuple[str, ...] = ()
    """Readers of evaluation/pictures that may read the folder, best first; default: the one with the card's name."""
    label: str = "label"
    """The column that is asked for."""
    prompts: str | None = None
    """Names and templates: a file of prompts/ by its name, or a path to such a JSON file."""
    classes: dict[str, tuple[str, ...]] | tuple[str, ...] = ()
    """In place of `prompts`: the words by which the pictures are labelled, each with its names; or the words alone."""
    templates: tuple[str, ...] = ("a photo of a {}.",)
    """Sentences for `classes`."""
    chance: float | None = Field(None, ge=0, le=1)
    """Score of guessing; default: one over the number of classes."""
    splits: dict[Literal["train", "val", "test"], Annotated[int, Field(ge=1)] | None] = Field(default_factory=dict)
    """In place of `variants`, where there is one: split -> pictures, null where they need not be counted."""
    hashes: Hashes = Field(default_factory=dict)
    """Beside `splits`: split -> SHA-256 of its sorted (id, label) pairs, as `openwit tasks verify --json` prints it."""
    files: tuple[KnownFile, ...] = ()
    """Files as they were published; several of one name are all right, but for those that are `of` another dataset."""
    variants: dict[str, Variant] = Field(default_factory=dict)
    """Ways to split it, the one that is measured first."""
    varies: bool = False
    """Whether sizes differ from copy to copy (pictures at their URLs), so that they are told and not insisted on."""
    conditions: tuple[str, ...] = ()
    """Corruptions that it is stored under, each at five severities (splits such as fog/3)."""
    cluster: str | None = None
    """Which pictures stand or fall together (clips of one video): a regular expression that finds in a picture's name, its place
    below the folder, what they have in common. Intervals and paired tests then count clusters."""
    reference: str | None = None
    """The benchmark that this one is a shift of."""
    source: str = ""
    """Who made it, and where."""
    licence: str = "not stated"
    """What its makers allow."""
    needs: str = ""
    """A metadata file that its folder must hold because we may not carry it."""
    by_hand: str = ""
    """What to put into its folder, where we do not download it."""
    hub: Hub | None = None
    """Where `openwit tasks fetch` gets it."""
    paper: Paper | None = None
    """The paper's own figures of its size."""
    differs: str = ""
    """In what published figures disagree, and why."""

    @property
    def held(self) -> str:
        """The variant that the public copy holds."""
        return (self.hub.variant if self.hub else None) or next(iter(self.variants))

    def sizes(self, variant: str) -> tuple[int | None, ...]:
        """Pictures to learn from and to score; variants that only ask in other words have the same."""
        way = self.variants[variant]
        return (way.train or 0) + (way.val or 0) or None, way.test

    def can_be_fetched(self, variant: str) -> bool:
        """Whether there is a public copy that may be taken for anyone, and `variant` can be had from it."""
        return self.hub is not None and not self.hub.gated and self.sizes(variant) == self.sizes(self.held)

    @field_validator("cluster")
    @classmethod
    def _is_a_pattern(cls, cluster: str | None) -> str | None:
        try:
            re.compile(cluster or "")
        except re.error as error:
            raise ValueError(f"{cluster!r} is no regular expression ({error})") from error
        return cluster

    @field_validator("templates")
    @classmethod
    def _one_gap(cls, templates: tuple[str, ...]) -> tuple[str, ...]:
        for template in templates:
            if template.count("{}") != 1:
                raise ValueError(f"{template!r} must hold {{}} once, where the name goes")
        return templates


def read_card(path: str) -> Card:
    """The card in a YAML file. Raises ConfigError naming the file, the key and what is wrong."""
    return _checked(path, read_mapping(path))


def _checked(path: str, value: dict[str, Any]) -> Card:
    stem = Path(path).name.removesuffix(".yaml").removesuffix(".yml")
    usual = {"metric": "map_11_point"} if value.get("kind") == "multilabel" else {}
    try:
        card = Card.model_validate({"name": stem} | usual | value)
    except ValidationError as error:
        raise mistake(path, error, Card.model_fields) from error
    if card.kind != "retrieval" and not card.prompts and not card.classes:
        raise ConfigError(
            f"{path}: has neither classes nor prompts; write classes: [word, ...] as its pictures are labelled"
        )
    if len(set(card.classes)) != len(card.classes):
        raise ConfigError(f"{path}: classes: one is named twice; a word is one class")
    for metric in {card.metric, *(way.metric or card.metric for way in card.variants.values())}:
        if metric not in KNOWN_METRICS[card.kind]:
            raise ConfigError(
                f"{path}: metric: {metric} is none of {', '.join(KNOWN_METRICS[card.kind])}, which {card.kind} has"
            )
    if card.metric == "roc_auc" and card.classes and len(card.classes) != 2:
        raise ConfigError(f"{path}: metric: roc_auc is of two classes, and it has {len(card.classes)}; use top1")
    for key, given in (("splits", bool(card.splits)), ("hashes", bool(card.hashes))):
        if given and card.variants:
            raise ConfigError(f"{path}: has both {key} and variants; write {key} into each variant")
    if not path.startswith(str(HERE)):
        _check_layouts(path, card.layouts)
        if card.prompts and card.prompts.endswith(".json") and "://" not in card.prompts:
            beside = os.path.join(os.path.dirname(path), os.path.expanduser(card.prompts))
            card = card.model_copy(update={"prompts": beside})
        if card.loader:
            raise ConfigError(f"{path}: loader: is for what openwit draws itself; leave it out and name the folder")
    own = Variant.model_validate({**card.splits, "hashes": card.hashes})
    return card if card.variants else card.model_copy(update={"variants": {"own": own}})


def _check_layouts(path: str, layouts: tuple[str, ...]) -> None:
    """Of a user's own card. Raises ConfigError for a layout that nothing reads."""
    if not layouts:
        return
    from evaluation.pictures.table import LAYOUTS, UNIVERSAL

    known = tuple(dict.fromkeys([*(layout.name for layout in UNIVERSAL), *LAYOUTS]))
    for name in layouts:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ConfigError(f"{path}: layouts: there is no '{name}'; {hint}those known are {', '.join(known)}")
