"""The command `openwit compare`: are two evaluated models different, and on which pictures?"""

import click

from orchestration.cli_options import debug_option, example, json_option


@click.command(
    epilog=example(
        "openwit compare runs/runs/demo-20250101-120000-1a2b runs/runs/demo-20250102-120000-3c4d",
        "openwit compare runs/evaluate-0123456789ab runs/evaluate-ba9876543210 --html difference.html",
        "openwit compare runs/evaluate-0123456789ab --published 'ViT-B-32 openai'",
    )
)
@click.argument("first", metavar="RUN")
@click.argument("second", metavar="[RUN]", required=False)
@click.option("--html", metavar="FILE", help="Write a page with the flipped pictures.")
@click.option("--datasets", metavar="FOLDER", help="Where downloaded benchmarks lie, to draw their pictures.")
@click.option(
    "--published", metavar="MODEL", help="Instead of a run: the figures published of a model, by open_clip's name."
)
@json_option
@debug_option
def compare(
    first: str, second: str | None, html: str | None, datasets: str | None, published: str | None, as_json: bool
) -> None:
    """Tell whether two runs differ, picture by picture.

    RUN is a run's folder, or that of its evaluation. Both must have answered the same pictures. With --published, one run is
    set beside published scores.

    A difference is called one where its p-value, corrected by Holm over the tasks, is below 0.05. It then holds for other test
    pictures of the same kind, of few-shot also for other draws of the pictures learned from; one draw gets no verdict.
    """
    if (second is None) == (published is None):
        raise click.UsageError("give two runs, or one run and --published MODEL")
    from orchestration import show

    with show.stdout_kept_clean(as_json):
        from orchestration import comparing

        if published is not None:
            entries = comparing.compare_published(first, published)
        else:
            assert second is not None
            found = comparing.compare_runs(first, second)
            if html:
                comparing.write_page(html, first, second, found, datasets)
    if published is not None:
        show.print_json(entries) if as_json else comparing.print_ledger(entries)
    elif as_json:
        show.print_json(found.comparison)
    else:
        comparing.print_comparison(found, html)
