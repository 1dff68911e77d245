"""Lineage: where one sample came from, every verdict on it, and why it is or is not in a dataset.

Everything is read from what the phases left beside the dataset: a phase's kept and dropped rows (found by the ids in the
manifest's parents), the lists of a takedown, and for a dataset made from another one that dataset's own phases.
"""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import pyarrow.compute as pc

from pipeline import storage
from pipeline.datasets.lineage_question import Question, exact
from pipeline.datasets.lineage_select import balance_facts
from pipeline.datasets.shard_form import plain
from pipeline.datasets.shards import read_index
from pipeline.errors import ConfigError, DataError
from pipeline.execution.ledger import PhaseResult
from pipeline.manifest import NAME, Manifest

HIDDEN = ("image", "thumbnail", "thumbnail8", "image_offset", "image_bytes", "status", "error_message")


@dataclass(frozen=True)
class Verdict:
    """What one phase said of a row: `outcome` is kept or dropped; `facts` are the columns that it added."""

    phase: str
    outcome: str
    reason: str | None = None
    evidence: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Pair:
    """One image-text pair and its way; `place` is its row in the dataset's index, None where it is not there."""

    uid: str
    url: str | None
    text: str | None
    here: bool
    because: str
    verdicts: tuple[Verdict, ...]
    place: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Answer:
    """`pages` are verdicts on a page of that URL; `nearby` says what is known of the host of a URL nobody has seen."""

    asked: str
    kind: str
    dataset: str
    because: str
    pairs: tuple[Pair, ...] = ()
    pages: tuple[Verdict, ...] = ()
    nearby: Mapping[str, Any] = field(default_factory=dict)
    phases: tuple[str, ...] = ()


def why(folder: str, asked: str) -> Answer:
    """Everything known about the key, uid or URL `asked` in the dataset at `folder`. Raises DataError without a dataset."""
    chain = _chain(folder)
    folder, manifest = chain[0]
    question = Question.of(asked)
    if question.key:
        found = _in_index(folder, manifest, question)
        if not found:
            raise ConfigError(f"{asked}: no sample has this key; give a key of {folder}, a uid or a URL")
        question = Question.of(found[0]["uid"])
    phases = [phase for each, made in reversed(chain) for phase in phases_of(each, made)]
    rows: dict[str, dict[str, Any]] = {}
    verdicts: dict[str, list[Verdict]] = {}
    pages: list[Verdict] = []
    for phase in phases:
        _ask_phase(phase, question, manifest, rows, verdicts, pages)
    indexed = {row["uid"]: row for row in _in_index(folder, manifest, question)}
    for uid, row in indexed.items():
        rows.setdefault(uid, {"url": row["url"], "text": row["caption"]})
    for child, parent in reversed(list(itertools.pairwise(chain))):
        _ask_derived(child, parent, list(rows), question, rows, verdicts)
    pairs = tuple(_pair(uid, rows[uid], verdicts.get(uid, []), indexed.get(uid), bool(phases)) for uid in sorted(rows))
    nearby = {} if pairs or pages or not question.urls else _nearby(phases, question)
    said = _because(question, pairs, pages, nearby, phases)
    return Answer(asked, question.kind, manifest.id, said, pairs, tuple(pages), nearby, tuple(p.name for p in phases))


# --- finding what a dataset was made from -------------------------------------------------------------------------------


def _chain(folder: str) -> list[tuple[str, Manifest]]:
    """The dataset, the one it was derived from, and so on, as far as they can be found."""
    chain = [(folder, Manifest.load(folder))]
    while len(chain) < 100:
        here, manifest = chain[-1]
        hint = storage.join(here, "origin.json")
        told = [storage.read_json(hint)["folder"]] if storage.exists(hint) else []
        parent = next((each for each in [*told, *_beside(here)] if _id_of(each) in manifest.parents), None)
        if parent is None:
            return chain
        chain.append((parent, Manifest.load(parent)))
    raise DataError(f"{folder}: is derived from itself")


def _beside(folder: str) -> list[str]:
    root = folder.rstrip("/").rpartition("/")[0] or "."
    return [storage.join(root, name) for name in storage.list_names(root)]


def _id_of(folder: str, name: str = NAME) -> str | None:
    path = storage.join(folder, name)
    try:
        return str(storage.read_json(path)["id"]) if storage.exists(path) else None
    except (OSError, ValueError, KeyError, TypeError):
        return None


def phases_of(folder: str, manifest: Manifest) -> list[PhaseResult]:
    """The sources and the phases in the manifest's parents, in order; one whose folder is gone is left out."""
    found = {_id_of(each, "phase.json"): each for each in _beside(folder)}
    phases = [PhaseResult.load(found[id]) for id in manifest.parents if id in found]
    given = next((_inputs_of(phase.folder) for phase in phases if phase.name == "select"), [])
    return [*(PhaseResult.load(found[id]) for id in given if id in found), *phases]


def _inputs_of(folder: str) -> list[str]:
    """The ids of what a step was made from, as its record tells."""
    path = storage.join(folder, "step.json")
    try:
        return [id for _, id in sorted(storage.read_json(path)["inputs"].items())] if storage.exists(path) else []
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return []


# --- asking -------------------------------------------------------------------------------------------------------------


def _ask_phase(
    phase: PhaseResult,
    question: Question,
    manifest: Manifest,
    rows: dict[str, dict[str, Any]],
    verdicts: dict[str, list[Verdict]],
    pages: list[Verdict],
) -> None:
    for file in phase.kept:
        for row in _matching(storage.join(phase.folder, file.path), question, list(rows)):
            known = rows.setdefault(row["uid"], {})
            facts = {name: plain(value) for name, value in row.items() if name not in known and value is not None}
            known |= row
            if phase.name == "select":
                facts |= balance_facts(phase, manifest.config, row)
            verdicts.setdefault(row["uid"], []).append(Verdict(phase.name, "kept", facts=facts))
    for file in phase.dropped:
        for row in _matching(storage.join(phase.folder, file.path), question, list(rows)):
            verdict = Verdict(phase.name, "dropped", row["reason"], row["evidence"])
            if row["uid"] == row["url"]:  # while pages are read, a page's id is its URL
                pages.append(verdict)
                continue
            rows.setdefault(row["uid"], {}).update({name: row[name] for name in ("uid", "url", "text") if name in row})
            verdicts.setdefault(row["uid"], []).append(verdict)


def _matching(path: str, question: Question, uids: Sequence[str]) -> list[dict[str, Any]]:
    """Rows of a Parquet file that the question is about, or whose uid is one of those found already."""
    names = [name for name in storage.read_schema(path).names if name not in HIDDEN]
    wanted = [name for name in ("uid", "url", "page_url") if name in names]
    table = storage.read_table(path, wanted)
    mask = question.mask(table)
    if uids:
        mask = pc.or_(mask, exact(table.column("uid"), uids))
    if not pc.any(mask).as_py():
        return []
    return list(storage.read_table(path, names).filter(mask).to_pylist())


def _in_index(folder: str, manifest: Manifest, question: Question) -> list[dict[str, Any]]:
    found = []
    for shard in manifest.shards:
        table = read_index(folder, shard, ["key", "uid", "url", "page_url"])
        mask = question.mask(table)
        if pc.any(mask).as_py():
            rows = read_index(folder, shard).filter(mask).to_pylist()
            found += [row | {"shard": shard.tar} for row in rows]
    return found


def _ask_derived(
    child: tuple[str, Manifest],
    parent: tuple[str, Manifest],
    uids: Sequence[str],
    question: Question,
    rows: dict[str, dict[str, Any]],
    verdicts: dict[str, list[Verdict]],
) -> None:
    """What fell when one dataset was made from another: by the list of a takedown, or for not being in a subset."""
    path = storage.join(child[0], "takedown.parquet")
    if storage.exists(path):
        table = storage.read_table(path)
        mask = pc.or_(question.mask(table), exact(table.column("uid"), uids)) if uids else question.mask(table)
        for row in table.filter(mask).to_pylist():
            rows.setdefault(row["uid"], {}).update({name: row[name] for name in ("uid", "url")})
            verdicts.setdefault(row["uid"], []).append(Verdict("takedown", "dropped", "taken_down", row["rule"]))
        return
    before = {row["uid"]: row for row in _in_index(*parent, question)}
    after = {row["uid"] for row in _in_index(*child, question)}
    for uid in sorted(set(before) - after):
        rows.setdefault(uid, {}).update({name: before[uid][name] for name in ("uid", "url")})
        verdicts.setdefault(uid, []).append(Verdict("reshard", "dropped", "not_in_subset"))


def _nearby(phases: Sequence[PhaseResult], question: Question) -> dict[str, Any]:
    """How much of the URL's host the sources saw at all."""
    pairs = 0
    reasons: dict[str, int] = {}
    sources = next((place for place, phase in enumerate(phases) if phase.name == "select"), 1)
    for phase in phases[:sources]:
        for file in phase.kept:
            table = storage.read_table(storage.join(phase.folder, file.path), ["url"])
            pairs += pc.sum(question.host_mask(table.column("url"))).as_py() or 0
        for file in phase.dropped:
            table = storage.read_table(storage.join(phase.folder, file.path), ["url", "reason"])
            for reason in table.filter(question.host_mask(table.column("url"))).column("reason").to_pylist():
                reasons[reason] = reasons.get(reason, 0) + 1
    return {"host": question.host, "pairs_of_host": pairs, "pages_of_host_dropped": dict(sorted(reasons.items()))}


# --- saying -------------------------------------------------------------------------------------------------------------


def _pair(
    uid: str, row: Mapping[str, Any], verdicts: Sequence[Verdict], place: Mapping[str, Any] | None, traced: bool
) -> Pair:
    fell = next((verdict for verdict in verdicts if verdict.outcome == "dropped"), None)
    if place is not None:
        said = f"it is there, as {place['key']} in {place['shard']}"
    elif fell is not None:
        said = f"{fell.phase} dropped it: {fell.reason}" + (f" ({fell.evidence})" if fell.evidence else "")
    elif traced:
        said = (
            f"it is not there; the last phase that kept it is {verdicts[-1].phase}" if verdicts else "it is not there"
        )
    else:
        said = "it is not there, and the phases that made the dataset are not beside it"
    facts = {
        name: plain(value) for name, value in (place or {}).items() if value is not None and name not in HIDDEN
    } or None
    return Pair(uid, row.get("url"), row.get("text"), place is not None, said, tuple(verdicts), facts)


def _because(
    question: Question,
    pairs: Sequence[Pair],
    pages: Sequence[Verdict],
    nearby: Mapping[str, Any],
    phases: Sequence[PhaseResult],
) -> str:
    if pairs:
        here = sum(pair.here for pair in pairs)
        return pairs[0].because if len(pairs) == 1 else f"{len(pairs)} pairs, {here} of them in the dataset"
    if pages:
        return f"the page was not taken: {pages[0].reason} ({pages[0].evidence})"
    if not phases:
        return "it is not in the dataset, and the phases that made it are not beside it"
    if nearby.get("pairs_of_host"):
        return f"never seen; of its host {nearby['pairs_of_host']:,} other pairs were found"
    return "never seen: no source gave this URL" if question.urls else "never seen: no source gave this pair"
