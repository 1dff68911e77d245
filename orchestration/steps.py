"""The chain: which steps a recipe has, what each reads, and the call that does it.

    web -> crawl -> select -> fetch -> deduplicate -> decontaminate -> pack -> train -> evaluate -> report
           references --------------------------------^

A recipe may stand in for the left part with `data` (a finished dataset) or `checkpoint` (a finished model).
"""

from collections.abc import Mapping
from typing import Any

from orchestration.recipe import Recipe
from orchestration.step import Context, Made, Step
from pipeline import storage
from pipeline.code_version import code_version
from pipeline.config import CurateConfig
from pipeline.errors import ConfigError, DataError
from pipeline.ledger import PhaseResult
from pipeline.manifest import Manifest

PHASES = ("crawl", "select", "fetch", "deduplicate", "decontaminate")


def build_steps(recipe: Recipe) -> list[Step]:
    """The recipe's steps in order. Raises ConfigError when a part is missing that another needs."""
    shown = recipe.shown()  # what came from the environment is named there, never written out
    steps: list[Step] = []
    if recipe.curate:
        steps += _curation(recipe, recipe.curate, shown)
    elif recipe.data:
        steps.append(_given_data(recipe.data))
    if recipe.train:
        steps.append(_train(recipe, shown["train"], "pack" if recipe.curate else "data"))
    elif recipe.checkpoint:
        steps.append(_given_checkpoint(recipe.checkpoint))
    if recipe.evaluate:
        steps.append(_evaluate(recipe, shown["evaluate"], "train" if recipe.train else "checkpoint"))
    if not steps:
        raise ConfigError(f"recipe {recipe.name}: has nothing to do; give it a section curate, train or evaluate")
    return [*steps, _report(recipe, tuple(step.name for step in steps))]


def _curation(recipe: Recipe, curate: CurateConfig, shown: Mapping[str, Any]) -> list[Step]:
    steps: list[Step] = []
    from_web: tuple[str, ...] = ()
    if recipe.web:
        steps.append(_web(recipe, shown["web"]))
        from_web = ("web",)
    from_references: tuple[str, ...] = ()
    if recipe.evaluate:
        steps.append(_references(recipe))
        from_references = ("references",)
    network, section = curate.network.identity(), shown["curate"]
    steps += [
        Step("crawl", {**section["crawl"], "network": network}, "pipeline.crawl", from_web, _crawl(curate),
             "reads pages, keeps image-text pairs"),
        Step("select", {**section["select"], **_query_files(curate)}, "pipeline.select", ("crawl", *from_web),
             _select(curate, bool(recipe.web)), "text rules, query matching, balance"),
        Step("fetch", {**section["fetch"], "network": network}, "pipeline.fetch", ("select", *from_web), _fetch(curate),
             "downloads, checks and resizes pictures"),
        Step("deduplicate", section["deduplicate"], "pipeline.deduplicate", ("fetch",), _deduplicate(curate),
             "one pair of each set of equal or near-equal pictures"),
        Step("decontaminate", section["decontaminate"], "pipeline.decontaminate", ("deduplicate", *from_references),
             _decontaminate(curate, bool(from_references)), "takes out what is near an evaluation picture"),
        Step("pack", section["pack"], "pipeline.pack", PHASES, _pack(curate, {**section, "network": network}),
             "writes shards and the manifest"),
    ]  # fmt: skip
    return steps


def _query_files(curate: CurateConfig) -> dict[str, str]:
    """Checksums of the files that the selection reads, so that a changed file is other work."""
    files = {"query_list": curate.select.queries.path, "balance_counts": curate.select.balance.counts}
    return {
        f"{name}_sha256": storage.sha256_file(path) for name, path in files.items() if path and storage.exists(path)
    }


def _web(recipe: Recipe, config: Mapping[str, Any]) -> Step:
    def work(context: Context, folder: str) -> Made:
        from pipeline.demo.site import build_site

        assert recipe.web is not None
        build_site(recipe.web, folder, context.progress)
        site = storage.read_json(storage.join(folder, "site.json"))
        identity = storage.sha256(storage.read_bytes(storage.join(folder, "site.json")))
        return Made(identity, {"pages": site["pages"], "pictures": site["pictures"]})

    return Step("web", config, "pipeline.demo.site", (), work, "draws the demo web")


def _references(recipe: Recipe) -> Step:
    assert recipe.evaluate is not None
    tasks = list(recipe.evaluate.tasks)

    def work(context: Context, folder: str) -> Made:
        from evaluation.catalog import reference_pictures
        from pipeline.decontaminate import describe

        data = storage.table_bytes(describe(reference_pictures(tasks)))
        storage.write_bytes(storage.join(folder, "references.parquet"), data)
        return Made(storage.sha256(data), {"tasks": len(tasks)})

    return Step("references", {"tasks": tasks}, "evaluation.catalog", (), work, "describes the evaluation pictures")


def _phase(result: PhaseResult) -> Made:
    counts = {
        f"{unit}_{what}": n for unit, f in result.fates.items() for what, n in (("in", f.rows_in), ("kept", f.kept))
    }
    return Made(result.id, {**counts, "reasons": {unit: dict(fate.reasons) for unit, fate in result.fates.items()}})


def _network(curate: CurateConfig, context: Context) -> Any:
    """The recipe's network, with the demo web's names pointing to where it is served now."""
    return curate.network.model_copy(update={"hosts": {**curate.network.hosts, **context.hosts()}})


def _load(context: Context, name: str) -> PhaseResult:
    return PhaseResult.load(context.records[name].path)


def _crawl(curate: CurateConfig) -> Any:
    def work(context: Context, folder: str) -> Made:
        from pipeline.crawl import crawl

        network = _network(curate, context)
        result = crawl(curate.crawl, network, folder, context.executor(), context.progress)
        if not result.fates["pairs"].kept:
            storage.remove_tree(folder)  # so that pages that are mended are read again
            pages = result.fates["pages"]
            raise DataError(
                f"no picture on the {pages.kept:,} pages that could be read (others: {dict(pages.reasons)});"
                " correct curate.crawl.seeds or wait for the site, and run again"
            )
        return _phase(result)

    return work


def _select(curate: CurateConfig, from_web: bool) -> Any:
    def work(context: Context, folder: str) -> Made:
        from pipeline.select import select

        config = curate.select
        if from_web and config.queries.path is None:
            path = storage.join(context.records["web"].path, "queries.txt")
            config = config.model_copy(update={"queries": config.queries.model_copy(update={"path": path})})
        return _phase(select(config, [_load(context, "crawl")], folder, context.executor(), context.progress))

    return work


def _fetch(curate: CurateConfig) -> Any:
    def work(context: Context, folder: str) -> Made:
        from pipeline.fetch import fetch

        selected, network = _load(context, "select"), _network(curate, context)
        return _phase(fetch(curate.fetch, network, selected, folder, context.executor(), context.progress))

    return work


def _deduplicate(curate: CurateConfig) -> Any:
    def work(context: Context, folder: str) -> Made:
        from pipeline.deduplicate import deduplicate

        fetched = _load(context, "fetch")
        return _phase(deduplicate(curate.deduplicate, fetched, folder, context.executor(), context.progress))

    return work


def _decontaminate(curate: CurateConfig, with_references: bool) -> Any:
    def work(context: Context, folder: str) -> Made:
        from pipeline.decontaminate import decontaminate

        references = storage.join(context.records["references"].path, "references.parquet") if with_references else None
        rows = _load(context, "deduplicate")
        return _phase(
            decontaminate(curate.decontaminate, rows, references, folder, context.executor(), context.progress)
        )

    return work


def _pack(curate: CurateConfig, config: Mapping[str, Any]) -> Any:
    def work(context: Context, folder: str) -> Made:
        from pipeline.pack import pack

        phases = [_load(context, name) for name in PHASES]
        version = storage.sha256("".join(code_version(f"pipeline.{name}") for name in (*PHASES, "pack")).encode())[:16]
        manifest = pack(curate.pack, phases, config, version, folder, context.executor(), context.progress)
        return Made(manifest.id, {"rows": manifest.rows, "bytes": manifest.bytes, "shards": len(manifest.shards)})

    return work


def _given_data(folder: str) -> Step:
    """A finished dataset that somebody else made, checked against its manifest."""
    manifest = Manifest.load(folder)

    def work(context: Context, _: str) -> Made:
        manifest.verify(folder)
        return Made(manifest.id, {"folder": folder, "rows": manifest.rows, "shards": len(manifest.shards)})

    return Step(
        "data", {"manifest_id": manifest.id, "folder": folder}, "pipeline.manifest", (), work, "a given dataset"
    )


def _given_checkpoint(folder: str) -> Step:
    if not storage.exists(storage.join(folder, "checkpoint.json")):
        raise ConfigError(f"checkpoint: {folder!r} holds no checkpoint.json; give the folder of a finished checkpoint")

    def work(context: Context, _: str) -> Made:
        from training.checkpoint import Checkpoint

        checkpoint = Checkpoint.load(folder)
        return Made(checkpoint.id, {"folder": folder, "step": checkpoint.step})

    return Step("checkpoint", {"folder": folder}, "training.checkpoint", (), work, "a given checkpoint")


def _train(recipe: Recipe, config: Mapping[str, Any], source: str) -> Step:
    def work(context: Context, folder: str) -> Made:
        from orchestration.cluster import train_on_ray
        from training.checkpoint import Checkpoint
        from training.data import check

        assert recipe.train is not None
        dataset = context.records[source].folder
        manifest = Manifest.load(dataset)
        check(recipe.train, manifest)  # before Ray and its workers are started for nothing
        manifest.verify(dataset)  # what is trained on is what the manifest's id stands for
        context.connect()
        train_on_ray(recipe.train, dataset, folder, context.on_train_step)
        checkpoint = Checkpoint.load(storage.join(folder, "checkpoint"))
        return Made(checkpoint.id, {"step": checkpoint.step, "samples_seen": checkpoint.samples_seen})

    return Step("train", config, "training.train", (source,), work, "trains the model with DeepSpeed on Ray")


def _evaluate(recipe: Recipe, config: Mapping[str, Any], source: str) -> Step:
    def work(context: Context, folder: str) -> Made:
        from evaluation.run import evaluate

        assert recipe.evaluate is not None
        record = context.records[source]
        checkpoint = storage.join(record.path, "checkpoint") if source == "train" else record.folder
        report = evaluate(recipe.evaluate, checkpoint, storage.join(folder, "features"), context.progress)
        report.save(folder)
        return Made(report.id, {"scores": len(report.scores)})

    return Step("evaluate", config, "evaluation.run", (source,), work, "measures the checkpoint")


def _report(recipe: Recipe, inputs: tuple[str, ...]) -> Step:
    def work(context: Context, folder: str) -> Made:
        from orchestration.gather import write_report

        identity = write_report(recipe, context.records, context.run_id, context.peak_memory_bytes, folder)
        return Made(identity, {})

    config: Mapping[str, Any] = {"name": recipe.name, "description": recipe.description}
    return Step("report", config, "orchestration.gather", inputs, work, "writes report.html and report.json")
