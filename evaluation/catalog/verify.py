"""Is a dataset what its figures will be compared as? Pictures per split and class, and a hash of who has which label.

Most complaints about published figures come down to another split under the same name (openai/CLIP#45, #166, #308;
CLIP_benchmark's SUN397 of 108,754 pictures). So what lies on disk is compared with every variant that a card knows, and the
nearest is named. Labels are read, pictures are not decoded.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from evaluation.catalog.benchmarks import Task, card_of, find, names
from evaluation.catalog.card import Card, Variant
from evaluation.catalog.presence import present
from evaluation.catalog.words import prompts_of
from pipeline import storage
from pipeline.errors import ConfigError, DataError

SPLITS = ("train", "val", "test")
SEVERITIES = 5


def verify(root: str, chosen: Sequence[str] = ()) -> list[dict[str, Any]]:
    """A row per benchmark: those `chosen`, or all that are below `root` (one per folder and column of labels).

    {task, status, folder, layout, variant, exact, splits, problems, notes}: `status` is ok, wrong or absent; `variant` the
    nearest known one, `exact` whether all that was counted fits it; `splits` maps to {pictures, classes, fewest, most, hash,
    per_class}. Raises ConfigError for an unknown name or a `root` that is no folder, DataError where nothing is there.
    """
    root = root.rstrip("/") or "/"
    if not storage.list_names(root):
        raise ConfigError(
            f"{root}: no such folder, or nothing in it; name the folder that holds food101/, cifar10/ and so on"
        )
    tasks = [find(name) for name in chosen or names()]
    rows = [_row(task, root) for task in tasks if chosen or not task.loader]
    if not chosen:
        rows = [row for row in rows if row["status"] != "absent"]
        if not rows:
            raise DataError(f"{root}: holds no benchmark; each lies in a folder of its own, such as {root}/food101")
    return rows


def strangers(root: str) -> list[str]:
    """What lies below `root` and belongs to no benchmark."""
    known = {find(name).folder for name in names()}
    return [name for name in storage.list_names(root) if name not in known and not name.startswith(".")]


def _row(task: Task, root: str) -> dict[str, Any]:
    found = present(task, root)
    row: dict[str, Any] = {
        "task": task.name,
        "status": "ok",
        "folder": found["folder"],
        "layout": found["layout"],
        "variant": "",
        "exact": False,
        "splits": {},
        "problems": [],
        "notes": [],
    }
    if found["status"] in ("absent", "broken"):
        return row | {"status": "absent" if found["status"] == "absent" else "wrong", "problems": [found["reason"]]}
    card = card_of(task.card)
    for split in [split for split in SPLITS if split in found["splits"]]:
        try:
            row["splits"][split] = _counted(task, split, root)
        except DataError as error:
            row["problems"].append(str(error))
    _missing_conditions(task, found["splits"], row)
    _compare(task, card, row)
    return row | {"status": "wrong" if row["problems"] else "ok"}


def _counted(task: Task, split: str, root: str) -> dict[str, Any]:
    from evaluation.pictures.open import open_pictures

    pictures = open_pictures(task, split, root)
    words = pictures.words(task.label)
    per_class = Counter(word for each in words for word in each)
    classes = prompts_of(task.prompts).classes if task.prompts else {}
    counts = [per_class[label] for label in classes]
    return {
        "pictures": pictures.count,
        "classes": sum(count > 0 for count in counts) if classes else None,
        "fewest": min(counts, default=None),
        "most": max(counts, default=None),
        "hash": list_hash(pictures.columns.get("id"), words),
        "per_class": {label: per_class[label] for label in classes},
    }


def list_hash(ids: Sequence[str] | None, words: Sequence[Sequence[str]]) -> str:
    """SHA-256 of the sorted (id, labels) pairs; where a layout has no ids, the position in its list is one."""
    keys = ids if ids is not None else [f"{at:08d}" for at in range(len(words))]
    pairs = sorted([str(key), *sorted(labels)] for key, labels in zip(keys, words, strict=True))
    return storage.sha256(storage.canonical_json(pairs))


def _missing_conditions(task: Task, splits: Sequence[str], row: dict[str, Any]) -> None:
    missing = [name for name in task.conditions if name not in splits]
    if missing and len(missing) < len(task.conditions):
        row["notes"].append(f"without {len(missing)} of {len(task.conditions)} corruptions: {', '.join(missing)}")


def _compare(task: Task, card: Card, row: dict[str, Any]) -> None:
    """Name the nearest variant, and what does not fit it."""
    counts = {split: found["pictures"] for split, found in row["splits"].items()}
    if task.conditions:
        kinds = sum(name in card.conditions for name in present_conditions(task, row)) or len(task.conditions)
        counts = {split: count // (kinds * SEVERITIES) for split, count in counts.items()}
    if not counts:
        return
    row["variant"] = nearest(counts, card.variants)
    way = card.variants[row["variant"]]
    wrong = misfits(counts, way)
    row["exact"] = not wrong
    said = f"{task.name}: " + ", ".join(
        f"{split} has {have:,}, '{row['variant']}' has {want:,}" for split, have, want in wrong
    )
    if wrong:
        row["notes" if card.varies else "problems"].append(f"{said}; nearest known variant: {row['variant']}")
    elif task.variant and row["variant"] != task.variant and misfits(counts, card.variants[task.variant]):
        row["notes"].append(
            f"this is the variant '{row['variant']}': name it {card.name}@{row['variant']} in evaluate.tasks"
        )
    for split, known in way.hashes.items():
        if split in row["splits"] and row["splits"][split]["hash"] != known:
            row["problems"].append(
                f"{task.name}: {split} has as many pictures as '{row['variant']}', but others or other labels"
            )


def present_conditions(task: Task, row: Mapping[str, Any]) -> list[str]:
    note = next((note for note in row["notes"] if note.startswith("without ")), "")
    missing = note.partition(": ")[2].split(", ") if note else []
    return [name for name in task.conditions if name not in missing]


def nearest(counts: Mapping[str, int], variants: Mapping[str, Variant]) -> str:
    """The variant whose splits differ least from the counted ones, by the share of pictures; the first among equals."""

    def distance(name: str) -> float:
        return sum(abs(have - want) / max(have, want) for _, have, want in misfits(counts, variants[name]))

    def unknown(name: str) -> int:
        return sum(getattr(variants[name], split) is None for split in counts)

    return min(variants, key=lambda name: (distance(name), unknown(name)))


def misfits(counts: Mapping[str, int], way: Variant) -> list[tuple[str, int, int]]:
    """(split, counted, known) where they differ. A part to learn from may come whole, or cut in train and val."""
    wrong = [("test", counts["test"], way.test)] if "test" in counts and way.test not in (None, counts["test"]) else []
    learnt, known = counts.get("train", 0) + counts.get("val", 0), (way.train or 0) + (way.val or 0)
    whole = [("train and val", learnt, known)] if learnt and known and learnt != known else []
    if whole and "train" in counts and "val" not in counts and way.val and counts["train"] == way.train:
        whole = []  # the validation part is simply not there
    return [(split, have, want) for split, have, want in [*wrong, *whole] if want is not None]
