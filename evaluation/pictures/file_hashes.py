"""SHA-256 of large local files, read once: remembered beside them for as long as size, times and inode stay what they were.

The times only say whether a hash may still be believed, as in git's index; they are no part of it. Of a file that changed within
the last seconds nothing is remembered: it could change again within one tick of its clock. Where the folder cannot be written
to, the hash is remembered by this process alone.
"""

import contextlib
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Mapping, Sequence

RECORD = ".openwit-hashes.json"
SAVE_BYTES = 1 << 30
"""A record is written after so much was read, so that what was killed does not begin anew."""
SETTLED_SECONDS = 2.0
BLOCK_BYTES = 1 << 20

_here: dict[tuple[str, str], str] = {}


def hashes_of(paths: Sequence[str]) -> list[str]:
    """One per path, in their order; "" where there is no such file."""
    found: dict[str, str] = {}
    for folder in sorted({os.path.dirname(path) for path in paths}):
        found |= _in_folder(folder, sorted({path for path in paths if os.path.dirname(path) == folder}))
    return [found[path] for path in paths]


def _in_folder(folder: str, paths: Sequence[str]) -> dict[str, str]:
    record, found, unsaved = _read(folder), dict[str, str](), 0
    before = dict(record)
    for path in paths:
        try:
            state, size = _state(path)
            known = record.get(os.path.basename(path), {})
            digest = _here.get((path, state)) or (known.get("sha256") if known.get("state") == state else None)
            if digest is None:
                digest, unsaved = _sha256(path), unsaved + size
                if _state(path)[0] == state and time.time() - os.stat(path).st_mtime > SETTLED_SECONDS:
                    _here[path, state] = digest
                    record[os.path.basename(path)] = {"state": state, "sha256": digest}
        except OSError:  # whoever needs it says it
            digest = ""
        found[path] = digest
        if unsaved >= SAVE_BYTES:
            before, unsaved = _write(folder, record), 0
    if record != before:
        _write(folder, record)
    return found


def _state(path: str) -> tuple[str, int]:
    found = os.stat(path)
    return f"{found.st_size} {found.st_mtime_ns} {found.st_ctime_ns} {found.st_ino}", found.st_size


def _sha256(path: str) -> str:
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK_BYTES):
            digest.update(block)
    return digest.hexdigest()


def _read(folder: str) -> dict[str, Mapping[str, str]]:
    try:
        with open(os.path.join(folder, RECORD), encoding="utf-8") as file:
            found = json.load(file)
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {
        name: each for name, each in found.items() if isinstance(each, dict) and isinstance(each.get("sha256"), str)
    }


def _write(folder: str, record: Mapping[str, Mapping[str, str]]) -> dict[str, Mapping[str, str]]:
    with contextlib.suppress(OSError):
        handle, name = tempfile.mkstemp(prefix=RECORD, dir=folder)
        try:
            with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape") as file:
                json.dump(record, file)
            os.replace(name, os.path.join(folder, RECORD))
        except OSError:
            os.unlink(name)
    return dict(record)
