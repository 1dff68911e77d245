"""A recipe as text: YAML files, what they extend, `--set` and `${env:NAME}`. Values only: no tag or key can name code.

The order is fixed: the extended recipe, then the file's own keys (sections are merged, lists and scalars replaced), then
each `--set` from left to right. `${env:NAME}` is the one thing taken from the environment, and only where it is written;
a value that came that way is never shown in an error and never part of `Document.written`.
"""

import copy
import difflib
import os
import re
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from pipeline.errors import ConfigError
from pipeline.settings_errors import short

SHIPPED = Path(__file__).parent / "recipes"
MAX_BYTES = 1_000_000
MAX_DEPTH = 32
MAX_VALUES = 100_000

_ENV = re.compile(r"\$\{env:([A-Za-z_][A-Za-z0-9_]*)\}")


@dataclass(frozen=True)
class Document:
    """A merged recipe that no model has checked yet.

    `value` has the environment filled in; `written` has `${env:NAME}` as it stands and is what may be logged or sent.
    """

    origin: str
    value: dict[str, Any]
    written: dict[str, Any]


def shipped_recipes() -> list[str]:
    """Names that can be given without a path."""
    return sorted(path.stem for path in SHIPPED.glob("*.yaml"))


def read_document(name_or_path: str, sets: Sequence[str] = ()) -> Document:
    """Read, extend and override. Raises ConfigError with one line for whatever is wrong with the text."""
    written = _read_extended(_find(name_or_path, SHIPPED, asked_by=None), chain=())
    for text in sets:
        _apply_set(written, text)
    _check_shape(written, "", 0, [0])
    value = _with_environment(written, "")
    return Document(name_or_path, value, written)


def to_yaml(document: Mapping[str, Any]) -> str:
    """The merged recipe as one file without `extends`, keys in their order."""
    return yaml.safe_dump(dict(document), sort_keys=False, allow_unicode=True, width=120)


def merge(base: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    """`change` over `base`: sections are merged key by key, everything else is replaced."""
    merged = dict(base)
    for key, value in change.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def _is_path(name: str) -> bool:
    return "/" in name or os.sep in name or name.endswith((".yaml", ".yml"))


def _find(name: str, folder: Path, asked_by: str | None) -> Path:
    where = f"{asked_by}: extends {short(name)}: " if asked_by else f"{_plain(name)}: "
    if "://" in name:
        raise ConfigError(f"{where}a recipe is a local file; copy it here first")
    if _is_path(name):
        path = folder / name if asked_by else Path(name)
        if path.is_dir():
            raise ConfigError(f"{where}is a folder; give the .yaml file in it")
        if not path.exists():
            raise ConfigError(f"{where}no such file; check the path, or use one of {_listed(shipped_recipes())}")
        return path
    known = shipped_recipes()
    if name in known:
        return SHIPPED / f"{name}.yaml"
    if asked_by is None and Path(name).is_file():
        raise ConfigError(f"{where}unknown recipe; to use the file of this name give its path: ./{_plain(name)}")
    nearest = difflib.get_close_matches(name, known, n=len(known), cutoff=0.6)
    ordered = [*nearest, *(other for other in known if other not in nearest)]
    hint = f"did you mean {nearest[0]}? " if nearest else ""
    raise ConfigError(f"{where}unknown recipe; {hint}known: {_listed(ordered)}; or give the path of a .yaml file")


def _listed(names: Sequence[str]) -> str:
    return ", ".join(names) if names else "(none)"


def _plain(text: str) -> str:
    return text if text.isprintable() and text else short(text)


def _read_extended(path: Path, chain: tuple[Path, ...]) -> dict[str, Any]:
    own = _read_file(path)
    name = own.pop("extends", None)
    if name is None:
        return own
    if not isinstance(name, str):
        raise ConfigError(f"{path}: extends: {short(name)} is not the name or path of one recipe")
    base = _find(name, path.parent, asked_by=str(path))
    chain = (*chain, path.resolve())
    if base.resolve() in chain:
        loop = " -> ".join(step.name for step in (*chain[chain.index(base.resolve()) :], base))
        raise ConfigError(f"{path}: extends: {short(name)} goes round in a loop ({loop}); remove one of them")
    return merge(_read_extended(base, chain), own)


def _read_file(path: Path) -> dict[str, Any]:
    try:
        with open(path, "rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"{path}: larger than {MAX_BYTES:,} bytes, so it is no recipe; give a recipe's .yaml file")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: byte {error.start} is not UTF-8; save the recipe as UTF-8 text") from error
    value = _parse(text, str(path))
    if value is None:
        raise ConfigError(f"{path}: empty; a recipe needs at least `extends: demo`")
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: {short(value)} is not a recipe; write keys and values, such as `extends: demo`")
    return value


class _Loader(yaml.SafeLoader):
    """safe_load, and a key written twice is an error instead of the last one winning in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[str] = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            if key.tag != "tag:yaml.org,2002:str":
                raise _problem(f"the key {short(getattr(key, 'value', '?'))} is not text; put it in quotes", key)
            if key.value in seen:
                raise _problem(f"the key {short(key.value)} is written twice; keep one", key)
            seen.add(key.value)
        return super().construct_mapping(node, deep)


def _problem(text: str, node: yaml.Node) -> yaml.constructor.ConstructorError:
    return yaml.constructor.ConstructorError(None, None, text, node.start_mark)


def _parse(text: str, where: str) -> Any:
    try:
        return yaml.load(text, _Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = f" line {mark.line + 1}, column {mark.column + 1}:" if mark else ""
        problem = " ".join(str(error.problem or error.context or "not YAML").split())
        if "could not determine a constructor for the tag" in problem:
            problem = "tags (!...) are not allowed; write plain values"
        raise ConfigError(f"{where}:{line} {problem}") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{where}: not YAML ({' '.join(str(error).split())}); write plain keys and values") from error
    except RecursionError as error:
        raise ConfigError(f"{where}: nested too deep to be a recipe") from error


def _apply_set(document: dict[str, Any], text: str) -> None:
    key, equals, written = text.partition("=")
    parts = [part.strip() for part in key.split(".")]
    if not equals or not all(parts):
        raise ConfigError(
            f"--set {_plain(text)}: not of the form key=value; write for example train.learning_rate=0.001"
        )
    if parts[0] == "extends":
        raise ConfigError(f"--set {_plain(text)}: extends is only for recipe files; give that recipe's name instead")
    value = _parse(written, f"--set {_plain(text)}")
    section = document
    for depth, part in enumerate(parts[:-1], start=1):
        below = section.get(part)
        if below is None:
            below = {}
        elif isinstance(below, list):
            name = ".".join(parts[:depth])
            raise ConfigError(f"--set {_plain(text)}: {name} is a list; give all of it: --set {name}=[first, second]")
        elif not isinstance(below, dict):
            name = ".".join(parts[:depth])
            raise ConfigError(f"--set {_plain(text)}: {name} is {short(below)}, which has no keys below it")
        # A fresh copy, so that a section shared through a YAML anchor changes in this place only.
        section[part] = below = dict(below)
        section = below
    section[parts[-1]] = value


def _check_shape(value: Any, key: str, depth: int, seen: list[int]) -> None:
    """Refuses what YAML aliases can build: values that contain themselves or grow without end."""
    seen[0] += 1
    if depth > MAX_DEPTH or seen[0] > MAX_VALUES:
        raise ConfigError(f"{key[:60]}: nested too deep or too large to be a recipe; write its values out plainly")
    if isinstance(value, dict):
        for name, below in value.items():
            _check_shape(below, f"{key}.{name}" if key else str(name), depth + 1, seen)
    elif isinstance(value, list):
        for place, below in enumerate(value):
            _check_shape(below, f"{key}.{place}", depth + 1, seen)


def _with_environment(value: Any, key: str) -> Any:
    if isinstance(value, dict):
        return {name: _with_environment(below, f"{key}.{name}" if key else name) for name, below in value.items()}
    if isinstance(value, list):
        return [_with_environment(below, f"{key}.{place}") for place, below in enumerate(value)]
    if isinstance(value, str):

        def named(match: re.Match[str]) -> str:
            found = os.environ.get(match[1])
            if found is None:
                raise ConfigError(f"{key}: the environment variable {match[1]} is not set; export {match[1]}=...")
            return found

        return _ENV.sub(named, value)
    return copy.copy(value)


def uses_environment(value: Any) -> bool:
    """Whether this written value takes anything from the environment."""
    if isinstance(value, dict):
        return any(map(uses_environment, value.values()))
    if isinstance(value, list):
        return any(map(uses_environment, value))
    return isinstance(value, str) and _ENV.search(value) is not None


def hide_environment(value: Any, written: Any) -> Any:
    """`value` with everything that `written` takes from the environment as it is written."""
    if isinstance(value, dict) and isinstance(written, dict):
        return {name: hide_environment(below, written.get(name)) for name, below in value.items()}
    if isinstance(value, list) and isinstance(written, list) and len(value) == len(written):
        return [hide_environment(*pair) for pair in zip(value, written, strict=True)]
    return written if uses_environment(written) else value
