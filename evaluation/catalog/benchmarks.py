"""The benchmarks, one row of a table each. A new one is a row here, its prompts, and a loader if its pictures are new.

Class names are joined to pictures by the label word, never by position: published prompt lists and datasets order their
classes differently (openai/CLIP#153, #346). This module imports neither torch nor pictures, so that listing is instant.
"""

import difflib
import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.overlap.reference_sets import PICTURES, ReferenceSet

Kind = Literal["classification", "multilabel", "retrieval", "frames"]


@dataclass(frozen=True)
class Prompts:
    """A classifier in words: label -> its names (synonyms, all averaged), and templates with one `{}`."""

    classes: dict[str, tuple[str, ...]]
    templates: tuple[str, ...]
    version: str


@dataclass(frozen=True)
class Task:
    """A benchmark: which pictures, which of their columns is asked for, and by which metric.

    `pictures` counts the test split and is checked when it is loaded. `train` names the split that a linear probe
    learns from, `None` where there is none. `chance` is the score of guessing.
    """

    name: str
    kind: Kind
    loader: str
    label: str
    prompts: str | None
    metric: str
    pictures: int
    chance: float
    source: str
    licence: str
    split: Literal["train", "test"] = "test"
    train: Literal["train"] | None = None


_DIGITS = Task(
    "digits",
    "classification",
    loader="digits",
    label="label",
    prompts="digits",
    metric="top1",
    pictures=360,
    chance=1 / 10,
    source="scikit-learn load_digits; Alpaydin and Kaynak 1998, UCI 'Optical Recognition of Handwritten Digits'",
    licence="CC BY 4.0",
    train="train",
)
_SCENES = Task(
    "scenes",
    "classification",
    loader="scenes",
    label="shape",
    prompts="scenes-shape",
    metric="top1",
    pictures=400,
    chance=1 / 8,
    source="rendered by pipeline/demo/scenes.py",
    licence="Apache-2.0",
    train="train",
)

TASKS: tuple[Task, ...] = (
    _DIGITS,
    _SCENES,
    replace(_SCENES, name="scenes-colour", label="colour", prompts="scenes-colour", train=None),
    replace(_SCENES, name="scenes-texture", label="texture", prompts="scenes-texture", chance=1 / 4, train=None),
    replace(_SCENES, name="scenes-place", label="place", prompts="scenes-place", chance=1 / 5, train=None),
    Task(
        "scenes-retrieval",
        "retrieval",
        loader="scenes",
        label="caption",
        prompts=None,
        metric="recall@1",
        pictures=400,
        chance=1 / 400,
        source=_SCENES.source,
        licence=_SCENES.licence,
    ),
)


def find(name: str) -> Task:
    """The task called `name`. Raises ConfigError naming the nearest known one."""
    for task in TASKS:
        if task.name == name:
            return task
    near = difflib.get_close_matches(name, [task.name for task in TASKS], n=1)
    way_out = f"did you mean {near[0]}?" if near else "`openwit tasks` lists those there are"
    raise ConfigError(f"evaluate.tasks: no task is called '{name}'; {way_out}")


@functools.cache
def prompts_of(name: str) -> Prompts:
    """The prompts stored as evaluation/catalog/prompts/<name>.json; `version` is a hash of their content."""
    value = storage.read_json(str(Path(__file__).parent / "prompts" / f"{name}.json"))
    return Prompts(
        {label: tuple(names) for label, names in value["classes"].items()},
        tuple(value["templates"]),
        storage.sha256(storage.canonical_json(value))[:12],
    )


def task_table() -> list[dict[str, Any]]:
    """One dictionary per task, for `openwit tasks` and the documentation."""
    rows = []
    for task in TASKS:
        prompts = prompts_of(task.prompts) if task.prompts else None
        rows.append(
            {
                "task": task.name,
                "kind": task.kind,
                "metric": task.metric,
                "pictures": task.pictures,
                "classes": len(prompts.classes) if prompts else None,
                "templates": len(prompts.templates) if prompts else None,
                "chance": round(task.chance, 4),
                "split": task.split,
                "source": task.source,
                "licence": task.licence,
            }
        )
    return rows


def list_names(task_name: str) -> list[str]:
    """The tasks that look at the same pictures as this one, itself included: an overlap list under any of their names
    is a list of its pictures."""
    task = find(task_name)
    return [other.name for other in TASKS if (other.loader, other.split) == (task.loader, task.split)]


def reference_sets(task_names: Sequence[str]) -> list[ReferenceSet]:
    """The test pictures of these tasks: what training data must not contain.

    Tasks that look at the same pictures contribute them once, under the first task's name.
    """
    from evaluation.pictures.pictures import load

    sets: dict[tuple[str, str], ReferenceSet] = {}
    for task in map(find, task_names):
        if (task.loader, task.split) not in sets:
            identity = load(task.loader, task.split, task.pictures).identity
            read = functools.partial(reference_pictures, task.name)
            sets[task.loader, task.split] = ReferenceSet(task.name, task.pictures, identity, read)
    return list(sets.values())


def reference_pictures(task_name: str, start: int, stop: int) -> pa.Table:
    """Test pictures `start` to `stop` of the task as PNG, schema PICTURES of pipeline/overlap/reference_sets.py."""
    from evaluation.pictures.pictures import load

    task = find(task_name)
    pictures = load(task.loader, task.split, task.pictures)
    images = []
    for index in range(start, stop):
        stored = io.BytesIO()
        pictures.read(index).save(stored, "PNG")
        images.append(stored.getvalue())
    return pa.table([range(start, stop), [str(index) for index in range(start, stop)], images], schema=PICTURES)
