"""Conditions on columns, as a user writes them: `score_clip_similarity > 0.28 and width >= 200`.

A small grammar, read by recursive descent into a pyarrow expression; nothing is ever evaluated as Python.

    condition   any of: A and B, A or B, not A, (A)
    comparison  value = == != < <= > >= value;  value in (1, 2);  value is [not] null
                text contains 'word';  text starts with 'word';  text ends with 'word'
    value       column, 12, 0.5, 'text', true, false, -value, value + - * / value, (value),
                min(a, b), max(a, b), length(text), lower(text), count(list)
"""

import difflib
import re
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, NoReturn

import pyarrow as pa
import pyarrow.compute as pc

from pipeline.errors import ConfigError

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+|\d+(?:[eE][+-]?\d+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_.]*)"
    r"|'(?P<single>[^']*)'|\"(?P<double>[^\"]*)\""
    r"|(?P<sign>==|!=|<=|>=|[=<>+\-*/(),]))"
)
_WORDS = {"and", "or", "not", "in", "is", "null", "contains", "starts", "ends", "with", "true", "false"}
_COMPARE: dict[str, Callable[[Any, Any], Any]] = {
    "=": lambda a, b: a == b,
    "==": lambda a, b: a == b,
    "!=": lambda a, b: a != b,
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_FUNCTIONS: dict[str, tuple[int, Callable[..., Any]]] = {
    "min": (2, lambda a, b: pc.min_element_wise(a, b, skip_nulls=False)),
    "max": (2, lambda a, b: pc.max_element_wise(a, b, skip_nulls=False)),
    "length": (1, pc.utf8_length),
    "lower": (1, pc.utf8_lower),
    "count": (1, pc.list_value_length),
}
MAX_DEPTH = 100
_LARGE = pa.decimal128(20, 0)
"""What holds every uint64 beside negative numbers: half of all pHashes are beyond int64, in which Arrow would compare them with
a number. Where a condition names such a column or number, all its integers are of this type."""


class Condition:
    """A parsed condition: `columns` it reads, and `keeps(table)` which rows it holds for (null counts as no)."""

    def __init__(self, text: str, schema: pa.Schema) -> None:
        self._text, self._schema = text, schema
        self._tokens = _tokens(text)
        self._at = self._depth = 0
        self._is_large = any(
            pa.types.is_uint64(schema.field(word).type)
            if kind == "name" and word in schema.names
            else _is_large(kind, word)
            for kind, word in self._tokens
        )
        self.columns: list[str] = []
        self._expression = self._either()
        if self._at < len(self._tokens):
            self._refuse(f"cannot go on with {self._tokens[self._at][1]!r}")
        self.keeps(schema.empty_table())

    def keeps(self, table: pa.Table) -> pa.ChunkedArray:
        """A boolean per row. Raises ConfigError where the types do not fit each other."""
        columns = table.select(self.columns or table.column_names[:1])
        try:
            found = columns_with(columns, self._expression)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError) as error:
            said = str(error).splitlines()[0]
            raise ConfigError(f"--where {self._text!r}: {said}; compare numbers with numbers, text with text") from None
        if not pa.types.is_boolean(found.type):
            self._refuse("it is a value, not a condition")
        return pc.fill_null(found, False)

    # --- reading --------------------------------------------------------------------------------------------------------

    def _refuse(self, why: str) -> NoReturn:
        raise ConfigError(f"--where {self._text!r}: {why}; write it like: width >= 200 and caption contains 'cat'")

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("end", "the end")

    def _take(self, *words: str) -> bool:
        """Whether the next tokens are these words or signs, which are then gone."""
        here = self._tokens[self._at : self._at + len(words)]
        if [(kind, word.lower()) for kind, word in here if kind in ("word", "sign")] != [
            ("sign" if not word.isalpha() else "word", word) for word in words
        ]:
            return False
        self._at += len(words)
        return True

    def _need(self, word: str) -> None:
        if not self._take(word):
            self._refuse(f"expected {word!r} before {self._peek()[1]!r}")

    def _either(self) -> Any:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            self._refuse("it is nested too deep")
        found = self._both()
        while self._take("or"):
            found = found | self._both()
        self._depth -= 1
        return found

    def _both(self) -> Any:
        found = self._negated()
        while self._take("and"):
            found = found & self._negated()
        return found

    def _negated(self) -> Any:
        turned = False
        while self._take("not"):
            turned = not turned
        found = self._comparison()
        return ~found if turned else found

    def _comparison(self) -> Any:
        left = self._sum()
        kind, sign = self._peek()
        if kind == "sign" and sign in _COMPARE:
            self._at += 1
            return _COMPARE[sign](left, self._sum())
        if self._take("is", "not", "null"):
            return left.is_valid()
        if self._take("is", "null"):
            return ~left.is_valid()
        if self._take("not", "in"):
            return left.is_valid() & ~self._among(left)
        if self._take("in"):
            return self._among(left)
        for words, function in (
            (("contains",), pc.match_substring),
            (("starts", "with"), pc.starts_with),
            (("ends", "with"), pc.ends_with),
        ):
            if self._take(*words):
                return function(left, self._text_literal())
        return left

    def _among(self, left: Any) -> Any:
        self._need("(")
        values = [self._literal()]
        while self._take(","):
            values.append(self._literal())
        self._need(")")
        try:
            return left.isin(pa.array(values, _LARGE if isinstance(values[0], Decimal) else None))
        except (pa.ArrowInvalid, pa.ArrowTypeError):
            self._refuse("the values after in are of several types")

    def _sum(self) -> Any:
        found = self._product()
        while True:
            if self._take("+"):
                found = found + self._product()
            elif self._take("-"):
                found = found - self._product()
            else:
                return found

    def _product(self) -> Any:
        found = self._value()
        while True:
            if self._take("*"):
                found = found * self._value()
            elif self._take("/"):
                # Not the operator: that refuses the whole table for one zero.
                found = pc.divide(found.cast(pa.float64()), self._value().cast(pa.float64()))
            else:
                return found

    def _value(self) -> Any:
        if self._take("-"):
            return pc.negate(self._value())
        if self._take("("):
            found = self._either()
            self._need(")")
            return found
        kind, word = self._peek()
        if kind == "name":
            self._at += 1
            return self._call(word) if self._take("(") else self._column(word)
        value = self._literal()
        return pc.scalar(pa.scalar(value, _LARGE) if isinstance(value, Decimal) else value)

    def _call(self, name: str) -> Any:
        if name not in _FUNCTIONS:
            self._refuse(f"no function {name}; there are {', '.join(_FUNCTIONS)}")
        wanted, function = _FUNCTIONS[name]
        values = [self._sum()]
        while self._take(","):
            values.append(self._sum())
        self._need(")")
        if len(values) != wanted:
            self._refuse(f"{name} takes {wanted} value{'s' if wanted > 1 else ''}")
        found = function(*values)
        return found.cast(_LARGE) if self._is_large and name in ("length", "count") else found

    def _column(self, name: str) -> Any:
        if name not in self._schema.names:
            near = difflib.get_close_matches(name, self._schema.names, 1)
            hint = f"; did you mean {near[0]}?" if near else f"; there are {', '.join(self._schema.names)}"
            raise ConfigError(f"--where {self._text!r}: no column {name}{hint}")
        if name not in self.columns:
            self.columns.append(name)
        column = pc.field(name)
        return column.cast(_LARGE) if self._is_large and pa.types.is_integer(self._schema.field(name).type) else column

    def _literal(self) -> Any:
        minus = self._take("-")
        kind, word = self._peek()
        self._at += 1
        if kind == "number":
            value = float(word) if any(c in word for c in ".eE") else int(word)
            if isinstance(value, int) and value >= 1 << 64:
                self._refuse(f"{word} is too large")
            value = -value if minus else value
            return Decimal(value) if isinstance(value, int) and self._is_large else value
        if kind == "text" and not minus:
            return word
        if kind == "word" and word.lower() in ("true", "false") and not minus:
            return word.lower() == "true"
        return self._refuse(f"expected a value, found {word!r}")

    def _text_literal(self) -> str:
        value = self._literal()
        return value if isinstance(value, str) else self._refuse("expected text in quotes")


def columns_with(table: pa.Table, expression: Any) -> pa.ChunkedArray:
    """The value of `expression` for each row."""
    from pyarrow import acero

    plan = acero.Declaration.from_sequence(
        [
            acero.Declaration("table_source", acero.TableSourceNodeOptions(table)),
            acero.Declaration("project", acero.ProjectNodeOptions([expression], ["value"])),
        ]
    )
    return plan.to_table(use_threads=False).column("value")


def _is_large(kind: str, word: str) -> bool:
    return kind == "number" and word.isdigit() and int(word) >= 1 << 63


def _tokens(text: str) -> Sequence[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    at = 0
    stripped = text.rstrip()
    while at < len(stripped):
        match = _TOKEN.match(stripped, at)
        if match is None:
            raise ConfigError(
                f"--where {text!r}: cannot read {stripped[at : at + 20].strip()!r}; quote text with '...'"
            )
        at = match.end()
        kind = str(match.lastgroup)
        word = match[kind]
        if kind in ("single", "double"):
            kind = "text"
        elif kind == "name" and word.lower() in _WORDS:
            kind = "word"
        found.append((kind, word))
    return found
