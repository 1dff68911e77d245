"""Near captions: of one picture (all with all), or of the whole pool (met by MinHash bands); both by exact Jaccard.

`everywhere` sends 16 bytes per band of each row; texts are fetched for rows that share a band with another one. Captions
of few words are left alone there: a thousand pictures may well be called "a dog".
"""

import functools

import numpy as np
import pyarrow as pa

from pipeline import storage
from pipeline.duplicates.clusters import chain, edge_output, files_of
from pipeline.duplicates.config import CaptionConfig
from pipeline.duplicates.minhash import band_keys, link
from pipeline.duplicates.pool import Pool
from pipeline.duplicates.shingles import Shingled, plain
from pipeline.execution.exchange import Files
from pipeline.execution.executor import Executor
from pipeline.execution.ledger import Output, WorkItem, run_items
from pipeline.execution.progress import Progress

SAID = ("text",)


def everywhere(
    config: CaptionConfig, pool: Pool, buckets: int, folder: str, executor: Executor, progress: Progress
) -> Files:
    """Edges between rows of near captions, whatever their pictures."""
    met = pool.regroup(functools.partial(_sent, config, pool), buckets, storage.join(folder, "met"), executor, progress,
                       config.model_dump())  # fmt: skip
    return _linked(config, pool, met, "key", folder, executor, progress)


def same_picture(
    config: CaptionConfig, pool: Pool, groups: Files, folder: str, executor: Executor, progress: Progress
) -> Files:
    """Edges between rows of one picture (tables of position, root) whose captions are near or equal."""
    return _linked(config, pool, groups, "root", folder, executor, progress)


def _sent(config: CaptionConfig, pool: Pool, block: int) -> pa.Table:
    rows = pool.read(block, ["text"])
    texts = Shingled.of([plain(text) for text in rows.column("text").to_pylist()], config)
    long = np.flatnonzero(~texts.is_short)
    keys = band_keys(texts, config.bands, config.rows_per_band)[long]
    positions = np.repeat(rows.column("position").to_numpy()[long], config.bands)
    return pa.table({"key": pa.array(keys.ravel()), "position": pa.array(positions)})


def _linked(
    config: CaptionConfig, pool: Pool, groups: Files, key: str, folder: str, executor: Executor, progress: Progress
) -> Files:
    identity = [config.model_dump(), pool.whole_identity()]
    records = run_items(
        storage.join(folder, "linked"),
        functools.partial(_link_group, config, pool, key),
        [WorkItem(f"link-{i:05d}", [part.sha256, identity], groups.path(part)) for i, part in enumerate(groups.parts)],
        executor,
        progress,
        "near captions",
    )
    return files_of(storage.join(folder, "linked"), records)


def _link_group(config: CaptionConfig, pool: Pool, key: str, path: str) -> Output:
    rows = storage.read_table(path)
    groups, positions = rows.column(key).to_numpy(), rows.column("position").to_numpy()
    met = _shared(groups)
    groups, positions = groups[met], positions[met]
    places, row = np.unique(positions, return_inverse=True)
    if not len(places):
        return edge_output(rows.num_rows, np.zeros((0, 2), np.int64))
    captions = [plain(text) for text in pool.look_up(places, ["text"]).column("text").to_pylist()]
    different = {text: number for number, text in enumerate(dict.fromkeys(captions))}
    text_of = np.array([different[text] for text in captions])
    texts = Shingled.of(list(different), config)
    same = chain([text_of[row], groups])  # equal captions of one group: one of them stands for all
    alone = np.ones(len(row), bool)
    alone[same[:, 1]] = False
    near = link(texts, text_of, groups[alone], row[alone], config.jaccard)
    return edge_output(rows.num_rows, places[np.concatenate([row[same], near])].reshape(-1, 2))


def _shared(groups: np.ndarray) -> np.ndarray:
    """Row numbers whose group has another row."""
    _, back, counts = np.unique(groups, return_inverse=True, return_counts=True)
    return np.flatnonzero(counts[back] > 1)


def say(config: CaptionConfig, worse: pa.Table, better: pa.Table) -> list[str]:
    pairs = list(zip(worse.column("text").to_pylist(), better.column("text").to_pylist(), strict=True))
    texts = Shingled.of([plain(text) for pair in pairs for text in pair], config)
    return [f"Jaccard {texts.jaccard(2 * i, 2 * i + 1):.2f} of {pair[1][:120]!r}" for i, pair in enumerate(pairs)]
