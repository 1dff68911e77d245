"""Download a benchmark where its licence and a stable public copy allow; otherwise say where it is to be had.

Files lie in ROOT/<folder of the card>, as the readers of evaluation/pictures expect them; `openwit-fetch.json` beside them
says from which commit they came, and the SHA-256 of each.
"""

import shutil
from pathlib import Path
from typing import Any

from evaluation.catalog import hub as hubs
from evaluation.catalog.benchmarks import card_of, find
from pipeline import storage
from pipeline.errors import ConfigError, DataError
from pipeline.web.network import NetworkConfig

RECORD = "openwit-fetch.json"
SPLIT_WORDS = {"train": ("train",), "val": ("val", "valid", "validation"), "test": ("test",)}


def fetch(
    name: str,
    root: str,
    split: str | None = None,
    said: hubs.Said = lambda done, total, file: None,
    network: NetworkConfig | None = None,
    hub: str = hubs.HUB,
) -> dict[str, Any]:
    """The benchmark `name` below `root`, or only the files of one `split`; what is there and right is not taken again.

    Returns {task, folder, repository, revision, pinned, variant, files, bytes, taken, licence}. Raises DataError where it cannot be
    downloaded (saying where to get it) and where the disk or the hub fails, ConfigError for an unknown name.
    """
    task, card = find(name), card_of(name.partition("@")[0])
    if not storage.is_local(root):
        raise ConfigError(f"{root}: is no local folder; download into one and copy it from there")
    folder = Path(root.removeprefix("file://")) / task.folder
    if task.loader:
        raise DataError(f"{name}: is drawn by openwit; there is nothing to download")
    if card.hub is None or card.hub.gated:
        raise DataError(f"{name}: cannot be downloaded for you ({_why(card.hub, card.licence)}); {by_hand(name, root)}")
    held = card.held
    if not card.can_be_fetched(task.variant):
        raise DataError(
            f"{name}: the public copy is '{held}', from which '{task.variant}' cannot be had; {by_hand(name, root)}"
        )
    config = network or hubs.network_config()
    found = hubs.listed(card.hub.repository, card.hub.revision, config, hub)
    files = [
        file
        for file in found.files
        if file.name != RECORD and not file.name.startswith(".") and _of_split(file.name, split)
    ]
    if not files:
        raise DataError(f"{card.hub.repository}: has no files{f' of {split}' if split else ''}; {by_hand(name, root)}")
    before = _recorded(folder, found)
    missing = [file for file in files if not _there(folder / file.name, file, before)]
    _check_room(folder, sum(file.bytes for file in missing))
    try:
        hubs.download(found, missing, folder, config, hub, said)
    except OSError as error:
        raise storage.unwritable(str(folder), error) from error
    hashes = {file.name: before.get(file.name) or hubs.hash_of(folder / file.name, "sha256") for file in files}
    record = {
        "task": name,
        "repository": found.repository,
        "revision": found.commit,
        "pinned": card.hub.revision == found.commit,
        "files": before | hashes,
    }
    storage.write_json(str(folder / RECORD), record)
    return {
        "task": name,
        "folder": str(folder),
        "repository": found.repository,
        "revision": found.commit,
        "pinned": record["pinned"],
        "variant": held,
        "files": len(files),
        "bytes": sum(file.bytes for file in files),
        "taken": len(missing),
        "licence": card.licence,
    }


def by_hand(name: str, root: str) -> str:
    """Where to get a benchmark and where to put it, in one line."""
    task, card = find(name), card_of(name.partition("@")[0])
    how = card.by_hand or "its pictures as its source gives them"
    needs = f", with {card.needs}" if card.needs else ""
    return f"get it at {card.source or 'its source'}: {how}{needs}; put that into {Path(root) / task.folder}"


def _why(copy: Any, licence: str) -> str:
    if copy is not None and copy.gated:
        return f"it is for those who accepted its terms; licence: {licence}"
    return f"no stable public copy is known, or its licence forbids one: {licence}"


def _of_split(name: str, split: str | None) -> bool:
    """Whether a file belongs to `split` or to none in particular (class names, templates)."""
    if split is None:
        return True
    parts = [part.split("-")[0].split(".")[0] for part in name.split("/")]
    named = {key for key, words in SPLIT_WORDS.items() for part in parts if part in words}
    return not named or split in named


def _recorded(folder: Path, found: hubs.Hub) -> dict[str, str]:
    """name -> SHA-256 of what an earlier call took from the same commit."""
    path = str(folder / RECORD)
    if not storage.exists(path):
        return {}
    try:
        record = storage.read_json(path)
    except ValueError:
        return {}
    same = isinstance(record, dict) and record.get("revision") == found.commit
    return {str(name): str(value) for name, value in record["files"].items()} if same else {}


def _there(path: Path, file: hubs.HubFile, before: dict[str, str]) -> bool:
    return file.name in before and path.exists() and path.stat().st_size == file.bytes


def _check_room(folder: Path, needed: int) -> None:
    above = folder
    while not above.exists():
        above = above.parent
    free = shutil.disk_usage(above).free
    if needed > free:
        raise DataError(
            f"{folder}: needs {needed / 1e9:.1f} GB and has {free / 1e9:.1f} GB free; name another folder with --to"
        )
