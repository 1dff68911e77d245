"""The benchmarks, one row of a table each, read from their cards when they are asked for.

A new one is a card (card.py), its prompts (words.py), and a reader if its pictures lie as no other's do. Class names are
joined to pictures by the label word, never by position. This module imports neither torch nor pictures: listing is instant.
"""

import difflib
import functools
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from evaluation.catalog.card import HERE, Card, Kind, read_card
from evaluation.catalog.suites import SUITES
from evaluation.catalog.words import Prompts, prompts_of
from pipeline.errors import ConfigError


@dataclass(frozen=True)
class Task:
    """A benchmark: which pictures, which of their columns is asked for, and by which metric.

    `pictures` counts the test split and is checked when it is loaded; None where copies differ. `train` names the split
    that a probe learns from, `val` the one it may choose by, `None` where there is none; `counts` their sizes, as far as
    known, `hashes` those of their ids and labels. `folder` lies below `evaluate.datasets` and is read by the first of
    `layouts` that finds itself there; a task with a `loader` is drawn by openwit instead. `chance` is the score of guessing.
    `cluster` finds in a picture's name what it has in common with those that stand or fall with it.
    A card of one's own has its path as `card`, and the folder above its pictures as `home`, which counts in place of
    `evaluate.datasets`.
    """

    name: str
    kind: Kind
    loader: str
    label: str
    prompts: str | None
    metric: str
    pictures: int | None
    chance: float | None
    source: str
    licence: str
    split: Literal["test"] = "test"
    train: Literal["train"] | None = None
    val: Literal["val"] | None = None
    folder: str = ""
    layouts: tuple[str, ...] = ()
    variant: str = ""
    counts: Mapping[str, int | None] | None = None
    hashes: Mapping[str, str] | None = None
    conditions: tuple[str, ...] = ()
    reference: str | None = None
    cluster: str | None = None
    card: str = ""
    home: str | None = None

    @property
    def card_name(self) -> str:
        """What `find` finds it by: its name, or the path of a user's own card."""
        variant = self.name.partition("@")[2]
        return f"{self.card}@{variant}" if variant else self.card


@functools.cache
def names() -> tuple[str, ...]:
    """All tasks: those of the suites in their order, then the others."""
    in_suites = (name for suite in SUITES.values() for name in suite if "@" not in name)
    return tuple(dict.fromkeys([*in_suites, *stored_names()]))


def stored_names() -> list[str]:
    """The names of all cards that come with openwit."""
    return sorted(path.name.removesuffix(".yaml") for path in HERE.glob("*.yaml"))


def expand(chosen: Sequence[str]) -> tuple[str, ...]:
    """Names with those of suites replaced by their tasks, each task once at its first place."""
    return tuple(dict.fromkeys(task for name in chosen for task in SUITES.get(name, (name,))))


def find(name: str) -> Task:
    """The task called `name`: "eurosat", a variant as "eurosat@clip-paper", or the path of one's own card.

    Raises ConfigError naming the nearest known task or the variants there are.
    """
    return _found(name) if _is_path(name.partition("@")[0]) else _stored_task(name)


@functools.cache
def _stored_task(name: str) -> Task:
    return _found(name)


def _found(name: str) -> Task:
    base, _, variant = name.partition("@")
    card = card_of(base)
    if variant and variant not in card.variants:
        known = ", ".join(card.variants)
        raise ConfigError(f"evaluate.tasks: '{base}' has no variant '{variant}'; it has {known}")
    return _task(card, variant or next(iter(card.variants)), base, bool(variant))


def card_of(name: str) -> Card:
    """The card of a task by name or path. Raises ConfigError naming the nearest known one."""
    if _is_path(name):
        return read_card(name)  # not kept: its owner may be writing it
    if name in names():
        return _stored_card(name)
    if name in SUITES:
        raise ConfigError(f"'{name}' is a suite, not one task; `openwit tasks --suite {name}` lists its tasks")
    near = difflib.get_close_matches(name, [*names(), *SUITES], n=1)
    way_out = f"did you mean {near[0]}?" if near else "`openwit tasks` lists those there are"
    raise ConfigError(f"evaluate.tasks: no task is called '{name}'; {way_out}")


@functools.cache
def _stored_card(name: str) -> Card:
    return read_card(str(HERE / f"{name}.yaml"))


def _task(card: Card, variant: str, base: str, named: bool) -> Task:
    way = card.variants[variant]
    if card.reference is not None and card.reference not in names():
        near = difflib.get_close_matches(card.reference, names(), 1)
        hint = f"did you mean {near[0]}?" if near else "`openwit tasks` lists those there are"
        raise ConfigError(f"{base}: reference: there is no task '{card.reference}'; {hint}")
    there = {split for split in ("train", "val") if getattr(way, split)} | set(card.splits)
    prompts = way.prompts or card.prompts or (base if card.classes else None)
    return Task(
        name=f"{card.name}@{variant}" if named else card.name,
        kind=card.kind,
        loader=card.loader,
        label=card.label,
        prompts=prompts,
        metric=way.metric or card.metric,
        pictures=None if card.varies else way.test,
        chance=card.chance if card.chance is not None else _chance(way.metric or card.metric, prompts),
        source=card.source,
        licence=card.licence,
        train="train" if "train" in there else None,
        val="val" if "val" in there else None,
        layouts=card.layouts or (card.name,),
        variant=variant,
        counts={} if card.varies else {split: getattr(way, split) for split in ("train", "val", "test")},
        hashes={str(split): digest for split, digest in way.hashes.items()},
        conditions=card.conditions,
        reference=card.reference,
        cluster=card.cluster,
        card=base,
        **_place(card, base),
    )


def _place(card: Card, base: str) -> dict[str, Any]:
    """Where the pictures are: below evaluate.datasets, or for a card of one's own where it says, as seen from the card."""
    if not _is_path(base):
        return {"folder": card.folder or card.name}
    folder = os.path.expanduser(card.folder or card.name)
    whole = folder if "://" in folder else os.path.join(os.path.dirname(base), folder)
    home, folder = os.path.split((whole if "://" in whole else os.path.abspath(whole)).rstrip("/"))
    return {"folder": folder, "home": home}


def _is_path(name: str) -> bool:
    return name.endswith((".yaml", ".yml"))


def _chance(metric: str, prompts: str | None) -> float | None:
    """Of guessing one class among equals; None for a metric that has no such number."""
    if prompts is None or metric in ("map_11_point", "top1_any"):
        return None
    classes = len(prompts_of(prompts).classes)
    top5 = min(1.0, 5 / classes)
    return {"top5": top5, "mean_top1_top5": (1 / classes + top5) / 2}.get(metric, 1 / classes)


def task_table(chosen: Sequence[str] | None = None) -> list[dict[str, Any]]:
    """One dictionary per task, of all or of these tasks and suites, for `openwit tasks` and the documentation."""
    return [_row(name) for name in (names() if chosen is None else expand(chosen))]


def _row(name: str) -> dict[str, Any]:
    task, card = find(name), card_of(name.partition("@")[0])
    prompts = prompts_of(task.prompts) if task.prompts else None
    return {
        "task": task.name,
        "title": card.title,
        "kind": task.kind,
        "metric": task.metric,
        "pictures": card.variants[task.variant].test,
        "train": _sum(card, task.variant),
        "classes": len(prompts.classes) if prompts else None,
        "templates": len(prompts.templates) if prompts else None,
        "prompts": prompts.version if prompts else None,
        "chance": None if task.chance is None else round(task.chance, 4),
        "split": task.split,
        "variant": task.variant,
        "variants": {key: way.model_dump(exclude_defaults=True) for key, way in card.variants.items()},
        "suites": [suite for suite, tasks in SUITES.items() if {name, name.partition("@")[0]} & set(tasks)],
        "conditions": list(task.conditions),
        "folder": None if task.loader else task.folder,
        "get": "drawn" if task.loader else "fetch" if card.can_be_fetched(task.variant) else "by hand",
        "source": task.source,
        "licence": task.licence,
        "needs": card.needs,
        "by_hand": card.by_hand,
        "paper": card.paper.model_dump(exclude_none=True) if card.paper else None,
        "differs": card.differs,
    }


def _sum(card: Card, variant: str) -> int | None:
    way = card.variants[variant]
    return ((way.train or 0) + (way.val or 0)) or None


__all__ = ["Kind", "Prompts", "Task", "card_of", "expand", "find", "names", "prompts_of", "task_table"]
