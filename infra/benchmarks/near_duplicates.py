"""Near duplicates: hashes within a Hamming radius beside imagededup, near captions beside datasketch.

Every pair that a search of ours gives is checked: all of them against the peer's on a small set, on the large set those of
a sample of rows against a comparison with every other row. imagededup compares all with all, so its time for the large set
is its measured seconds per query there, times the number of queries. Which copies of pictures are found: near_pictures.
Sizes: NEAR_HASHES, NEAR_PEER_HASHES, NEAR_CAPTIONS, NEAR_REPEATS.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import near_rows
import numpy as np
from harness import Row, cpu_seconds, paired, peer, write
from planted_variants import SHARED

from pipeline.duplicates.config import CaptionConfig
from pipeline.duplicates.hamming import near_pairs
from pipeline.duplicates.minhash import band_keys, link, recall
from pipeline.duplicates.shingles import Shingled, plain

HASHES, PEER_HASHES, CAPTIONS, REPEATS = (
    int(os.environ.get(f"NEAR_{name}", default))
    for name, default in (("HASHES", 1_000_000), ("PEER_HASHES", 20_000), ("CAPTIONS", 20_000), ("REPEATS", 3))
)  # fmt: skip
IMAGEDEDUP, IMAGEDEDUP_VERSION = "imagededup_phash", "0.3.3.post2"
# Without its own dependencies: it asks for torch and torchvision, which its hashes do not use.
IMAGEDEDUP_NEEDS = [
    "--no-deps", f"imagededup=={IMAGEDEDUP_VERSION}", "cloudpickle==3.1.2", "contourpy==1.3.3", "cycler==0.12.1",
    "fonttools==4.68.0", "joblib==1.6.0", "kiwisolver==1.5.1", "matplotlib==3.11.2", "narwhals==2.28.0", "numpy==2.4.6",
    "packaging==26.3", "pillow==12.3.0", "pyparsing==3.3.3", "python-dateutil==4.0.0", "PyWavelets==1.9.0",
    "scikit-learn==1.9.1", "scipy==1.17.1", "six==1.17.0", "threadpoolctl==3.8.0", "tqdm==4.70.1",
]  # fmt: skip
DATASKETCH, DATASKETCH_VERSION = "datasketch_minhash", "2.0.0"


def asked(other: Any, **order: Any) -> dict[str, Any]:
    answer: dict[str, Any] = other.ask(json.dumps(order))
    return answer


def searches(folder: Path) -> list[Row]:
    """20,000 hashes with the same pairs found, then a million."""
    rows = []
    path = folder / "hashes.npy"
    hashes = near_rows.hashes(HASHES, 12)
    np.save(path, hashes)
    near_pairs(hashes[:100], 3)  # compiles
    with peer(IMAGEDEDUP, IMAGEDEDUP_NEEDS, {"hashes": str(path)}, folder) as other:
        few = hashes[:PEER_HASHES]
        for radius in (3, 10):
            ours = near_pairs(few, radius)
            theirs = asked(other, do="search", count=len(few), radius=radius)
            if {tuple(sorted(map(int, pair))) for pair in theirs["pairs"]} != set(map(tuple, ours.tolist())):
                raise SystemExit(f"radius {radius}: the pairs differ from imagededup's; no speed is reported")
            times = paired(
                lambda r=radius: cpu_seconds(lambda: near_pairs(few, r)),
                lambda r=radius: asked(other, do="search", count=len(few), radius=r)["seconds"],
                REPEATS,
            )
            case = f"{len(few):,} hashes, radius {radius}, {len(ours):,} pairs"
            rows.append(Row(case, "search", "CPU s", *times, "imagededup", higher_is_better=False))
        queries = 20
        each = asked(other, do="query", count=len(hashes), queries=queries, radius=3)["seconds"] / queries
    for radius in (3, 7):
        seconds = cpu_seconds(lambda r=radius: near_pairs(hashes, r))
        found = near_pairs(hashes, radius)
        check_complete(hashes, found, radius)
        case = f"{len(hashes):,} hashes, radius {radius}, {len(found):,} pairs"
        peer_name = "imagededup, seconds per query x rows"
        rows.append(Row(case, "search", "CPU s", seconds, each * len(hashes), peer_name, higher_is_better=False))
        spent = whole_phase(folder, radius)
        case = f"{HASHES:,} rows with thumbnails, radius {radius}"
        what = f"whole phase in one process, peak {spent['peak_mebibytes']:,.0f} MiB, {spent['fell']:,} fall"
        rows.append(Row(case, what, "CPU s", spent["seconds"], each * len(hashes), peer_name, higher_is_better=False))
    return rows


def check_complete(hashes: np.ndarray, found: np.ndarray, radius: int, sample: int = 1000) -> None:
    """The pairs of some rows are those that a comparison with every row finds."""
    chosen = np.random.default_rng(1).choice(len(hashes), min(sample, len(hashes)), replace=False)
    chosen[: len(chosen) // 2] = np.unique(found)[: len(chosen) // 2]  # and rows that do have partners
    for row in np.unique(chosen).tolist():
        wanted = np.flatnonzero(np.bitwise_count(hashes ^ hashes[row]) <= radius)
        mine = found[(found == row).any(axis=1)]
        if set(mine.ravel().tolist()) | {row} != set(wanted.tolist()):
            raise SystemExit(f"row {row}: its pairs within {radius} bits are not those of a comparison with all rows")


def whole_phase(folder: Path, radius: int) -> dict[str, Any]:
    """`deduplicate` over made-up rows in a process of its own: CPU seconds, peak memory, rows that fell."""
    command = [sys.executable, str(Path(near_rows.__file__))]
    if not (folder / "phase").exists():
        subprocess.run([*command, "make", str(HASHES), str(folder / "phase")], check=True)
    done = subprocess.run(
        [*command, "run", str(radius), str(folder / "phase")], check=True, stdout=subprocess.PIPE, text=True
    )
    spent: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return spent


def captions(folder: Path) -> list[Row]:
    """Captions of CC3M, a tenth of them planted again with one word changed."""
    config = CaptionConfig(scope="everywhere", minimum_words=1, numbers_agree=False)  # what datasketch does
    texts, planted = near_rows.captions(CAPTIONS, SHARED)
    texts = [plain(text) for text in texts]
    job = {"texts": texts, "size": config.shingle_size, "bands": config.bands, "rows": config.rows_per_band}
    few = Shingled.of(texts[:9], config)
    joined(few, band_keys(few, config.bands, config.rows_per_band), config)  # compiles
    with peer(DATASKETCH, [f"datasketch=={DATASKETCH_VERSION}"], job, folder) as other:
        sign = paired(
            lambda: cpu_seconds(lambda: band_keys(Shingled.of(texts, config), config.bands, config.rows_per_band)),
            lambda: other.ask("sign")["seconds"],
            REPEATS,
        )
        linked = other.ask("link")["seconds"]
        theirs = {tuple(pair) for pair in other.ask("answer")["pairs"]}
    hashed = Shingled.of(texts, config)
    near = {pair for pair in planted if hashed.jaccard(*pair) >= config.jaccard}
    keys = band_keys(hashed, config.bands, config.rows_per_band)
    start = cpu_seconds(lambda: joined(hashed, keys, config))
    ours = joined(hashed, keys, config)
    expected = float(np.mean([recall(hashed.jaccard(*pair), config.bands, config.rows_per_band) for pair in near]))
    case = f"{len(texts):,} captions"
    edits = f"recall of {len(near):,} one-word edits with Jaccard 0.8 (formula: {expected:.4f})"
    return [
        Row(case, "shingles and signatures", "captions per CPU s", len(texts) / sign[0], len(texts) / sign[1], "datasketch"),
        Row(case, "near pairs from signatures (ours: verified)", "captions per CPU s", len(texts) / start,
            len(texts) / linked, "datasketch"),
        Row(case, edits, "share", len(near & ours) / len(near), len(near & theirs) / len(near), "datasketch"),
    ]  # fmt: skip


def joined(hashed: Shingled, keys: np.ndarray, config: CaptionConfig) -> set[tuple[int, int]]:
    """All pairs within the clusters that verified edges make."""
    nodes = np.repeat(np.arange(len(keys)), config.bands)
    edges = link(hashed, np.arange(len(keys)), keys.ravel(), nodes, config.jaccard)
    return near_rows.within_clusters(edges)


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [*searches(folder), *captions(folder)]
    data = "random hashes with planted neighbours at 0 to 12 bits; CC3M captions"
    write("near_duplicates", data, rows, {"imagededup": IMAGEDEDUP_VERSION, "datasketch": DATASKETCH_VERSION})


if __name__ == "__main__":
    main()
