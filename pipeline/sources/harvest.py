"""One door to all sources: the config says which kind, the result is a phase called by the source's name."""

from collections.abc import Mapping, Sequence

from pipeline.execution.executor import Executor
from pipeline.execution.ledger import PhaseResult
from pipeline.execution.progress import Progress, silent
from pipeline.sources.config import (
    FilesSource,
    FolderSource,
    ShardsSource,
    SiteSource,
    Source,
    TableSource,
    WarcSource,
    WatSource,
)
from pipeline.sources.inputs import expanded, fingerprint, matching
from pipeline.web.web_config import NetworkConfig

MODULES = {kind: f"pipeline.sources.{kind}" for kind in ("site", "wat", "warc", "table", "folder", "shards")}
"""Where the code of each kind begins."""


def harvest(
    name: str,
    config: Source,
    network: NetworkConfig,
    folder: str,
    executor: Executor,
    progress: Progress = silent,
) -> PhaseResult:
    """Candidate rows of one source, written below `folder`.

    Raises ConfigError where the recipe names what is not there, DataError where it cannot be read.
    """
    # Each kind is imported where it is needed: a plan needs none of them.
    if isinstance(config, SiteSource):
        from pipeline.sources.site import crawl

        return crawl(config, network, folder, executor, progress, name)
    if isinstance(config, WatSource):
        from pipeline.sources.wat import harvest_wat

        return harvest_wat(name, config, network, folder, executor, progress)
    if isinstance(config, WarcSource):
        from pipeline.sources.warc import harvest_warc

        return harvest_warc(name, config, network, folder, executor, progress)
    if isinstance(config, TableSource):
        from pipeline.sources.table import harvest_table

        return harvest_table(name, config, folder, executor, progress, network)
    if isinstance(config, FolderSource):
        from pipeline.sources.folder import harvest_folder

        return harvest_folder(name, config, folder, executor, progress)
    from pipeline.sources.shards import harvest_shards

    return harvest_shards(name, config, folder, executor, progress)


def seen_now(name: str, config: Source, network: NetworkConfig | None = None) -> dict[str, str]:
    """What a finished step has to be compared with besides its config: {"input": hash of names, sizes and times}.

    Raises ConfigError where the input is not there. Of the result's id this is no part.
    """
    key = f"curate.sources.{name}"
    if isinstance(config, FilesSource):
        paths: Sequence[str] = expanded(config, key, network)
        index = getattr(config, "index", None) or ()
        return {"input": fingerprint([*paths, *(path for each in index for path in matching(each, key, network))], key)}
    if isinstance(config, FolderSource | ShardsSource):
        from pipeline.sources.folder import below_with_marks

        return {"input": below_with_marks(config.path, f"{key}.path")}
    return {}


def roots(sources: Mapping[str, Source], results: Mapping[str, PhaseResult]) -> dict[str, str]:
    """Source name -> the fsspec folder that its rows' `location` is below of; sources of the web have none."""
    found: dict[str, str] = {}
    for name, config in sorted(sources.items()):
        if isinstance(config, FolderSource | ShardsSource):
            found[name] = results[name].folder if results[name].extra.get("root") == "own" else config.path
    return found
