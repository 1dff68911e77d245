"""Fetch: download the selected pictures and make them training pictures. One work item is some hundred URLs.

The network is guarded (pipeline/network.py), the bytes are opened in a limited child process (pipeline/picture.py). Whatever
the world does to a row is a counted reason with its evidence; retries and redirects are telemetry.
"""

import functools

from pydantic import Field

from pipeline import storage
from pipeline.batch import Batch
from pipeline.engines import pictures
from pipeline.errors import DataError
from pipeline.executor import Executor
from pipeline.ledger import Output, PhaseResult, Progress, WorkItem, run_items, silent
from pipeline.network import NetworkConfig, fetch_all
from pipeline.picture_config import IMAGE_COLUMNS, PictureConfig


class FetchConfig(PictureConfig):
    """How pictures are downloaded, and which are kept in which form."""

    rows_per_item: int = Field(256, ge=1)
    """Rows of one work item: what a killed run does again at most, per worker."""


PASSING = ("connection_failed", "name_not_resolved", "timeout", "http_error")
"""Reasons that trying again later can mend."""


def fetch(
    config: FetchConfig,
    network: NetworkConfig,
    selected: PhaseResult,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
) -> PhaseResult:
    """Download, check and resize the pictures of the selected pairs. Raises DataError when the whole site is down."""
    items = []
    for number, file in enumerate(selected.kept):
        path = storage.join(selected.folder, file.path)
        for start in range(0, file.rows, config.rows_per_item):
            stop = min(start + config.rows_per_item, file.rows)
            items.append(WorkItem(f"fetch-{number:05d}-{start:09d}", [file.sha256, start, stop], (path, start, stop)))
    records = run_items(folder, functools.partial(_fetch, config, network), items, executor, progress, "pictures")
    result = PhaseResult.of_records("fetch", folder, records)
    fate = result.fates["pairs"]
    if fate.rows_in and not fate.kept and set(fate.reasons) <= set(PASSING):
        storage.remove_tree(folder)  # a site that is down is no fate of its pictures: forget the attempt
        raise DataError(f"no picture could be downloaded: {dict(fate.reasons)}; is the site up? run again when it is")
    result.save()
    return result


def _fetch(config: FetchConfig, network: NetworkConfig, part: tuple[str, int, int]) -> Output:
    path, start, stop = part
    # By URL, so that rows of the same picture meet in one item and it is downloaded once.
    rows = storage.read_table(path).sort_by([("url", "ascending"), ("uid", "ascending")]).slice(start, stop - start)
    urls = rows.column("url").to_pylist()
    answers = fetch_all(network, urls)
    facts = pictures(config, answers, rows.column("text").to_pylist())
    batch = Batch.of(rows)
    for name, kind in IMAGE_COLUMNS:
        batch = batch.with_column(name, [fact.get(name) for fact in facts], kind)
    batch = batch.drop([fact.get("reason") for fact in facts], [fact.get("evidence") for fact in facts])
    telemetry = {
        "retried": sum(1 for answer in answers if answer.reason is None and answer.attempts > 1),
        "redirected": sum(1 for answer in answers if answer.reason is None and answer.redirects),
        "bytes_downloaded": sum(len(answer.body) for answer in dict(zip(urls, answers, strict=True)).values()),
    }
    return Output.of_batch(rows.num_rows, batch, telemetry=telemetry)
