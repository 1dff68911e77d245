"""The environment in which report and data card become HTML: everything is escaped, a name that is missing is an error."""

from pathlib import Path
from typing import TYPE_CHECKING

from orchestration.visible import visible

if TYPE_CHECKING:
    from jinja2 import Environment

TEMPLATES = Path(__file__).parent / "templates"


def templates() -> "Environment":
    """jinja2's environment with this folder's templates and the filter `visible`."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["visible"] = visible
    return environment
