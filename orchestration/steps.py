"""The chain: which steps a recipe has, what each reads, and the call that does it.

    web -> sources -> select -> fetch -> [score] -> deduplicate -> decontaminate -> pack -> train -> evaluate -> report
             references -------------------------------------------^

There is one step per source, called by its name ("crawl" in the shipped recipes).

A recipe may stand in for the left part with `data` (a finished dataset) or `checkpoint` (a finished model).
"""

import os
from collections.abc import Mapping
from functools import partial
from typing import Any

from evaluation.config import EvaluateConfig
from evaluation.models.foreign import is_own
from evaluation.pictures.content import content_of, content_of_folder
from orchestration.curation_steps import curation_steps
from orchestration.progress import say
from orchestration.recipe import ExpectConfig, Recipe
from orchestration.step import FAILED, Context, Made, Step
from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.execution.executor import Executor
from pipeline.manifest import NAME as MANIFEST
from pipeline.manifest import Manifest
from training.config import TrainConfig
from training.foreign.open_clip import CONFIG as OPEN_CLIP_CONFIG
from training.foreign.read import CONFIGS, FILES


def build_steps(recipe: Recipe, planning: bool = False) -> list[Step]:
    """The recipe's steps in order. Raises ConfigError when a part is missing that another needs; a dataset that is still
    to be named is none where a run is only planned.
    """
    shown = recipe.shown()  # what came from the environment is named there, never written out
    steps: list[Step] = []
    if recipe.curate:
        steps += curation_steps(recipe, recipe.curate, shown)
    elif recipe.data:
        steps.append(_given_data(recipe.data, recipe.train is not None))
    elif recipe.expects:
        steps.append(_data_to_be_named(recipe, recipe.expects, planning))
    if recipe.train:
        source = "pack" if recipe.curate else "data" if recipe.data or recipe.expects else ""
        steps.append(_train(recipe, shown["train"], source))
    elif recipe.checkpoint:
        steps.append(_given_checkpoint(recipe.checkpoint))
    if recipe.evaluate:
        steps.append(_evaluate(recipe, shown["evaluate"], "train" if recipe.train else "checkpoint"))
    if not steps:
        raise ConfigError(f"recipe {recipe.name}: has nothing to do; give it a section curate, train or evaluate")
    return [*steps, _report(recipe, tuple(step.name for step in steps))]


def _given_data(folder: str, trains: bool) -> Step:
    """A finished dataset that somebody else made, checked against its manifest; or tars or pictures without one."""
    if not storage.exists(storage.join(folder, MANIFEST)):
        return _given_files(folder)
    manifest = Manifest.load(folder)

    def work(context: Context, _: str) -> Made:
        manifest.verify(folder, data_files=not trains)  # a training counts what damaged shards lose, up to its share
        return Made(manifest.id, {"folder": folder, "rows": manifest.rows, "shards": len(manifest.shards)})

    return Step(
        "data", {"manifest_id": manifest.id, "folder": folder}, "pipeline.manifest", (), work, "a given dataset"
    )


def _given_files(folder: str) -> Step:
    """WebDataset tars (img2dataset's shards) or pictures in folders, as they lie there; another name or size is other data."""
    files = _listed(folder)
    if not files:
        raise ConfigError(
            f"data: {folder!r} holds no manifest.json, no .tar and no pictures; give the folder of a dataset"
        )

    def work(context: Context, _: str) -> Made:
        from training.data.config import DataConfig
        from training.data.sources import open_data

        data = open_data(DataConfig(), folder)
        return Made(data.id, {"folder": folder, "rows": data.rows})

    listing = storage.sha256(storage.canonical_json(files))
    return Step("data", {"folder": folder, "files": listing}, "training.data.sources", (), work, "a given folder")


def _listed(folder: str) -> list[list[Any]]:
    """[name, bytes] of the files in a folder or below it; of one that is not local, of those in it."""
    if not storage.is_local(folder):
        return [[name, storage.size(storage.join(folder, name))] for name in storage.list_names(folder)]
    root = folder.removeprefix("file://")
    found = [os.path.join(below, name) for below, _, names in os.walk(root) for name in names]
    return sorted([os.path.relpath(path, root), os.path.getsize(path)] for path in found)


def _data_to_be_named(recipe: Recipe, expects: ExpectConfig, planning: bool) -> Step:
    """Stands for the dataset that the user has not named yet."""
    wanted = ConfigError(
        f"{recipe.name}: name its dataset: --set data=FOLDER, of {expects.what} ({expects.rows:,} in the paper or as expected);"
        " `openwit adopt` makes one of img2dataset's shards"
    )
    if not planning:
        raise wanted

    def work(context: Context, _: str) -> Made:
        raise wanted

    about = f"to be named: --set data=FOLDER, {expects.what}"
    return Step("data", {"folder": ""}, "pipeline.manifest", (), work, about)


WEIGHTS_ENDS = 1 << 20
"""Bytes at both ends of a file of weights, above 256 MiB: of a model that was trained on, they differ at the same size."""


def _piece(path: str, _: str, start: int, length: int) -> bytes:
    with open(path.removeprefix("file://"), "rb") as file:
        file.seek(start)
        return file.read(length)


def _given_checkpoint(place: str) -> Step:
    """A finished model: ours, somebody else's, or a function of the user's own; another content of its files is another step."""
    folder = is_own(place) or place.endswith(FILES)
    if folder and not storage.exists(place.rpartition(":")[0] if is_own(place) else place):
        raise ConfigError(
            f"checkpoint: {place!r} is not there; give a checkpoint's folder or file, or FILE.py:FUNCTION"
        )
    if not folder and not any(storage.exists(storage.join(place, name)) for name in ("checkpoint.json", *CONFIGS)):
        raise ConfigError(
            f"checkpoint: {place!r} holds no checkpoint.json, {' or '.join(CONFIGS)}; give the folder of a finished"
            " checkpoint, of an open_clip or Hugging Face model, a file of OpenAI's, or FILE.py:FUNCTION"
        )

    def identity() -> str:
        from evaluation.models.open import identity_of

        return identity_of(place)

    def work(context: Context, _: str) -> Made:
        return Made(identity(), {"folder": place})

    if is_own(place):  # what it reads is known to itself alone: it is asked what it computes
        files: Any = identity()
    elif not storage.is_local(place):
        files = [[place, storage.size(place)]] if folder else _listed(place)
    elif folder:
        files = content_of([""], [storage.size(place)], partial(_piece, place), WEIGHTS_ENDS)
    else:
        files = content_of_folder(place, WEIGHTS_ENDS)
    what = {"folder": place, "files": storage.sha256(storage.canonical_json(files))}
    beside = storage.join(place.rpartition("/")[0] or ".", OPEN_CLIP_CONFIG)
    if place.endswith(FILES) and storage.exists(beside):  # says what the file's tensors are
        what["configuration"] = storage.sha256_file(beside)
    return Step("checkpoint", what, "evaluation.models.foreign", (), work, "a given checkpoint")


HOW = ("launch", "watch", "checkpoints", "workers")
"""Keys of `train` that say where and how a model is trained, never what it becomes: another value goes on with the same step."""


def _train(recipe: Recipe, config: Mapping[str, Any], source: str) -> Step:
    def work(context: Context, folder: str) -> Made:
        from orchestration.launch import train_on_ray
        from training.data.check import left_out, notes
        from training.fitting import opened, require_start
        from training.saving.checkpoint import Checkpoint

        assert recipe.train is not None
        dataset = context.records[source].folder if source else ""
        # Before Ray and its workers are started for nothing. What is trained on is what the manifest's id stands for: checksums
        # are compared once, here (of remote shards when they come), and by the workers only where one is to be left alone.
        first = _with(recipe.train, verify_checksums=bool(dataset) or recipe.train.data.verify_checksums)
        data = opened(first, dataset)
        require_start(first, data)
        told: set[str] = set()

        def tell(line: str) -> None:  # workers say again what is said here, and each time that they start
            if line not in told:
                told.add(line)
                say(context.progress, line)

        for line in notes(data):
            tell(f"train: {line}")
        compare = recipe.train.data.verify_checksums or data.is_changed
        context.connect()
        train = _with(recipe.train, verify_checksums=compare)
        benchmarks = recipe.evaluate.datasets if recipe.evaluate else None
        train_on_ray(train, dataset, folder, context.on_train_step, context.on_evaluation, tell, benchmarks)
        checkpoint = Checkpoint.load(storage.join(folder, "checkpoint"))
        facts: dict[str, Any] = {"step": checkpoint.step, "samples_seen": checkpoint.samples_seen}
        gone = left_out(data)
        return Made(checkpoint.id, facts | ({"samples_kept": data.rows, "reasons": {"samples": gone}} if gone else {}))

    what = {key: value for key, value in config.items() if key not in HOW}
    inputs = (source,) if source else ()
    return Step("train", what, "training.train", inputs, work, "trains the model with DeepSpeed on Ray")


def _with(config: TrainConfig, **changes: Any) -> TrainConfig:
    return config.model_copy(update={"data": config.data.model_copy(update=changes)})


HOW_MEASURED = ("batch_size", "threads", "features")
"""Keys of `evaluate` that say how fast or where features are made; of them the precision alone tells in a score."""


def _evaluate(recipe: Recipe, config: Mapping[str, Any], source: str) -> Step:
    def work(context: Context, folder: str) -> Made:
        from evaluation.run import evaluate

        assert recipe.evaluate is not None
        record = context.records[source]
        checkpoint = storage.join(record.path, "checkpoint") if source == "train" else record.folder
        data = (context.records.get("pack") or context.records.get("data")) if source == "train" else None
        has_lists = data is not None and storage.exists(storage.join(data.folder, MANIFEST))
        trained_on = data.folder if data and has_lists else None
        # Beside the step's folder: what another evaluation of this model will find there.
        features = storage.join(os.path.dirname(folder), "features")
        executor = _workers(recipe.evaluate, context)
        report = evaluate(recipe.evaluate, checkpoint, features, context.progress, trained_on, executor)
        report.save(folder)
        failed = sum(row["status"] == "failed" for row in report.absent)
        return Made(report.id, {"scores": len(report.scores)} | ({FAILED: failed} if failed else {}))

    return Step("evaluate", _asked(recipe, config), "evaluation.run", (source,), work, "measures the checkpoint")


def _asked(recipe: Recipe, config: Mapping[str, Any]) -> dict[str, Any]:
    """What is measured: a benchmark that is downloaded, or whose card was changed, is measured in a new step, as are one whose
    reference came, other overlays and other descriptions under the same path."""
    from evaluation.catalog.benchmarks import find
    from evaluation.catalog.presence import identity
    from evaluation.contents import descriptions_of, overlays_of, references_of

    assert recipe.evaluate is not None
    datasets, seen = recipe.evaluate.datasets, dict[str, str | None]()
    # What is there counts, not where.
    what = {key: value for key, value in config.items() if key not in (*HOW_MEASURED, "datasets")}
    what["precision"] = config["features"]["precision"]
    what["tasks"] = [identity(find(name), datasets, seen) for name in recipe.evaluate.tasks]
    what["zero_shot"] = {**config["zero_shot"], "descriptions": descriptions_of(recipe.evaluate)}
    what["robustness"] = {**config["robustness"], "frost": overlays_of(recipe.evaluate)}
    references = [identity(find(name), datasets, seen) for name in references_of(recipe.evaluate)]
    return what | ({"references": references} if references else {})


def _workers(config: EvaluateConfig, context: Context) -> Executor | None:
    """Ray workers that make features, where the recipe wants some."""
    wanted = config.features
    if not wanted.workers:
        return None
    from pipeline.execution.on_ray import OnRay

    context.connect()
    return OnRay(float(config.threads or 1), wanted.workers, gpus_per_item=wanted.gpus_per_worker)


def _report(recipe: Recipe, inputs: tuple[str, ...]) -> Step:
    def work(context: Context, folder: str) -> Made:
        from orchestration.gather import write_report

        identity = write_report(recipe, context.records, context.run_id, context.peak_memory_bytes, folder)
        return Made(identity, {})

    config: Mapping[str, Any] = {"name": recipe.name, "description": recipe.description}
    return Step("report", config, "orchestration.gather", inputs, work, "writes report.html and report.json")
