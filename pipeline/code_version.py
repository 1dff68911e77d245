"""The version of the code behind a step: a hash over a module and every project module it imports, however deep.

Comments and formatting do not count (the syntax tree is hashed, docstrings included), a changed callee does. Hand-bumped
version numbers are forgotten, and a hash of one function misses what it calls.
"""

import ast
import functools
import hashlib
import importlib.util
import re
from dataclasses import dataclass
from pathlib import Path

_TARGET = re.compile(r"[a-z_]+(\.[a-z0-9_]+)+:[a-z0-9_]+")
PACKAGES = ("pipeline", "training", "evaluation", "orchestration")


@functools.cache
def code_version(module: str) -> str:
    """16 hex digits for `module` ("training.train") and its project imports."""
    digest = hashlib.sha256()
    for name in sorted(_closure(module)):
        digest.update(name.encode() + b"\0" + _read(name).dump + b"\0")
    return digest.hexdigest()[:16]


def imported_modules(module: str) -> frozenset[str]:
    """Project modules that `module` imports anywhere in its text, packages' __init__ files included."""
    return _read(module).imports


def _closure(module: str) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name not in seen:
            seen.add(name)
            waiting.extend(imported_modules(name))
    return seen


@dataclass(frozen=True)
class _Text:
    dump: bytes
    imports: frozenset[str]


@functools.cache
def _read(module: str) -> _Text:
    """A module's syntax tree as text, and what it imports; read once for all steps."""
    source = _source(module)
    if source is None:
        raise ValueError(f"{module} is not a module of this project")
    tree = ast.parse(source.read_text("utf-8"))
    # Python 3.12 writes a field into the dump that older ones do not know; empty, it says nothing.
    dump = ast.dump(tree).replace(", type_params=[]", "").encode()
    candidates = {name for node in ast.walk(tree) for name in _named(node)}
    return _Text(dump, frozenset(name for name in candidates if _source(name) is not None))


def _named(node: ast.AST) -> list[str]:
    """What may be modules among the names in a part of a tree."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.Constant) and isinstance(node.value, str) and _TARGET.fullmatch(node.value):
        return [node.value.partition(":")[0]]  # "package.module:function", imported in a child process
    if isinstance(node, ast.ImportFrom) and node.module and not node.level:
        return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
    return []


@functools.cache
def _source(module: str) -> Path | None:
    """The file of a project module, found without importing it or its parents; None where there is none."""
    package, *rest = module.split(".")
    spec = importlib.util.find_spec(package) if package in PACKAGES else None
    for folder in (spec.submodule_search_locations or []) if spec else []:
        path = Path(folder, *rest)
        for source in (path / "__init__.py", path.with_name(f"{path.name}.py") if rest else path):
            if source.is_file():
                return source
    return None
