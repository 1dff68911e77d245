"""The commands that work on a finished dataset: subset, reshard, takedown, recheck, why, adopt, card."""

from typing import Any

import click

from orchestration.cli_options import debug_option, example, json_option

DATASET = "runs/pack-0123456789ab"

dataset_argument = click.argument("dataset")
out_option = click.option("--out", metavar="FOLDER", help="Folder of the new dataset; default: beside the old one.")
shard_size_option = click.option(
    "--samples-per-shard", type=click.IntRange(1), default=10_000, show_default=True, help="Samples in one shard."
)
output_option = click.option(
    "--output",
    type=click.Choice(["webdataset", "parquet"]),
    default="webdataset",
    show_default=True,
    help="Tars with an index, or Parquet with the pictures' bytes.",
)


def _show(name: str, as_json: bool, *arguments: Any) -> None:
    """Do `dataset_work.<name>(*arguments)` and print what it found."""
    from orchestration import show
    from orchestration.progress import progress_shown

    with show.stdout_kept_clean(as_json), progress_shown(silent=as_json) as progress:
        from orchestration import dataset_work

        found = getattr(dataset_work, name)(*arguments, progress)
    if as_json:
        show.print_json(found)
    else:
        from orchestration import show_dataset

        getattr(show_dataset, name)(found)


@click.command(
    epilog=example(
        f"openwit subset {DATASET} --where 'width >= 200 and count(queries) > 1' --out large.npy",
        f"openwit subset {DATASET} --top score_clip_similarity:0.3 --within large.npy --out best.npy",
    )
)
@dataset_argument
@click.option("--where", metavar="CONDITION", help="Condition on the index's columns, as in: score_a > 0.28 and ...")
@click.option("--top", metavar="COLUMN:FRACTION", help="The best part by a column, 0.3 for 30 % of the dataset.")
@click.option("--within", metavar="FILE", help="Only samples that this subset file names, by uid or source_uid.")
@click.option("--out", required=True, metavar="FILE", help="Subset file (.npy) to write.")
@json_option
@debug_option
def subset(dataset: str, where: str | None, top: str | None, within: str | None, out: str, as_json: bool) -> None:
    """Choose samples by a condition, as a file of uids in DataComp's form."""
    _show("subset", as_json, dataset, where, top, within, out)


@click.command(
    epilog=example(
        f"openwit reshard {DATASET} --subset best.npy --out best",
        f"openwit reshard {DATASET} --out as-parquet --output parquet",
    )
)
@dataset_argument
@click.option(
    "--subset",
    "subset_file",
    metavar="FILE",
    help="Subset file (.npy), by uid, else source_uid; default: all samples.",
)
@click.option("--out", required=True, metavar="FOLDER", help="Folder of the new dataset.")
@shard_size_option
@output_option
@click.option("--allow-missing", is_flag=True, help="Go on where uids of the subset are not in the dataset.")
@json_option
@debug_option
def reshard(
    dataset: str,
    subset_file: str | None,
    out: str,
    samples_per_shard: int,
    output: str,
    allow_missing: bool,
    as_json: bool,
) -> None:
    """Make a dataset of the samples that a subset file names."""
    _show("reshard", as_json, dataset, subset_file, out, samples_per_shard, output, allow_missing)


@click.command(
    epilog=example(
        f"openwit takedown {DATASET} --domains removed-sites.txt",
        f"openwit takedown {DATASET} --urls urls.txt --hashes sha256.txt --out runs/cleaned",
    )
)
@dataset_argument
@click.option("--urls", metavar="FILE", help="URLs of pictures or pages, one per line.")
@click.option("--domains", metavar="FILE", help="Domains, one per line; what is below them goes too.")
@click.option("--hashes", metavar="FILE", help="SHA-256 of downloaded pictures, or uids, one per line.")
@click.option("--rules", metavar="FILE", help="Mixed lines: url X, domain X, sha256 X, uid X (a tombstones.txt).")
@out_option
@json_option
@debug_option
def takedown(
    dataset: str,
    urls: str | None,
    domains: str | None,
    hashes: str | None,
    rules: str | None,
    out: str | None,
    as_json: bool,
) -> None:
    """Make a dataset without the samples that lists name, and a diff.

    The dataset itself stays as it is; shards that lose nothing are linked.
    """
    _show("takedown", as_json, dataset, {"url": urls, "domain": domains, "hash": hashes, "": rules}, out)


@click.command(
    epilog=example(
        f"openwit recheck {DATASET} --recipe my.yaml",
        f"openwit recheck {DATASET} --recipe my.yaml --set curate.network.concurrency=8 --pages --apply",
        f"openwit recheck {DATASET} --since runs/recheck-0123 --per-host 1000",
    )
)
@dataset_argument
@click.option("--recipe", metavar="RECIPE", help="Recipe whose curate.network is used; default: the dataset's own.")
@click.option("--set", "sets", multiple=True, metavar="KEY=VALUE", help="Change one value of that recipe.")
@click.option("--pages", is_flag=True, help="Read the pages too, for their robots meta tags.")
@click.option("--out", metavar="FOLDER", help="Where the answers are kept; default: beside the dataset, by date.")
@click.option("--apply", "apply_now", is_flag=True, help="Make a dataset without what has opted out.")
@click.option(
    "--since", metavar="FOLDER", help="An earlier recheck's answers: what is unchanged since is not sent again."
)
@click.option(
    "--per-host",
    "requests_per_host",
    type=click.IntRange(min=1),
    metavar="N",
    help="Ask a host for N URLs at most, those first that were asked longest ago; its robots.txt is applied to all.",
)
@json_option
@debug_option
def recheck(
    dataset: str,
    recipe: str | None,
    sets: tuple[str, ...],
    pages: bool,
    out: str | None,
    apply_now: bool,
    since: str | None,
    requests_per_host: int | None,
    as_json: bool,
) -> None:
    """Ask the owners of a dataset's pictures again whether they opt out.

    robots.txt, X-Robots-Tag and TDM reservation of every picture; started again on the same day it goes on.
    """
    _show("recheck", as_json, dataset, recipe, sets, pages, out, apply_now, since, requests_per_host)


@click.command(
    epilog=example(
        f"openwit why {DATASET} 000000012",
        f"openwit why {DATASET} http://scenes.openwit.example/picture.jpg --json",
    )
)
@dataset_argument
@click.argument("what", metavar="KEY|UID|URL")
@json_option
@debug_option
def why(dataset: str, what: str, as_json: bool) -> None:
    """Tell where a sample came from, and why it is or is not there."""
    _show("why", as_json, dataset, what)


@click.command(epilog=example("openwit adopt /data/cc3m"))
@click.argument("folder")
@json_option
@debug_option
def adopt(folder: str, as_json: bool) -> None:
    """Make a dataset of a folder of WebDataset tars.

    Shards of img2dataset, DataComp or webdataset stay as they are; index/ and manifest.json are written beside them.
    """
    _show("adopt", as_json, folder)


@click.command(epilog=example(f"openwit card {DATASET}"))
@dataset_argument
@json_option
@debug_option
def card(dataset: str, as_json: bool) -> None:
    """Write a dataset's data card: data_card.md and data_card.html."""
    _show("card", as_json, dataset)


dataset_commands = (subset, reshard, takedown, recheck, why, adopt, card)
