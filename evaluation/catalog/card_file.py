"""A card's YAML file as a mapping, and what is wrong with one in a line: the file, the key, the value, the way out."""

import difflib
from collections.abc import Collection, Hashable
from typing import Any

import yaml
from pydantic import ValidationError

from pipeline import storage
from pipeline.errors import ConfigError

WORDS = {
    "tuple_type": "write a list, as in [a, b]",
    "dict_type": "write a mapping, as in {train: null, test: 200}",
    "string_type": "write a word, in quotes where it is a number or yes and no",
    "int_parsing": "write a whole number",
    "int_type": "write a whole number",
    "float_parsing": "write a number",
    "bool_parsing": "write true or false",
}
"""Pydantic's kinds of mistakes, in the words of who writes YAML."""


_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """A key that is written twice is an error, where YAML takes the last one in silence."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            name = self.construct_object(key, deep=True)
            if isinstance(name, Hashable) and name in seen:
                raise yaml.YAMLError(f"the key {name} is written twice; keep one")
            seen.add(name if isinstance(name, Hashable) else None)
        return dict(super().construct_mapping(node, deep))


def read_mapping(path: str) -> dict[str, Any]:
    """Raises ConfigError for what is no file, no YAML or no mapping."""
    if not storage.exists(path):
        raise ConfigError(
            f"evaluate.tasks: there is no card {path}; write one, or name a task (`openwit tasks` lists them)"
        )
    try:
        value = yaml.load(storage.read_bytes(path), Loader=_Loader)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror or error}); name a file") from error
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, RecursionError) as error:
        raise ConfigError(f"{path}: is not YAML ({' '.join(str(error).split())[:200]})") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: must be a mapping such as `layouts: [image-folder]`, not {type(value).__name__}")
    return value


def mistake(path: str, error: ValidationError, keys: Collection[str]) -> ConfigError:
    """The first thing that is wrong with a card whose keys are `keys`."""
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"] if not str(part).endswith("]")) or "the card"
    message = WORDS.get(first["type"], str(first["msg"]).removeprefix("Value error, "))
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(str(first["loc"][-1]), keys, 1)
        message = f"there is no such key{f'; did you mean {near[0]}?' if near else ''}"
    if key == "name":
        message = f"{first['input']!r} is to be of a-z, A-Z, 0-9, '.', '-' and '_'; write such a name: into the card"
    if key.startswith("hashes"):
        message = "write 64 hexadecimal digits, as `openwit tasks verify --json` prints them"
    if key.split(".")[0] == "classes":  # YAML takes 1, yes and no for something else
        message = 'write words, in quotes where they are numbers or yes and no: ["1", "yes"]'
    return ConfigError(f"{path}: {key}: {message}")
