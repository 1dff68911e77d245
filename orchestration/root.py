"""The folder all output goes below: checked before any work, because finding out after an hour of crawling is unkind."""

import os
import tempfile
from pathlib import Path

from orchestration.journal import local_root
from pipeline.errors import ConfigError


def require_writable(root: str) -> None:
    """Make `root` and write one file in it. Raises ConfigError, and leaves nothing, where that cannot be."""
    folder = local_root(root)
    made = _missing_folders(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".openwit-"):
            pass
    except OSError as error:
        for each in made:
            if each.is_dir():
                os.rmdir(each)
        in_the_way = isinstance(error, FileExistsError | NotADirectoryError)
        reason = "a file is in its place" if in_the_way else error.strerror or str(error)
        raise ConfigError(f"--root {root}: cannot be written ({reason}); choose another --root") from error


def _missing_folders(folder: Path) -> list[Path]:
    """The folders that mkdir would make, deepest first."""
    try:
        return [each for each in (folder, *folder.parents) if not each.exists()]
    except OSError:  # a parent that may not be read; mkdir will say so
        return []
