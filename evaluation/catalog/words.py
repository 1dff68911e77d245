"""Class names and prompt templates, as data, and the words by which datasets call their classes.

A file of `prompts/` holds `classes` (the dataset's own word -> names, synonyms among them) and `templates`; it may take
either from another file (`classes_from`, with `only` some of them; `templates_from`), and says its source and what the words
are (`keys`). `also` has other words by which copies call a class; they are joined, and never asked for. `cls` has the classes by
their number in CLIP_benchmark's copies: Parquet made of its webdatasets has numbers alone (FER's 4 is neutral there, and sad in
the csv). Names are joined to pictures by that word, never by position: published lists order the classes of VOC, EuroSAT, Pets
and CLEVR otherwise than the datasets do (openai/CLIP#153, #346), and two of ImageNet's names belong to two classes each.
"""

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from evaluation.catalog.card import read_card
from pipeline import storage
from pipeline.errors import ConfigError

HERE = Path(__file__).parent / "prompts"


@dataclass(frozen=True)
class Prompts:
    """A classifier in words: label -> its names (synonyms, all averaged), and templates with one `{}`.

    The labels stand in the order of the dataset's ids where it has ids. `version` is a hash of names and templates. `also` are
    words that copies of the dataset call a label by, which no sentence holds.
    """

    classes: dict[str, tuple[str, ...]]
    templates: tuple[str, ...]
    version: str
    also: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    cls: tuple[str, ...] = ()
    """Labels by CLIP_benchmark's number, where a file says so."""


def prompts_of(name: str) -> Prompts:
    """The prompts of prompts/<name>.json, or of a card or a JSON file of one's own, by its path. Raises ConfigError for one
    that cannot be used."""
    return _checked(name) if path_of(name) == name else _stored(name)


@functools.cache
def _stored(name: str) -> Prompts:
    return _checked(name)


def _checked(name: str) -> Prompts:
    value = _whole(name)
    classes, templates = value["classes"], value["templates"]
    for template in templates:
        if template.count("{}") != 1:
            raise ConfigError(f"{path_of(name)}: template {template!r} must hold {{}} once, where the name goes")
    version = storage.sha256(storage.canonical_json({"classes": classes, "templates": templates}))[:12]
    also = {label: tuple(words) for label, words in value.get("also", {}).items()}
    return Prompts(
        {label: tuple(names) for label, names in classes.items()},
        tuple(templates),
        version,
        also,
        tuple(value.get("cls", ())),
    )


def source_of(name: str) -> Mapping[str, str]:
    """Where the names and templates of a file come from: {"names_source", "keys"}, as far as it says so."""
    value = _read(name)
    return {said: value[key] for key, said in (("source", "names_source"), ("keys", "keys")) if key in value}


@functools.cache
def imagenet_classes_of(name: str) -> Mapping[str, tuple[str, ...]]:
    """Label -> the ImageNet synsets that fall on it; the label itself where a file has ImageNet's own classes.

    For the accuracy on ImageNet's pictures of the same classes, and for heads of 1000 classes (ObjectNet, the frame sets).
    """
    value = _read(name)
    if "imagenet" in value:
        return {label: tuple(synsets) for label, synsets in value["imagenet"].items()}
    return {label: (label,) for label in prompts_of(name).classes}


def path_of(name: str) -> str:
    return name if name.endswith((".json", ".yaml", ".yml")) else str(HERE / f"{name}.json")


def _read(name: str) -> dict[str, Any]:
    path = path_of(name)
    if path.endswith((".yaml", ".yml")):
        card = read_card(path)
        words = (
            card.classes
            if isinstance(card.classes, dict)
            else {word: [word.replace("_", " ")] for word in card.classes}
        )
        return {"classes": {word: list(names) for word, names in words.items()}, "templates": list(card.templates)}
    if not storage.exists(path) and path != name:
        near = difflib.get_close_matches(name, [each.stem for each in HERE.glob("*.json")], 1)
        hint = f"did you mean {near[0]}? " if near else ""
        raise ConfigError(
            f"prompts '{name}': there are none; {hint}give a known name, or the path of a JSON file of your own"
        )
    if not storage.exists(path):
        raise ConfigError(
            f"prompts '{name}': there is no such file; write classes and templates into it, or name another"
        )
    try:
        value = storage.read_json(path)
    except ValueError as error:
        raise ConfigError(f"{path}: is not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: must be an object with `classes` and `templates`")
    return value


def _whole(name: str) -> dict[str, Any]:
    """The file with what it takes from others."""
    value = dict(_read(name))
    for part in ("classes", "templates"):
        if f"{part}_from" in value:
            source = _read(value[f"{part}_from"])
            value[part] = source[part]
            if part == "classes" and "also" in source:
                value.setdefault("also", source["also"])
        if not value.get(part):
            raise ConfigError(f"{path_of(name)}: has no {part}; write them, or {part}_from: another file's name")
    if "only" in value:
        value["classes"] = {label: value["classes"][label] for label in value["only"]}
    also = value.get("also", {})
    if not isinstance(also, dict) or not all(isinstance(words, list) for words in also.values()):
        raise ConfigError(f"{path_of(name)}: also: must be an object of class -> list of words")
    value["also"] = {label: words for label, words in also.items() if label in value["classes"]}
    for label, names in value["classes"].items():
        if isinstance(names, str) or not names:
            raise ConfigError(f"{path_of(name)}: class '{label}' must have a list of names, as in [\"{label}\"]")
        if not all(isinstance(each, str) and each.strip() for each in (label, *names)):
            raise ConfigError(f"{path_of(name)}: class '{label}' has an empty name; write the word that is asked for")
    return value
