"""The command `openwit compare`: are two evaluated models different, and on which pictures?"""

import click

from orchestration.cli_options import debug_option, example, json_option


@click.command(
    epilog=example(
        "openwit compare runs/runs/demo-20250101-120000-1a2b runs/runs/demo-20250102-120000-3c4d",
        "openwit compare runs/evaluate-0123456789ab runs/evaluate-ba9876543210 --html difference.html",
    )
)
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="RUN")
@click.option("--html", metavar="FILE", help="Write a page with the flipped pictures.")
@json_option
@debug_option
def compare(first: str, second: str, html: str | None, as_json: bool) -> None:
    """Compare two runs' scores, picture by picture.

    RUN is a run's folder, or that of its evaluation. Both must have answered the same pictures.

    A difference is called one where its p-value, corrected by Holm over the tasks, is below 0.05.
    """
    from orchestration import show

    with show.stdout_kept_clean(as_json):
        from orchestration import comparing

        found = comparing.compare_runs(first, second)
        if html:
            comparing.write_page(html, first, second, found)
    if as_json:
        show.print_json(found.comparison)
    else:
        comparing.print_comparison(found, html)
