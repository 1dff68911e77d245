"""What a job takes along: the four source folders and its recipe, and nothing else of the working tree.

No .git, no environment, no data and no dot files travel, so neither does a secret that lies beside the code. Ray uploads
the folder over HTTP and refuses more than 100 MiB.
"""

import hashlib
import importlib.util
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from pipeline.code_version import PACKAGES
from pipeline.errors import ConfigError

MAX_BYTES = 100 * 2**20
LEFT_OUT = shutil.ignore_patterns("__pycache__", ".*", "*.pyc", "*.so")


@dataclass(frozen=True)
class Commit:
    """Where the code stands in git; `hexsha` is "" where it is not a checkout (an installed wheel)."""

    hexsha: str
    dirty: bool

    def __str__(self) -> str:
        return (self.hexsha or "unknown") + ("-dirty" if self.dirty else "")


def package_folders() -> list[Path]:
    """The four source folders that this process runs from."""
    folders = []
    for name in PACKAGES:
        spec = importlib.util.find_spec(name)
        if spec is None or spec.origin is None:
            raise ConfigError(f"package {name} is not installed; run `make venv`")
        folders.append(Path(spec.origin).parent)
    return folders


def pack(folder: Path, recipe_yaml: str) -> str:
    """Fill `folder` with the sources and recipe.yaml; returns 12 hex digits of all that it holds."""
    for source in package_folders():
        shutil.copytree(source, folder / source.name, ignore=LEFT_OUT)
    (folder / "recipe.yaml").write_text(recipe_yaml, "utf-8")
    digest = hashlib.sha256()
    total = 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        data = path.read_bytes()
        total += len(data)
        digest.update(f"{path.relative_to(folder).as_posix()}\0{len(data)}\0".encode() + data)
    if total > MAX_BYTES:
        raise ConfigError(
            f"the source folders hold {total / 2**20:,.0f} MiB and Ray takes 100 MiB; move what is no code out of them"
        )
    return digest.hexdigest()[:12]


def commit() -> Commit:
    """The checkout's commit, and whether its source folders differ from it."""
    root = package_folders()[0].parent
    hexsha = _git(root, "rev-parse", "HEAD")
    if hexsha is None:
        return Commit("", False)
    changed = _git(root, "status", "--porcelain", "--", *PACKAGES)
    return Commit(hexsha, bool(changed))


def _git(folder: Path, *words: str) -> str | None:
    """git's answer, or None where there is no git, no checkout or no commit yet."""
    try:
        done = subprocess.run(["git", "-C", str(folder), *words], capture_output=True, text=True, timeout=30)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
