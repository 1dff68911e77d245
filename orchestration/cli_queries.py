"""The command `openwit queries`: make a query list for the WIT rule from word lists, text and page views."""

from typing import Any

import click

from orchestration.cli_options import debug_option, example, json_option


def _files(name: str, text: str) -> Any:
    return click.option(f"--{name}", multiple=True, metavar="FILE", help=text)


@click.command(
    epilog=example(
        "openwit queries lists/mine --words wordnet.txt --corpus texts.jsonl.gz --minimum-count 20",
        "openwit queries lists/en --words wordnet.txt --corpus enwiki-pages-articles.xml.bz2 --views pageviews.gz",
        "openwit curate my.yaml --set curate.select.queries.path=lists/mine/queries.txt",
    )
)
@click.argument("folder")
@_files("words", "Word list, or WordNet's synsets; may be given often.")
@_files("corpus", "Text to count: lines, JSON lines, Parquet, MediaWiki dump; .gz, .bz2, .xz.")
@_files("titles", "One title a line, beside those of the dumps.")
@_files("views", "Page views: Wikimedia's hourly files, or title, tab, views.")
@click.option("--minimum-count", type=click.IntRange(1), default=100, show_default=True, help="Of a word.")
@click.option("--bigrams", type=click.IntRange(0), default=100_646, show_default=True, help="Most bigrams, best first.")
@click.option("--minimum-bigram-count", type=click.IntRange(1), default=100, show_default=True, help="Of a bigram.")
@click.option("--minimum-pmi", type=float, default=0.0, show_default=True, help="Of a bigram, in bits (MetaCLIP: 30).")
@click.option("--minimum-views", type=click.IntRange(0), default=70, show_default=True, help="Of a title.")
@click.option("--maximum", type=click.IntRange(1), default=500_000, show_default=True, help="Entries of the list.")
@click.option("--language", default="en", show_default=True, help="Of the page views that count.")
@click.option("--first-form-only", is_flag=True, help="Take the first word of each synset alone.")
@click.option("--no-numbers", is_flag=True, help="Leave out 0 to 99.")
@json_option
@debug_option
def queries(folder: str, as_json: bool, **given: Any) -> None:
    """Make a query list from word lists, text and page views.

    FOLDER/queries.txt holds it, FOLDER/queries.parquet the source and count of each entry.

    The same files give the same list. A command that was stopped goes on where it ended.
    """
    from orchestration import show
    from orchestration.progress import progress_shown
    from orchestration.query_list import make_query_list

    with show.stdout_kept_clean(as_json), progress_shown(silent=as_json) as progress:
        made = make_query_list(folder, given, progress)
    if as_json:
        show.print_json(made)
    else:
        show.facts(show.plain(made))
