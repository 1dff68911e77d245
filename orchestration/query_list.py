"""From the options of `openwit queries` to a query list: names joined, mistakes told in one line."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from pipeline.errors import ConfigError
from pipeline.execution.executor import InProcess
from pipeline.execution.progress import Progress
from pipeline.matching.query_list import QueryListConfig, build_query_list

FIELDS = {
    "words": "word_lists",
    "corpus": "corpora",
    "bigrams": "maximum_bigrams",
    "maximum": "maximum_entries",
}
"""Options whose field has another name."""


def make_query_list(folder: str, options: Mapping[str, Any], progress: Progress) -> dict[str, Any]:
    """Build the list in `folder`; returns where it is and what is in it. Raises ConfigError or DataError."""
    values = {FIELDS.get(name, name): value for name, value in options.items()}
    values["numbers"] = not values.pop("no_numbers")
    try:
        config = QueryListConfig(**values)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        name = str(first["loc"][0])
        option = next((given for given, field in FIELDS.items() if field == name), name).replace("_", "-")
        raise ConfigError(f"--{option} {first['input']!r}: {first['msg'].lower()}") from None
    return {"list": f"{folder.rstrip('/')}/queries.txt", **build_query_list(config, folder, InProcess(), progress)}
