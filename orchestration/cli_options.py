"""The options that commands share; nothing heavier than click is imported."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 110}


@dataclass
class Session:
    """What `main` must know after a command has failed."""

    debug: bool = False


def example(*lines: str) -> str:
    """The epilog of a command's help; \b keeps click from joining the lines."""
    return "\b\n" + "\n".join(("Example:" if len(lines) == 1 else "Examples:", *(f"  {line}" for line in lines)))


def _debug(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value:
        context.find_root().ensure_object(Session).debug = True


def debug_option(command: Command) -> Command:
    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=_debug, help="Show the traceback of an error."
    )(command)


def json_option(command: Command) -> Command:
    return click.option(
        "--json", "as_json", is_flag=True, help="Print one JSON value on stdout and nothing else there."
    )(command)


def _named(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not value.strip():
        raise click.BadParameter("is empty; name a folder, or leave the option out")
    return value


def root_option(command: Command) -> Command:
    return click.option(
        "--root",
        default="runs",
        show_default=True,
        metavar="FOLDER",
        callback=_named,
        help="Folder that holds every step's output.",
    )(command)


def recipe_options(command: Command) -> Command:
    """RECIPE, --set, --root, --json and --debug."""
    set_option = click.option(
        "--set",
        "sets",
        multiple=True,
        metavar="KEY=VALUE",
        help="Change one value of the recipe, written as YAML; may be given often.",
    )
    argument = click.argument("recipe")
    return argument(set_option(root_option(json_option(debug_option(command)))))


def _web_address(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if not value.startswith(("http://", "https://")):
        raise click.BadParameter(f"{value!r} is no web address; write it like http://head:8265")
    return value


def address_option(command: Command) -> Command:
    return click.option(
        "--address",
        envvar="RAY_API_SERVER_ADDRESS",
        required=True,
        metavar="URL",
        callback=_web_address,
        show_envvar=True,
        help="The cluster's dashboard, such as http://head:8265.",
    )(command)
