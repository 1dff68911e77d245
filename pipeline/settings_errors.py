"""One line for settings that do not fit their model: the dotted key, its value, and the way out. Of a recipe, or of one section
in a file of its own.

pydantic reports every mistake with a path through the data and through its own unions; users wrote neither unions nor
paths, so both are turned back into the key as it stands in the file, with the nearest known key beside it.
"""

import difflib
import re
import types
import typing
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from pydantic import BaseModel, ValidationError, create_model
from pydantic_core import ErrorDetails, PydanticUndefined

from pipeline.errors import ConfigError

Section = TypeVar("Section", bound=BaseModel)

_KINDS = {
    "float": "not a number",
    "int": "not a whole number",
    "bool": "not true or false",
    "string": "not text",
    "list": "not a list",
    "tuple": "not a list",
    "set": "not a list",
    "frozen_set": "not a list",
    "dict": "not a section",
    "model": "not a section",
}
_EXAMPLES = {"float": "0.5", "int": "8", "bool": "true", "string": "'text' in quotes", "list": "[first, second]"}
_LIMITS = {
    "greater_than": "is out of range; it must be more than {gt:g}",
    "greater_than_equal": "is out of range; it must be at least {ge:g}",
    "less_than": "is out of range; it must be less than {lt:g}",
    "less_than_equal": "is out of range; it must be at most {le:g}",
    "multiple_of": "does not fit; it must be a multiple of {multiple_of:g}",
    "finite_number": "is not finite; give a number such as 0.5",
    "too_short": "is too short; give at least {min_length}",
    "too_long": "is too long; give at most {max_length}",
    "string_too_short": "is too short; give at least {min_length} characters",
    "string_too_long": "is too long; give at most {max_length} characters",
}
ANY_NAME = "*"
"""Stands in a known key for a name that the user chooses, as in curate.sources.*.kind."""
_CHOICE = re.compile(r"\^?\(?([\w-]+(?:\|[\w-]+)+)\)?\$?")
"""A pattern that only lists words is a choice, and is told as one."""


class Document(Protocol):
    """Settings as they were read: `written` is `value` before anything was filled in that may be a secret."""

    @property
    def origin(self) -> str: ...
    @property
    def value(self) -> dict[str, Any]: ...
    @property
    def written(self) -> dict[str, Any]: ...


@dataclass(frozen=True)
class _Plain:
    origin: str
    value: dict[str, Any]

    @property
    def written(self) -> dict[str, Any]:
        return self.value


def read_section(model: type[Section], name: str, value: Any, origin: str) -> Section:
    """The section `name` of a recipe, out of a file of its own. Raises ConfigError in the words that a recipe would get."""
    whole: type[BaseModel] = create_model("Alone", **{name: (model, ...)})  # type: ignore[call-overload]
    document = _Plain(origin, {name: value})
    try:
        found: Section = getattr(whole.model_validate(document.value), name)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {config_error(whole, document, error)}") from error
    return found


def config_error(model: type[BaseModel], document: Document, error: ValidationError) -> ConfigError:
    """The first mistake in the document's own order, and how many more there are."""
    lines: dict[tuple[str, ...], str] = {}
    for details in error.errors(include_url=False):
        parts, value = _place(document.value, details["loc"], missing=details["type"] == "missing")
        if parts not in lines:
            lines[parts] = _line(model, document, parts, value, details)
    first, *others = lines.values()
    return ConfigError(first + (f" (and {len(others)} more)" if others else ""))


def short(value: Any, limit: int = 60) -> str:
    """A value as it is shown in an error: quoted, without line ends or control characters, cut at `limit`."""
    text = (
        {None: "null", True: "true", False: "false"}[value] if value is None or isinstance(value, bool) else repr(value)
    )
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def known_keys(model: type[BaseModel]) -> dict[str, Any]:
    """Every dotted key a recipe of this model can have, with its default (PydanticUndefined where there is none)."""
    return dict(_keys(model, "", ()))


def nearest_key(key: str, known: Mapping[str, Any]) -> str | None:
    """The known key that was most likely meant. "lrr" is near "learning_rate" because people write initials."""
    wanted = key.rsplit(".", 1)[-1]

    def likeness(candidate: str) -> float:
        last = candidate.rsplit(".", 1)[-1]
        initials = "".join(word[0] for word in last.split("_") if word)
        by_name = max(_ratio(wanted, last), 0.9 * _ratio(wanted, initials) if len(initials) > 1 else 0.0)
        if set(wanted.split("_")) < set(last.split("_")):  # batch_size for global_batch_size
            by_name = max(by_name, 0.9)
        same_section = 0.1 if key.split(".")[0] == candidate.split(".")[0] else 0.0
        return 0.7 * by_name + 0.2 * _ratio(key, candidate) + same_section

    best = max(known, key=likeness, default=None)
    return best if best is not None and likeness(best) >= 0.6 else None


def _ratio(one: str, other: str) -> float:
    return difflib.SequenceMatcher(None, one, other, autojunk=False).ratio()


def _line(model: type[BaseModel], document: Document, parts: tuple[str, ...], value: Any, details: ErrorDetails) -> str:
    kind, context = details["type"], details.get("ctx", {})
    key = ".".join(part if part.isprintable() else short(part) for part in parts)
    known = known_keys(model)
    if kind == "extra_forbidden":
        return _unknown_key(parts, value, known)
    if kind == "missing":
        either = f" or give --set {key}=..." if not isinstance(document, _Plain) else ""
        return f"{key}: missing; write it in the {'recipe' if either else 'file'}{either}"
    # What came from the environment may be a secret; it is named and never shown.
    shown = _written(document.written, parts)
    said = f"{key}: {short(shown)}"
    if repr(shown) != repr(value) and kind not in ("float_parsing", "int_parsing", "bool_parsing"):
        return f"{said}: what the environment holds there does not fit; set another value"
    if kind in ("union_tag_not_found", "union_tag_invalid"):
        name = str(context["discriminator"]).strip("'")
        choices = [word.strip(" '") for word in str(context.get("expected_tags", "")).split(",") if word.strip()]
        given = value.get(name) if isinstance(value, dict) else None
        if given is None:
            known_kinds = f"one of {', '.join(choices)}" if choices else "the kind of this section"
            return f"{key}.{name}: missing; give {known_kinds}"
        return _not_a_choice(f"{key}.{name}: {short(given)}", given, choices)
    if kind in _LIMITS:
        return f"{said} {_LIMITS[kind].format(**context)}"
    if kind in ("literal_error", "enum"):
        choices = str(context["expected"]).replace(" or ", ", ").split(", ")
        return _not_a_choice(said, value, [choice.strip("'\"") for choice in choices])
    if kind == "string_pattern_mismatch":
        choice = _CHOICE.fullmatch(str(context["pattern"]))
        if choice:
            return _not_a_choice(said, value, choice[1].split("|"))
        return f"{said} does not fit the pattern {context['pattern']}"
    if kind in ("value_error", "assertion_error"):
        reason = " ".join(str(context["error"]).split())
        told = isinstance(value, dict | list) or repr(value) in reason
        return f"{key or document.origin}: {reason}" if told else f"{said}: {reason}"
    if kind == "int_from_float":
        return f"{said} is not a whole number; give one such as {_example('int', known.get(key))}"
    base = kind.rsplit("_", 1)[0]
    if base in _KINDS:
        if _KINDS[base] == "not a section":
            return f"{said} is not a section; write its keys below {key}"
        return f"{said} is {_KINDS[base]}; give one such as {_example(base, known.get(key))}"
    return f"{said}: {' '.join(details['msg'].split())}"


def _example(kind: str, default: Any) -> str:
    fits = {"float": (int, float), "int": (int,), "string": (str,)}.get(kind, ())
    if fits and isinstance(default, fits) and not isinstance(default, bool):
        return repr(default)
    if _KINDS[kind] == "not a list" and isinstance(default, list | tuple) and default:
        return "[" + ", ".join(map(str, default[:4])) + "]"
    return _EXAMPLES.get(kind, _EXAMPLES["list"])


def _unknown_key(parts: tuple[str, ...], value: Any, known: Mapping[str, Any]) -> str:
    parts, given = _generic(parts, known), parts
    key = _told_unknown(parts, value, known)
    # Keys below a name that the user chose are known without it; the line tells it as it was written.
    for place, (ours, theirs) in enumerate(zip(parts, given, strict=True)):
        if ours == ANY_NAME:
            key = key.replace(".".join(parts[: place + 1]), ".".join([*given[:place], theirs]))
    return key


def _generic(parts: tuple[str, ...], known: Mapping[str, Any]) -> tuple[str, ...]:
    """The key with * for a name of the user's own."""
    found: list[str] = []
    for part in parts:
        prefix = ".".join([*found, ANY_NAME]) + "."
        found.append(ANY_NAME if found and any(name.startswith(prefix) for name in known) else part)
    return tuple(found)


def _told_unknown(parts: tuple[str, ...], value: Any, known: Mapping[str, Any]) -> str:
    # `--set train.optim.lrr=1` makes `optim` the unknown key; the user wrote all of it, so all of it is named.
    while isinstance(value, dict) and len(value) == 1:
        (name, value) = next(iter(value.items()))
        parts = (*parts, str(name))
    key = ".".join(part if part.isprintable() else short(part) for part in parts)
    meant = nearest_key(key, known)
    if meant is not None:
        return f"{key}: unknown key; did you mean {meant}?"
    above = key.rsplit(".", 1)[0]
    prefix = f"{above}." if "." in key and any(name.startswith(f"{above}.") for name in known) else ""
    beside = sorted({name[len(prefix) :].split(".")[0] for name in known if name.startswith(prefix)})
    return f"{key}: unknown key; {above if prefix else 'a recipe'} has {', '.join(beside)}"


def _not_a_choice(said: str, value: Any, choices: Sequence[str]) -> str:
    nearest = difflib.get_close_matches(str(value), choices, n=1, cutoff=0.5)
    hint = f"; did you mean {nearest[0]}?" if nearest else ""
    return f"{said} is not one of {', '.join(choices)}{hint}"


def _place(value: Any, loc: tuple[int | str, ...], missing: bool) -> tuple[tuple[str, ...], Any]:
    """pydantic's path without the parts that name union members, and the value that stands there."""
    parts: list[str] = []
    for position, part in enumerate(loc):
        if isinstance(value, dict) and part in value:
            value = value[str(part)]
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
        elif not (missing and position == len(loc) - 1):
            continue
        parts.append(str(part))
    return tuple(parts), value


def _written(document: Any, parts: tuple[str, ...]) -> Any:
    for part in parts:
        document = document[int(part)] if isinstance(document, list) else document[part]
    return document


def _keys(model: type[BaseModel], prefix: str, above: tuple[type[BaseModel], ...]) -> Iterator[tuple[str, Any]]:
    if model in above:  # a model that contains itself has endless keys; the first round is enough for a hint
        return
    for name, field in model.model_fields.items():
        yield prefix + name, PydanticUndefined if field.is_required() else field.default
        below = f"{prefix}{name}.{ANY_NAME}." if typing.get_origin(field.annotation) is dict else f"{prefix}{name}."
        for inner in _models_in(field.annotation):
            yield from _keys(inner, below, (*above, model))


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and not isinstance(annotation, types.GenericAlias):
        return [annotation] if issubclass(annotation, BaseModel) else []
    return [model for part in typing.get_args(annotation) for model in _models_in(part)]
