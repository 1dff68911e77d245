"""`openwit tasks show`, `verify` and `fetch`: what evaluation's catalog finds, for people and as JSON."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from orchestration import show
from pipeline.errors import ConfigError

WORST = ("wrong", "absent", "ok")
FEW = 5
"""Classes whose names are shown as examples."""


def about(name: str) -> dict[str, Any]:
    """The row of `openwit tasks --json`, with templates, some names and their source."""
    from evaluation.catalog.benchmarks import find, prompts_of, task_table
    from evaluation.catalog.words import source_of

    with _named_here():
        prompts = find(name).prompts
    (row,) = task_table([name])
    if prompts is None:
        return row
    words = prompts_of(prompts)
    names = dict(list(words.classes.items())[:FEW])
    return row | {"names": names, "template_texts": words.templates} | dict(source_of(prompts))


@contextlib.contextmanager
def _named_here() -> Iterator[None]:
    """A task that is not known was named on the command line, and no recipe is to blame."""
    try:
        yield
    except ConfigError as error:
        raise ConfigError(str(error).removeprefix("evaluate.tasks: ")) from error


def print_about(found: Mapping[str, Any]) -> None:
    """A line per fact; what is empty is left out."""
    told = {key.replace("_", " "): _told(value) for key, value in found.items() if value not in (None, "", [], {}, ())}
    show.facts(told)


def _told(value: Any) -> str:
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {_told(below)}" for key, below in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def verify(
    root: str, names: Sequence[str], quick: bool = False, progress: Callable[[int, int, str], None] | None = None
) -> dict[str, Any]:
    """{ok, root, tasks: rows of evaluation/catalog/verify.py, others: folders that belong to no benchmark}."""
    from evaluation.catalog.suites import SUITES
    from evaluation.catalog.verify import strangers, verify

    chosen = [task for name in names for task in SUITES.get(name, (name,))]
    tell = progress or (lambda done, total, file: None)
    mebibyte = 1 << 20
    with _named_here():
        found = verify(
            root,
            chosen,
            not quick,
            lambda done, total, file: tell(done // mebibyte, -(-total // mebibyte), f"MiB of {file}"),
        )
    return {
        "ok": all(row["status"] == "ok" for row in found),
        "root": root,
        "tasks": found,
        "others": [] if names else strangers(root),
    }


def print_verified(found: Mapping[str, Any]) -> None:
    """A line per task, then every problem and note in full."""
    tasks = sorted(found["tasks"], key=lambda row: WORST.index(row["status"]))
    lines = []
    for row in tasks:
        splits = " ".join(f"{split} {counts['pictures']:,}" for split, counts in row["splits"].items())
        classes = {counts["classes"] for counts in row["splits"].values() if counts["classes"] is not None}
        each = {
            (counts["fewest"], counts["most"]) for counts in row["splits"].values() if counts["classes"] is not None
        }
        per_class = " ".join(sorted(f"{low:,}" if low == high else f"{low:,}-{high:,}" for low, high in each))
        hashes = " ".join(counts["hash"][:8] for counts in row["splits"].values())
        variant = f"{row['variant']}{'' if row['exact'] else ' (nearest)'}" if row["variant"] else ""
        lines.append(
            (row["task"], row["status"], row["layout"], splits, max(classes, default=None), per_class, variant, hashes)
        )
    show.rows(("task", "state", "layout", "pictures", "classes", "per class", "variant", "hash"), lines)
    _print_files(tasks)
    said = [(row["status"], text) for row in tasks for text in (*row["problems"], *row["notes"])]
    if said:
        print()
    for status, text in said:
        show.console().print(f"{status}: {text}" if status != "ok" else f"note: {text}")
    if found["others"]:
        print(f"\nno benchmark's folder: {', '.join(found['others'])}")


def _print_files(tasks: Sequence[Mapping[str, Any]]) -> None:
    """The published files: one by one what the card knows, in number what a download left and is still right."""
    from evaluation.catalog.fetch import RECORD

    lines, fetched = [], 0
    for row in tasks:
        for file in row["files"]:
            if file["by"] == RECORD and file["state"] == "ok":
                fetched += 1
            else:
                lines.append((row["task"], file["file"], file["state"], file["what"]))
    if lines:
        print()
        show.rows(("task", "file", "state", "what it is"), lines)
    if fetched:
        print(f"\n{fetched:,} files are as they were fetched")


def frames(
    folder: str, to: str | None, workers: int | None, progress: Callable[[int, int, str], None]
) -> dict[str, Any]:
    """What evaluation/pictures/middle_frames.py made, and left out by which reason."""
    from evaluation.pictures.middle_frames import make_frames

    return make_frames(folder, to, progress, workers)


def print_frames(found: Mapping[str, Any]) -> None:
    """Counts, then each reason in words."""
    from evaluation.pictures.middle_frames import REASONS

    show.facts({key: found[key] for key in ("videos", "made", "there", "record")})
    for reason, count in found["damaged"].items():
        show.console().print(f"{count:,} without a frame ({reason}): {REASONS[reason]}")


def fetch(name: str, root: str, split: str | None, progress: Callable[[int, int, str], None]) -> dict[str, Any]:
    """What `evaluation.catalog.fetch` did; progress is told in MiB."""
    from evaluation.catalog.fetch import fetch
    from evaluation.catalog.hub import HUB

    mebibyte = 1 << 20
    with _named_here():
        return fetch(
            name,
            root,
            split,
            lambda done, total, file: progress(done // mebibyte, -(-total // mebibyte), f"MiB of {name}: {file}"),
            hub=os.environ.get("HF_ENDPOINT", HUB).rstrip("/"),
        )
