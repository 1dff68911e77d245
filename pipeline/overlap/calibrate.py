"""Where the threshold of an evaluation set lies, measured instead of chosen by eye.

CLIP set a threshold per dataset by hand, "to high precision, then to most recall" (arXiv:2103.00020, section 5). Here
changed copies of a sample of the set are planted (pipeline/overlap/changes.py) among distractors: the set's other pictures, and
pictures of the training data as decoys. Each half of both names a threshold; the stricter one is taken, and the other half
says how good it is.

A decoy is a training picture mirrored at its diagonal, rows for columns: upright training pictures may really be copies, and
would count as false alarms just where overlap is large (the target-decoy idea of proteomics: Elias and Gygi 2007). It is
looked for among the forms that are neither mirrored nor turned by right angles. So a copy in the training data, mirrored
either way or turned by 90, 180 or 270 degrees, makes no alarm: its decoy is a form that is not looked at. Only a copy that is
itself mirrored at the diagonal could, and is left out with the set's own duplicates, by a distance that other pairs do not
reach. (Turned upside down, as decoys were once, one picture that the training data holds upside down made a false alarm at
distance 0 and took the threshold, and with it half of the recall.)

Precision counts a planted picture once however many changes it has, so copies are a few per cent of what is judged, as
they were in CLIP's data (3 % on average).
"""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from pipeline.overlap.lookup import Described, Limits, Pairs, Table
from pipeline.pictures.descriptors import THUMBNAIL_BYTES

SAME_BITS256 = 16
SAME_LOOK = 6.0
"""Pairs within both are one picture: on photographs other pairs begin at 50 bits, recompression ends at 12."""
TURNED = ("flip", "rotate90", "rotate180", "rotate270")
"""Forms that a decoy of a mirrored or turned copy would be near."""
LOW_RECALL = 0.8
"""Below it a set is named: on photographs thresholds find 0.9 to 0.95 of what is planted."""

THRESHOLDS = pa.schema(
    [
        ("task", pa.string()),
        ("change", pa.string()),  # "all": every change
        ("radius", pa.int32()),
        ("thumbnail_distance", pa.float64()),
        ("distance", pa.float64()),
        ("cosine", pa.float64()),  # this and the two below only where embeddings are compared
        ("found_by_hash", pa.int32()),
        ("found_by_embedding", pa.int32()),
        ("planted", pa.int32()),
        ("found", pa.int32()),
        ("recall", pa.float64()),
        ("distractors", pa.int32()),  # this and the next two in the row "all"
        ("false_alarms", pa.int32()),
        ("precision", pa.float64()),
    ]
)


@dataclass(frozen=True)
class Trial:
    """Every candidate pair of one task's index with planted copies and with distractors.

    `pictures` (index rows) numbers the reference picture of each row; `origins` that of each planted copy.
    """

    task: str
    pictures: NDArray[np.int64]
    changes: NDArray[Any]
    origins: NDArray[np.int64]
    planted: Pairs
    distractors: Pairs
    distractor_count: int
    own: NDArray[np.int64]
    """Index rows that are the first distractors; those of `twinned` among them have a duplicate in the set and count not."""
    twinned: NDArray[np.int64]
    duplicates: frozenset[tuple[int, int]]
    """(picture, picture) of the set's own duplicates."""
    cosines: "Cosines | None" = None


@dataclass(frozen=True)
class Cosines:
    """Largest cosine of each planted copy with its own picture and with another one, and of each distractor with any."""

    own: NDArray[np.float64]
    wrong: NDArray[np.float64]
    far: NDArray[np.float64]


def prepare(
    task: str, index: pa.Table, planted: pa.Table, training: pa.Table, radius: int, others: int = 5000
) -> Trial:
    """Look up the task's planted copies, `others` of its own pictures and the `training` sample in its index.

    Long hashes count when the training rows have them: a threshold holds for what it was measured with.
    """
    long = "phash256" in training.column_names
    references, decoys = Described.of(index, long), transposed(Described.of(training, long))
    numbers, origins = index.column("index").to_numpy(), planted.column("index").to_numpy()
    same = np.flatnonzero(np.array(index.column("variant").to_pylist()) == "same")
    spread = same[np.linspace(0, len(same) - 1, min(len(same), others)).astype(np.int64)]
    own = np.union1d(spread, same[np.isin(numbers[same], origins)])  # the planted pictures' duplicates must be known
    alike = lookup(references.rows(own), references, radius)
    alike = alike.take(numbers[own][alike.i] != numbers[alike.j])
    twins = alike.take(_is_one(alike))
    alike = alike.take(~np.isin(alike.i, twins.i))
    strangers = lookup(decoys, references, radius)
    strangers = strangers.take(~np.isin(np.array(index.column("variant").to_pylist()), TURNED)[strangers.j])
    copied = np.unique(strangers.take(_is_one(strangers)).i)
    strangers = strangers.take(~np.isin(strangers.i, copied))

    copies = lookup(Described.of(planted, long), references, radius)
    duplicates = frozenset(zip(numbers[own][twins.i].tolist(), numbers[twins.j].tolist(), strict=True))
    met = zip(origins[copies.i].tolist(), numbers[copies.j].tolist(), strict=True)
    copies = copies.take(np.array([pair not in duplicates for pair in met], bool))
    return Trial(
        task,
        numbers,
        np.array(planted.column("variant").to_pylist(), dtype=object),
        origins,
        copies,
        Pairs.concat([alike, strangers._replace(i=strangers.i + len(own))]),
        len(own) + training.num_rows - len(np.unique(twins.i)) - len(copied),
        own,
        np.unique(twins.i),
        duplicates,
    )


def _is_one(pairs: Pairs) -> NDArray[np.bool_]:
    """Which pairs are one picture."""
    return np.asarray((pairs.bits256 <= SAME_BITS256) & (pairs.look <= SAME_LOOK))


def transposed(pictures: Described) -> Described:
    """Descriptors as of the same pictures mirrored at the diagonal: coefficients and thumbnails with rows for columns."""
    looks = pictures.looks.reshape(-1, 8, 8, 3).swapaxes(1, 2).reshape(-1, THUMBNAIL_BYTES)
    bytes_N8 = pictures.hashes.astype(">u8")[:, None].view(np.uint8)
    longs = pictures.longs
    if longs is not None:
        longs = _turned_over(np.ascontiguousarray(longs).view(np.uint8), 16).view(np.uint64)
    return Described(_turned_over(bytes_N8, 8).view(">u8")[:, 0].astype(np.uint64), longs, np.ascontiguousarray(looks))


def _turned_over(packed_NB: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Packed squares of bits, each with rows for columns."""
    bits = np.unpackbits(packed_NB, axis=1).reshape(-1, side, side).swapaxes(1, 2)
    return np.packbits(bits.reshape(len(packed_NB), side * side), axis=1)


def lookup(rows: Described, references: Described, radius: int) -> Pairs:
    """Every pair within `radius` bits of 64."""
    blocks = [rows.pairs(i, references, j) for i, j in Table(rows.hashes).pairs(references.hashes, radius)]
    empty = rows.pairs(np.zeros(0, np.int64), references, np.zeros(0, np.int64))
    return Pairs.concat([empty, *blocks])


@dataclass(frozen=True)
class Tally:
    """What limits find: `found` and `wrong` per planted copy, and the numbers of the distractors that are `alarmed`."""

    found: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    alarmed: NDArray[np.int64]

    @property
    def alarms(self) -> int:
        return len(self.alarmed)


def by_embedding(trial: Trial, cosine: float | None) -> Tally:
    """Like `judge`, by cosines alone."""
    if trial.cosines is None or cosine is None:
        return Tally(np.zeros(len(trial.origins), bool), np.zeros(len(trial.origins), bool), np.zeros(0, np.int64))
    seen = trial.cosines
    return Tally(seen.own >= cosine, seen.wrong >= cosine, np.flatnonzero(seen.far >= cosine))


def both(one: Tally, other: Tally) -> Tally:
    """What either finds."""
    return Tally(one.found | other.found, one.wrong | other.wrong, np.union1d(one.alarmed, other.alarmed))


def judge(trial: Trial, limits: Limits) -> Tally:
    """Which planted copies meet their own picture by hashes, which meet another, and which distractors meet any."""
    copies = trial.planted.take(limits.near(trial.planted))
    own = trial.origins[copies.i] == trial.pictures[copies.j]
    found, wrong = np.zeros(len(trial.origins), bool), np.zeros(len(trial.origins), bool)
    found[copies.i[own]] = True
    wrong[copies.i[~own]] = True
    return Tally(found, wrong, np.unique(trial.distractors.i[limits.near(trial.distractors)]))


def precision(tally: Tally, changes: int) -> float:
    """Of what is called near, the share that is; each planted picture weighs one, whatever its number of changes."""
    true, false = tally.found.sum() / changes, tally.wrong.sum() / changes + tally.alarms
    return float(true / (true + false)) if true + false else 1.0


def half(trial: Trial, side: int) -> Trial:
    """Every second reference picture's copies and every second distractor."""
    in_half = trial.origins % 2 == side
    places = np.cumsum(in_half) - 1
    copies = trial.planted.take(in_half[trial.planted.i])
    distractors = trial.distractors.take(trial.distractors.i % 2 == side)
    seen = trial.cosines
    if seen is not None:
        mine = np.arange(len(seen.far)) % 2 == side
        seen = Cosines(seen.own[in_half], seen.wrong[in_half], np.where(mine, seen.far, -1.0))
    return replace(
        trial,
        changes=trial.changes[in_half],
        origins=trial.origins[in_half],
        planted=copies._replace(i=places[copies.i]),
        distractors=distractors,
        distractor_count=(trial.distractor_count + 1 - side) // 2,
        cosines=seen,
    )


def choose(trial: Trial, radius: int, wanted_precision: float) -> Limits:
    """The widest distance at which the planted half still has the wanted precision; else the strictest there is."""
    changes = max(1, len(set(trial.changes.tolist())))
    own = trial.origins[trial.planted.i] == trial.pictures[trial.planted.j]
    best = np.full(len(trial.origins), np.inf)
    np.minimum.at(best, trial.planted.i[own], trial.planted.distance[own])
    wrong = np.full(len(trial.origins), np.inf)
    np.minimum.at(wrong, trial.planted.i[~own], trial.planted.distance[~own])
    far = np.full(int(trial.distractors.i.max(initial=-1)) + 1, np.inf)
    np.minimum.at(far, trial.distractors.i, trial.distractors.distance)
    steps = np.unique(np.floor(best[np.isfinite(best)]))
    true = np.searchsorted(np.sort(best), steps, "right") / changes
    false = np.searchsorted(np.sort(wrong), steps, "right") / changes + np.searchsorted(np.sort(far), steps, "right")
    good = steps[true >= wanted_precision * (true + false)]
    return Limits(radius, distance=float(good.max(initial=0.0)))


def table(trial: Trial, limits: Limits) -> list[dict[str, Any]]:
    """Rows of schema THRESHOLDS: all changes together first, then each."""
    by_hash, by_vector = judge(trial, limits), by_embedding(trial, limits.cosine)
    tally = both(by_hash, by_vector)
    names = list(dict.fromkeys(trial.changes.tolist()))
    bounds = {
        "radius": limits.radius,
        "thumbnail_distance": limits.thumbnail_distance,
        "distance": limits.distance,
    }
    rows = []
    for name in ("all", *names):
        mine = np.ones(len(trial.origins), bool) if name == "all" else trial.changes == name
        planted, found = int(mine.sum()), int(tally.found[mine].sum())
        row = {"task": trial.task, "change": name, **bounds, "planted": planted, "found": found}
        if limits.cosine is not None:
            row |= {"cosine": limits.cosine, "found_by_hash": int(by_hash.found[mine].sum())}
            row |= {"found_by_embedding": int(by_vector.found[mine].sum())}
        rows.append(row | {"recall": round(found / planted, 4) if planted else None})
    rows[0] |= {
        "distractors": trial.distractor_count,
        "false_alarms": tally.alarms,
        "precision": round(precision(tally, max(1, len(names))), 4),
    }
    return rows
