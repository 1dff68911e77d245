"""Is a dataset what its figures will be compared as? Pictures per split and class, a hash of who has which label, and files.

Most complaints about published figures come down to another split under the same name (openai/CLIP#45, #166, #308;
CLIP_benchmark's SUN397 of 108,754 pictures). So what lies on disk is compared with every variant that a card knows, and the
nearest is named. Labels are read, and three pictures of each split; published files are hashed (verify_files.py).
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from evaluation.catalog.benchmarks import Task, card_of, find, names
from evaluation.catalog.card import Card, Variant
from evaluation.catalog.hashes import Said, list_hash, silent
from evaluation.catalog.presence import present
from evaluation.catalog.verify_files import verify_files, wrong
from evaluation.catalog.words import prompts_of
from pipeline import storage
from pipeline.errors import ConfigError, DataError

if TYPE_CHECKING:
    from evaluation.pictures.pictures import Pictures

SPLITS = ("train", "val", "test")
SEVERITIES = 5


def verify(root: str, chosen: Sequence[str] = (), bytes_too: bool = True, said: Said = silent) -> list[dict[str, Any]]:
    """A row per benchmark: those `chosen`, or all that are below `root` (one per folder and column of labels).

    {task, status, folder, layout, variant, exact, splits, files, problems, notes}: `status` is ok, wrong or absent; `variant`
    the nearest known one, `exact` whether all that was counted fits it; `splits` maps to {pictures, classes, fewest, most,
    hash, per_class, lacking}; `files` are the rows of `verify_files`, [] without `bytes_too`. Raises ConfigError for an unknown
    name or a `root` that is no folder, DataError where nothing is there.
    """
    root = root.rstrip("/") or "/"
    if not storage.list_names(root):
        raise ConfigError(
            f"{root}: no such folder, or nothing in it; name the folder that holds food101/, cifar10/ and so on"
        )
    tasks = [find(name) for name in chosen or names()]
    rows = [_row(task, root, bytes_too, said) for task in tasks if chosen or not task.loader]
    if not chosen:
        rows = [row for row in rows if row["status"] != "absent"]
        if not rows:
            raise DataError(
                f"{root}: holds no benchmark; each lies in a folder of its own, such as {root}/food101, and one's own is named by"
                " its card (my.yaml)"
            )
    return rows


def strangers(root: str) -> list[str]:
    """What lies below `root` and belongs to no benchmark."""
    from evaluation.pictures.places import place_of

    places = {place_of(find(name), root)[len(root.rstrip("/")) + 1 :] for name in names()}
    known = {place.partition("/")[0] for place in places}
    return [name for name in storage.list_names(root) if name not in known and not name.startswith(".")]


def _row(task: Task, root: str, bytes_too: bool, said: Said) -> dict[str, Any]:
    from evaluation.pictures.places import place_of

    found = present(task, root)
    row: dict[str, Any] = {
        "task": task.name,
        "status": "absent",
        "folder": found["folder"],
        "layout": found["layout"],
        "variant": "",
        "exact": False,
        "splits": {},
        "files": [],
        "problems": [],
        "notes": [],
    }
    if found["status"] == "absent":
        return row | {"problems": [found["reason"]]}
    if found["status"] == "broken":
        above = place_of(task, task.home or root)
        row["files"] = verify_files(task, above, said) if bytes_too else []
        problems = [found["reason"], *wrong(row["files"], task.home is not None)]
        return row | {"status": "wrong", "problems": problems}
    for split in [split for split in SPLITS if split in found["splits"]]:
        try:
            row["splits"][split], problem = _counted(task, split, root)
        except DataError as error:
            problem = str(error)
        row["problems"] += [problem] if problem else []
        if lacking := row["splits"].get(split, {}).get("lacking"):
            said_why = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in lacking.items())
            row["notes"].append(f"{task.name}: of its list of {split} {said_why}; the others are measured")
    _compare(task, card_of(task.card), found["splits"], row)
    if bytes_too and found["folder"]:
        row["files"] = verify_files(task, found["folder"], said)
        row["problems"] += wrong(row["files"], task.home is not None)
    return row | {"status": "wrong" if row["problems"] else "ok"}


def _counted(task: Task, split: str, root: str) -> tuple[dict[str, Any], str]:
    """What is in a split, and what is wrong with its labels. Raises DataError where it cannot be read at all."""
    from evaluation.pictures.joining import joined
    from evaluation.pictures.open import PARTS, find_layout, needs_every_class
    from evaluation.pictures.pictures import load

    if task.loader:
        pictures, part = load(task.loader, split), False
    else:
        folder, layout = find_layout(task, root)
        pictures, part = replace(layout.open(folder, split), name=f"{task.name}/{split}"), layout.name in PARTS
    if task.label not in pictures.columns:
        return {}, f"{pictures.name}: has no '{task.label}', but {', '.join(pictures.columns)}"
    said = prompts_of(task.prompts) if task.prompts else None
    classes, problem = said.classes if said else {}, ""
    try:
        whole = needs_every_class(task, split)
        pictures = joined(pictures, task.label, classes, part, whole, said.also) if said else pictures
    except DataError as error:
        problem = str(error)
    problem = problem or _unreadable(pictures)
    words = pictures.words(task.label)
    per_class = Counter(word for each in words for word in each)
    counts = [per_class[label] for label in classes]
    anchors = [word == "yes" for word in pictures.columns.get("anchor", ())] if task.kind == "frames" else None
    return {
        "pictures": sum(anchors) if anchors is not None else pictures.count,
        "classes": sum(count > 0 for count in counts) if classes else None,
        "fewest": min(counts, default=None),
        "most": max(counts, default=None),
        "hash": list_hash(pictures.columns.get("id"), words),
        "per_class": {label: per_class[label] for label in classes},
        "lacking": dict(pictures.lacking),
    }, problem


def _unreadable(pictures: "Pictures") -> str:
    """What is wrong with the first picture, the middle one or the last: a file that was cut off lacks its end."""
    try:
        for index in {0, pictures.count // 2, pictures.count - 1}:
            pictures.read(index)
    except DataError as error:
        return str(error)
    return ""


def _compare(task: Task, card: Card, splits: Sequence[str], row: dict[str, Any]) -> None:
    """Name the nearest variant, and what does not fit it."""
    counts = {split: found["pictures"] for split, found in row["splits"].items() if found}
    if task.conditions:
        there = [name for name in task.conditions if name in splits]
        counts = {split: count // (SEVERITIES * max(1, len(there))) for split, count in counts.items()}
        missing = [name for name in task.conditions if name not in there]
        if missing:
            row["notes"].append(f"{task.name}: without {len(missing)} of {len(task.conditions)}: {', '.join(missing)}")
    if not counts:
        return
    row["variant"] = nearest(counts, card.variants)
    way = card.variants[row["variant"]]
    wrong = misfits(counts, way)
    row["exact"] = not wrong
    if wrong:
        said = ", ".join(f"{split} has {have:,}, '{row['variant']}' has {want:,}" for split, have, want in wrong)
        others = f"; that is the nearest known variant of {', '.join(card.variants)}" if len(card.variants) > 1 else ""
        text = f"{task.name}: {said}{others}"
        row["notes" if card.varies else "problems"].append(text)
    elif row["variant"] != task.variant and misfits(counts, card.variants[task.variant]):
        row["notes"].append(
            f"{task.name}: is '{row['variant']}'; call it {card.name}@{row['variant']} in evaluate.tasks"
        )
    for split, known in way.hashes.items():
        if split in row["splits"] and row["splits"][split]["hash"] != known:
            row["problems"].append(
                f"{task.name}: {split} has as many pictures as '{row['variant']}', but others, or other labels"
            )


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
