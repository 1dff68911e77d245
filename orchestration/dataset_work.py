"""What the commands on finished datasets do: each function does one, and returns what is to be told of it."""

import contextlib
import os
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timezone
from typing import Any

from pipeline import storage
from pipeline.errors import ConfigError
from pipeline.execution.executor import Executor, InProcess
from pipeline.execution.progress import Progress
from pipeline.manifest import Manifest


@contextlib.contextmanager
def executor() -> Iterator[Executor]:
    """This process; Ray where OPENWIT_EXECUTOR says so."""
    if os.environ.get("OPENWIT_EXECUTOR", "in-process") != "ray":
        yield InProcess()
        return
    from orchestration.cluster import connected
    from pipeline.execution.on_ray import OnRay

    with connected():
        yield OnRay(1.0)


def subset(
    folder: str, where: str | None, top: str | None, within: str | None, out: str, progress: Progress
) -> dict[str, Any]:
    from pipeline.datasets.subset import load_uids, save_uids, select_uids

    if not where and not top and not within:
        raise ConfigError("subset: nothing to choose by; give --where, --top or --within")
    manifest = Manifest.load(folder)
    others = load_uids(within) if within else None
    uids = select_uids(folder, manifest, where, top, others)
    save_uids(out, uids)
    return {"subset": out, "samples": len(uids), "of": manifest.rows, "dataset": manifest.id}


def reshard(
    folder: str,
    subset_file: str | None,
    out: str,
    samples_per_shard: int,
    output: str,
    allow_missing: bool,
    progress: Progress,
) -> dict[str, Any]:
    from pipeline.datasets import reshard as work
    from pipeline.datasets.pack import PackConfig
    from pipeline.datasets.subset import load_uids, select_uids

    _refuse_used(out)
    manifest = Manifest.load(folder)
    uids = load_uids(subset_file) if subset_file else select_uids(folder, manifest)
    config = PackConfig.model_validate({"samples_per_shard": samples_per_shard, "output": output})
    with executor() as where:
        made = work.reshard(config, folder, uids, out, where, progress, allow_missing)
    told = {"dataset": out, "manifest_id": made.id, "rows": made.rows, "shards": len(made.shards)}
    how = made.config[list(made.counts)[-1]]
    return told | {"bytes": made.bytes, "missing": how["missing"], "by_source_uid": how.get("by_source_uid", 0)}


def takedown(folder: str, lists: Mapping[str, str | None], out: str | None, progress: Progress) -> dict[str, Any]:
    from pipeline.datasets import takedown as work
    from pipeline.datasets.exclusion import Exclusions

    given = {kind: path for kind, path in lists.items() if path}
    if not given:
        raise ConfigError("takedown: no list; give --urls, --domains, --hashes or --rules FILE")
    rules = Exclusions()
    for kind, path in given.items():
        for name, values in Exclusions.load(path, kind or None).rules.items():
            rules.rules[name] |= values
    if out:
        _refuse_used(out)
    with executor() as where:
        done = work.takedown(folder, rules, out, where, progress)
    return _removed(done)


def _removed(done: Any) -> dict[str, Any]:
    return {
        "dataset": done.folder,
        "manifest_id": done.manifest.id if done.manifest else None,
        "rows": done.manifest.rows if done.manifest else None,
        "removed": done.removed.to_pylist(),
        "removed_by_rule": done.rules(),
        "rules_that_met_nothing": list(done.unmet),
        "samples_without_hash": done.unhashed,
    }


def recheck(
    folder: str,
    recipe: str | None,
    sets: Sequence[str],
    pages: bool,
    out: str | None,
    apply_now: bool,
    since: str | None,
    requests_per_host: int | None,
    progress: Progress,
) -> dict[str, Any]:
    from pipeline.datasets import recheck as work
    from pipeline.datasets.takedown import takedown as take_down

    network = _network(folder, recipe, sets)
    manifest = Manifest.load(folder)
    day = datetime.now(timezone.utc).strftime("%Y%m%d")
    beside = folder.rstrip("/").rpartition("/")[0] or "."
    out = out or storage.join(beside, f"recheck-{manifest.id[:12]}-{day}")
    with executor() as where:
        found = work.recheck(network, folder, out, where, progress, pages, since, requests_per_host)
        told: dict[str, Any] = {"answers": out, "samples": manifest.rows, "states": dict(found.states)}
        told |= {"reasons": dict(found.reasons), "opted_out": found.opted_out.to_pylist(), "takedown": None}
        if apply_now and found.opted_out.num_rows:
            told["takedown"] = _removed(take_down(folder, found.rules(), None, where, progress))
    return told


def _network(folder: str, recipe: str | None, sets: Sequence[str]) -> Any:
    from pipeline.web.web_config import NetworkConfig

    if recipe:
        from orchestration.recipe import load

        loaded = load(recipe, sets)
        if loaded.curate is None:
            raise ConfigError(f"--recipe {recipe}: has no section curate, so no network; give another recipe")
        return loaded.curate.network
    if sets:
        raise ConfigError(f"--set {sets[0]}: changes a recipe, and none is given; add --recipe RECIPE")
    kept = dict(Manifest.load(folder).config.get("network", {}))
    kept.pop("hosts", None)  # names alone are kept in a dataset, never addresses
    known = {name: value for name, value in kept.items() if name in NetworkConfig.model_fields}
    return NetworkConfig.model_validate(known)


def why(folder: str, what: str, progress: Progress) -> Any:
    from pipeline.datasets import lineage

    return lineage.why(folder, what)


def adopt(folder: str, progress: Progress) -> dict[str, Any]:
    from pipeline.datasets import adopt as work

    with executor() as where:
        made = work.adopt(folder, where, progress)
    counts = made.counts["adopt"]
    told = {"dataset": folder, "manifest_id": made.id, "rows": made.rows, "shards": len(made.shards)}
    return told | {"dropped": counts["pairs"]["reasons"], "members_left_out": counts["members"]["reasons"]}


def card(folder: str, progress: Progress) -> dict[str, Any]:
    from orchestration import data_card

    return data_card.write(folder)


def _refuse_used(out: str) -> None:
    if storage.exists(storage.join(out, "manifest.json")):
        raise ConfigError(f"--out {out}: holds a finished dataset already; choose another folder")
