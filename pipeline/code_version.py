"""The version of the code behind a step: a hash over a module and every project module it imports, however deep.

Comments and formatting do not count (the syntax tree is hashed, docstrings included), a changed callee does. Hand-bumped
version numbers are forgotten, and a hash of one function misses what it calls.
"""

import ast
import functools
import hashlib
import importlib.util
import re
from pathlib import Path

_TARGET = re.compile(r"[a-z_]+(\.[a-z0-9_]+)+:[a-z0-9_]+")
PACKAGES = ("pipeline", "training", "evaluation", "orchestration")


@functools.cache
def code_version(module: str) -> str:
    """16 hex digits for `module` ("training.train") and its project imports."""
    digest = hashlib.sha256()
    for name in sorted(_closure(module)):
        tree = ast.parse(_source(name).read_text("utf-8"))
        # Python 3.12 writes a field into the dump that older ones do not know; empty, it says nothing.
        dump = ast.dump(tree).replace(", type_params=[]", "")
        digest.update(name.encode() + b"\0" + dump.encode() + b"\0")
    return digest.hexdigest()[:16]


def _closure(module: str) -> set[str]:
    seen: set[str] = set()
    waiting = [module]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        waiting.extend(imported_modules(name))
    return seen


def imported_modules(module: str) -> set[str]:
    """Project modules that `module` imports anywhere in its text, packages' __init__ files included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(_source(module).read_text("utf-8"))):
        if isinstance(node, ast.Import):
            candidates = [alias.name for alias in node.names]
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and _TARGET.fullmatch(node.value):
            candidates = [node.value.partition(":")[0]]  # "package.module:function", imported in a child process
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            candidates = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        found.update(name for name in candidates if name.split(".")[0] in PACKAGES and _is_module(name))
    return found


@functools.cache
def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except ModuleNotFoundError:
        return False


def _source(module: str) -> Path:
    spec = importlib.util.find_spec(module)
    if spec is None or spec.origin is None:
        raise ValueError(f"{module} is not a module of this project")
    return Path(spec.origin)
