"""The steps of curation: one per source, then the phases of pipeline/, each with what its result depends on.

    web -> sources -> select -> fetch -> [score] -> deduplicate -> decontaminate -> pack
             references -------------------------------------------^

A step's configuration holds what was asked; files that a recipe names count by their content, never by their place.
"""

from collections.abc import Mapping
from typing import Any

from orchestration.advice import ENOUGH, advice_for
from orchestration.progress import say
from orchestration.recipe import Recipe
from orchestration.reference_step import carry_identities, given_evaluation_sets, reference_step
from orchestration.step import Context, Made, Step
from pipeline import storage
from pipeline.code_version import code_version
from pipeline.config import CurateConfig
from pipeline.errors import ConfigError, DataError
from pipeline.execution.ledger import PhaseResult
from pipeline.manifest import Manifest

PHASES = ("select", "fetch", "deduplicate", "decontaminate")
"""What follows the sources."""

MODULES = {
    "select": "pipeline.selection.select",
    "fetch": "pipeline.fetching.fetch",
    "score": "pipeline.scoring.score",
    "deduplicate": "pipeline.duplicates.deduplicate",
    "decontaminate": "pipeline.overlap.decontaminate",
    "pack": "pipeline.datasets.pack",
}
"""Where the code of each phase is: its version is part of what the phase's result depends on."""


def curation_steps(recipe: Recipe, curate: CurateConfig, shown: Mapping[str, Any]) -> list[Step]:
    """The steps of section `curate`, `shown` without what came from the environment. Raises ConfigError for a missing file."""
    steps: list[Step] = []
    from_web: tuple[str, ...] = ()
    if recipe.web:
        steps.append(_web(recipe, shown["web"]))
        from_web = ("web",)
    given = given_evaluation_sets(recipe, curate)
    references = reference_step(recipe, curate, given)
    from_references = ("references",) if references else ()
    steps += [references] if references else []
    network, section = curate.network.identity(), {**shown["curate"], "deduplicate": _deduplicate_identity(curate)}
    # The sets' content, not the folders they lie in.
    section["decontaminate"] = {**section["decontaminate"], "against": [[one.name, one.identity] for one in given]}
    names = tuple(sorted(curate.sources))
    steps += [_source(curate, name, section["sources"][name], network, from_web) for name in names]
    named = network | {"contact": curate.network.contact}  # for a recheck: no result depends on it
    section = {**section, "network": named, "sources": _without_places(curate, section["sources"])}
    phases: tuple[str, ...] = PHASES
    pictures, scoring = "fetch", list[Step]()
    if curate.score:
        from orchestration.scorers import score_step

        pictures, scoring = "score", [score_step(curate, "fetch")]
        phases = tuple(each for name in PHASES for each in ((name, "score") if name == "fetch" else (name,)))
        section = {**section, "score": scoring[0].config}
    files = _files(curate)
    kept_out = {"exclude": files["exclude"]} if "exclude" in files else {}
    steps += [
        Step("select", {**section["select"], "files": files}, MODULES["select"], (*names, *from_web),
             _select(curate, bool(recipe.web)), "text rules, query matching, balance"),
        Step("fetch", {**section["fetch"], "network": network, **kept_out}, MODULES["fetch"],
             ("select", *_lying(curate), *from_web), _fetch(curate), "downloads, checks and resizes pictures"),
        *scoring,
        Step("deduplicate", section["deduplicate"], MODULES["deduplicate"], (pictures,), _deduplicate(curate, pictures),
             "one pair of each set of equal or near-equal pictures"),
        Step("decontaminate", section["decontaminate"], MODULES["decontaminate"], ("deduplicate", *from_references),
             _decontaminate(curate, bool(from_references)), "takes out what is near an evaluation picture"),
        Step("pack", section["pack"], MODULES["pack"], (*names, *phases), _pack(curate, _content(section, files), phases),
             "writes shards and the manifest"),
    ]  # fmt: skip
    return steps


def _content(section: Mapping[str, Any], files: Mapping[str, str]) -> dict[str, Any]:
    """What a dataset's content depends on, for its manifest: how fast it was made is none of it, and of the files that its
    selection was told of (`files`) the hashes are, the paths not."""
    content = {name: value for name, value in section.items() if name not in ("cpus_per_item", "workers")}
    select = {**content["select"], "exclude": files.get("exclude")}
    for part, key in (("queries", "path"), ("balance", "counts")):
        select[part] = {**select[part], key: files.get(f"{part}.{key}")}
    return content | {"select": select}


def _files(curate: CurateConfig) -> dict[str, str]:
    """SHA-256 of the files that the selection reads, by key, so that a changed file is other work."""
    select = curate.select
    found = {}
    for key, path, what in (
        ("queries.path", select.queries.path, "a text file with one query per line"),
        ("balance.counts", select.balance.counts, "the queries.parquet of an earlier selection"),
        ("exclude", select.exclude, "a text file with one rule per line"),
    ):
        if path and not storage.exists(path):
            raise ConfigError(f"curate.select.{key}: {path!r} does not exist; give {what}")
        if path:
            found[key] = storage.sha256_file(path)
    return found


def _deduplicate_identity(curate: CurateConfig) -> dict[str, Any]:
    """What deduplication's result depends on: the id of the other dataset, not the folder it lies in."""
    against = curate.deduplicate.against
    return {**curate.deduplicate.identity(), "against": Manifest.load(against).id if against else None}


def _web(recipe: Recipe, config: Mapping[str, Any]) -> Step:
    def work(context: Context, folder: str) -> Made:
        from pipeline.demo.site import build_site

        assert recipe.web is not None
        build_site(recipe.web, folder, context.progress)
        site = storage.read_json(storage.join(folder, "site.json"))
        identity = storage.sha256(storage.read_bytes(storage.join(folder, "site.json")))
        return Made(identity, {"pages": site["pages"], "pictures": site["pictures"]})

    return Step("web", config, "pipeline.demo.site", (), work, "draws the demo web")


def _phase(result: PhaseResult) -> Made:
    """The step's facts. Raises DataError where a phase has dropped every pair: nothing behind it could help."""
    pairs = result.fates["pairs"]
    if pairs.rows_in and not pairs.kept:
        many = {reason: ENOUGH * count for reason, count in pairs.reasons.items()}  # few rows are enough where all fell
        said = advice_for(result.name, ENOUGH * pairs.rows_in, many)
        helps = said[0].partition("; ")[2] if said else f"widen curate.{result.name}"
        raise DataError(f"{result.name}: not one of {pairs.rows_in:,} pairs is left ({dict(pairs.reasons)}); {helps}")
    counts = {
        f"{unit}_{what}": n for unit, f in result.fates.items() for what, n in (("in", f.rows_in), ("kept", f.kept))
    }
    return Made(result.id, {**counts, "reasons": {unit: dict(fate.reasons) for unit, fate in result.fates.items()}})


def _network(curate: CurateConfig, context: Context) -> Any:
    """The recipe's network, with the demo web's names pointing to where it is served now."""
    return curate.network.model_copy(update={"hosts": {**curate.network.hosts, **context.hosts()}})


def _load(context: Context, name: str) -> PhaseResult:
    return PhaseResult.load(context.records[name].path)


def _source(
    curate: CurateConfig, name: str, shown: Mapping[str, Any], network: Mapping[str, Any], from_web: tuple[str, ...]
) -> Step:
    from pipeline.sources.harvest import MODULES as SOURCE_MODULES
    from pipeline.sources.harvest import seen_now

    source = curate.sources[name]
    is_site = source.kind == "site"
    reads = {"network": network} if source.kind in ("site", "wat", "warc") else {}

    def work(context: Context, folder: str) -> Made:
        from pipeline.sources.harvest import harvest

        guarded = _network(curate, context) if is_site else curate.network
        result = harvest(name, source, guarded, folder, context.executor(), context.progress)
        if not result.fates["pairs"].kept:
            first = _first_evidence(result)
            storage.remove_tree(folder)  # so that pages that are mended are read again
            told = {unit: dict(fate.reasons) for unit, fate in result.fates.items() if fate.reasons}
            what = (
                f"no picture on the {result.fates['pages'].kept:,} pages that could be read" if is_site else "no pair"
            )
            why = f"dropped: {told}{first}" if told else "its input is empty"
            raise DataError(f"{name}: {what} ({why}); correct curate.sources.{name}, or its input, and run again")
        return _phase(result)

    config = {**shown, **reads, **seen_now(name, source, curate.network)}
    about = "reads pages, keeps image-text pairs" if is_site else f"reads image-text pairs ({source.kind})"
    return Step(name, config, SOURCE_MODULES[source.kind], from_web if is_site else (), work, about)


def _first_evidence(result: PhaseResult) -> str:
    """What was seen where the first row fell: all rows of a table that is no table fall for the same."""
    for file in result.dropped:
        rows = storage.read_table(storage.join(result.folder, file.path), ["evidence"]).column("evidence").drop_null()
        if len(rows):
            return f", the first: {rows[0].as_py()[:200]}"
    return ""


def _without_places(curate: CurateConfig, shown: Mapping[str, Any]) -> dict[str, Any]:
    """The sources as a manifest tells of them: what was asked, not where the input lay."""
    return {
        name: {key: value for key, value in shown[name].items() if key not in source.PLACES}
        for name, source in sorted(curate.sources.items())
    }


def _lying(curate: CurateConfig) -> tuple[str, ...]:
    """Sources whose pictures are on storage: a fetch reads them there."""
    return tuple(name for name, source in sorted(curate.sources.items()) if source.kind in ("folder", "shards"))


def _sources(curate: CurateConfig, context: Context) -> dict[str, PhaseResult]:
    return {name: _load(context, name) for name in sorted(curate.sources)}


def _select(curate: CurateConfig, from_web: bool) -> Any:
    def work(context: Context, folder: str) -> Made:
        from pipeline.selection.select import select

        config = curate.select
        if from_web and config.queries.path is None:
            path = storage.join(context.records["web"].path, "queries.txt")
            config = config.model_copy(update={"queries": config.queries.model_copy(update={"path": path})})
        candidates = list(_sources(curate, context).values())
        return _phase(select(config, candidates, folder, context.executor(), context.progress))

    return work


def _fetch(curate: CurateConfig) -> Any:
    def work(context: Context, folder: str) -> Made:
        from pipeline.fetching.fetch import fetch, store_name
        from pipeline.sources.harvest import roots
        from pipeline.sources.turns import all_files

        selected, network = _load(context, "select"), _network(curate, context)
        # Beside the step, so that another selection downloads only what is new to it.
        name = store_name(curate.fetch, network, code_version("pipeline.fetching.decoding"))
        store = storage.join(folder.rstrip("/").rpartition("/")[0], name)
        sources = _sources(curate, context)
        crawls = [sources[name].folder for name, source in sorted(curate.sources.items()) if source.kind == "site"]
        executor, progress = context.executor(), context.progress
        return _phase(
            fetch(
                curate.fetch,
                network,
                selected,
                folder,
                executor,
                progress,
                store=store,
                roots=roots(curate.sources, sources),
                exclude=curate.select.exclude,
                sites=[files for crawl in crawls for files in all_files(crawl)],
            )
        )

    return work


def _deduplicate(curate: CurateConfig, source: str) -> Any:
    def work(context: Context, folder: str) -> Made:
        from pipeline.duplicates.deduplicate import deduplicate

        fetched = _load(context, source)
        return _phase(deduplicate(curate.deduplicate, fetched, folder, context.executor(), context.progress))

    return work


def _decontaminate(curate: CurateConfig, with_references: bool) -> Any:
    def work(context: Context, folder: str) -> Made:
        from orchestration import overlap_view
        from pipeline.overlap.decontaminate import decontaminate

        references = context.records["references"].path if with_references else None
        rows = _load(context, "deduplicate")
        made = decontaminate(curate.decontaminate, rows, references, folder, context.executor(), context.progress)
        for line in overlap_view.low(overlap_view.measured(folder)):
            say(context.progress, line)
        return _phase(made)

    return work


def _pack(curate: CurateConfig, config: Mapping[str, Any], names: tuple[str, ...]) -> Any:
    def work(context: Context, folder: str) -> Made:
        from orchestration import data_card
        from pipeline.datasets.pack import pack
        from pipeline.overlap.overlap_lists import carry
        from pipeline.sources.harvest import MODULES as SOURCE_MODULES

        carry(context.records["decontaminate"].path, folder)
        if "references" in context.records:
            carry_identities(context.records["references"].path, folder)
        sources = list(_sources(curate, context).values())
        phases = [_load(context, name) for name in names]
        modules = [SOURCE_MODULES[kind] for kind in sorted({source.kind for source in curate.sources.values()})]
        modules += [MODULES[name] for name in (*names, "pack")]
        version = storage.sha256("".join(map(code_version, modules)).encode())[:16]
        manifest = pack(curate.pack, phases, config, version, folder, context.executor(), context.progress, sources)
        data_card.write(folder)
        return Made(manifest.id, {"rows": manifest.rows, "bytes": manifest.bytes, "shards": len(manifest.shards)})

    return work
