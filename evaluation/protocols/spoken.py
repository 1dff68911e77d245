"""Classes in words: every sentence that stands for a class, from templates, synonyms and descriptions.

Descriptions by a language model: Pratt et al. 2022 (CuPL, arXiv:2209.03320), 20 to 90 sentences per class in a JSON keyed by
class name. Names occur twice (ImageNet's 'missile' and 'sunglasses'), so a name's sentences go to every class that bears it.
"""

import re
import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from evaluation.catalog.benchmarks import Prompts, Task, prompts_of
from pipeline import storage
from pipeline.errors import ConfigError

_PUNCTUATION = str.maketrans("", "", string.punctuation)


@dataclass(frozen=True)
class Descriptions:
    """Sentences per label, and where they come from: `provenance` goes into the report."""

    sentences: Mapping[str, tuple[str, ...]]
    provenance: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Spoken:
    """`single` holds per template and class the sentences of its names, `described` per class those of a language model.

    An ensemble is the mean over all sentences of a class, each of equal weight.
    """

    single: tuple[tuple[tuple[str, ...], ...], ...]
    described: tuple[tuple[str, ...], ...]

    def ensemble(self) -> list[list[str]]:
        """All sentences of each class."""
        classes = len(self.described)
        return [
            [sentence for template in self.single for sentence in template[c]] + list(self.described[c])
            for c in range(classes)
        ]


def spoken(
    prompts: Prompts, descriptions: Descriptions | None = None, with_templates: bool = True, canonical: bool = False
) -> Spoken:
    """The sentences of every class, in the order of the prompts' classes."""
    said = canonical_text if canonical else str
    templates = prompts.templates if with_templates or descriptions is None else ()
    return Spoken(
        tuple(
            tuple(tuple(said(template.replace("{}", name)) for name in names) for names in prompts.classes.values())
            for template in templates
        ),
        tuple(tuple(map(said, descriptions.sentences[label])) if descriptions else () for label in prompts.classes),
    )


def canonical_text(text: str) -> str:
    """Underscores to spaces, no ASCII punctuation, lower case, single spaces."""
    return re.sub(r"\s+", " ", text.replace("_", " ").translate(_PUNCTUATION).lower()).strip()


def read_descriptions(task: str, path: str, prompts: Prompts) -> Descriptions:
    """The sentences at `path` for each of the prompts' classes.

    Joined by the class's label or any of its names, without regard to case and underscores. Raises ConfigError where the file
    is missing, no such JSON, or has nothing for a class.
    """
    key = f"evaluate.zero_shot.descriptions.{task}: {path}"
    if not storage.exists(path):
        raise ConfigError(f"{key}: there is no such file; give a JSON of class -> sentences")
    value = _parsed(path, key)
    about = {
        name: value[name]
        for name in ("generator", "source")
        if isinstance(value.get("classes"), dict) and name in value
    }
    by_name = value["classes"] if isinstance(value.get("classes"), dict) else value
    found: dict[str, tuple[str, ...]] = {}
    for name, sentences in by_name.items():
        if not isinstance(sentences, list) or not all(isinstance(each, str) and each.strip() for each in sentences):
            raise ConfigError(f"{key}: '{name}' holds no list of sentences; CuPL's form is {{class: [sentence, ...]}}")
        found[_folded(name)] = tuple(sentences)
    joined = {}
    for label, names in prompts.classes.items():
        own = [found[_folded(word)] for word in (label, *names) if found.get(_folded(word))]
        if not own:
            raise ConfigError(
                f"{key}: has no sentence for class '{label}' ({', '.join(names)}); add it, or another file"
            )
        joined[label] = own[0]
    used = {_folded(word) for label, names in prompts.classes.items() for word in (label, *names)}
    return Descriptions(
        joined,
        about
        | {
            "sha256": storage.sha256(storage.canonical_json(value)),
            "sentences": sum(map(len, joined.values())),
            "unused": sorted(name for name in by_name if _folded(name) not in used)[:20],
        },
    )


def check_descriptions(files: Mapping[str, str], tasks: Sequence[Task]) -> None:
    """Before any work. Raises ConfigError for a file that does not fit, or one of a task that is not measured."""
    known = {task.name: task for task in tasks}
    for name, path in files.items():
        task = known.get(name)
        if task is None or task.kind == "retrieval":
            raise ConfigError(f"evaluate.zero_shot.descriptions: '{name}' is no task with classes of evaluate.tasks")
        read_descriptions(name, path, prompts_of(task.prompts or task.name))


def content_of(files: Mapping[str, str], task: str) -> str | None:
    """A hash of the task's descriptions, None where it has none: what a report depends on is not the path."""
    return storage.sha256(storage.read_bytes(files[task])) if task in files else None


def _parsed(path: str, key: str) -> dict[str, Any]:
    try:
        value = storage.read_json(path)
    except ValueError as error:
        raise ConfigError(f"{key}: is no JSON; give a JSON of class -> sentences") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{key}: is no object of class -> sentences")
    return value


def _folded(name: str) -> str:
    return re.sub(r"[\s_]+", " ", name).strip().casefold()
