"""Which changed copies of evaluation pictures are found, and how fast: photographs of ../shared beside imagededup's pHash.

    evaluation set   clothing-dataset-small/test, its variants indexed, thresholds measured (`auto`) on planted copies
    planted          every picture under each of 17 changes, drawn anew: another seed than the thresholds were measured with
    distractors      the train photographs of the same set, and the pictures of the OpenStax books

`embeddings` adds those of a small tower that taught_tower.py teaches on the validation photographs, which are in neither.
`fixed` is the same index at radius 7 and thumbnail distance 10; imagededup hashes the very same files and compares all with
all within 10 bits, its default. A planted copy is found when it meets its own picture; a distractor that meets any is a
false alarm: for ours by the whole phase, as a recipe runs it. The speed is that of the search among random hashes, whose
pairs are checked against a comparison with every reference. Last, `auto` once more with one evaluation picture turned upside
down among the training rows, which must not spoil the thresholds that are measured beside these. Sizes: OVERLAP_PICTURES,
OVERLAP_REFERENCES, OVERLAP_ROWS, OVERLAP_STEPS.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from harness import cpu_seconds, peer, write_facts
from PIL import Image

from orchestration.scorer_table import SCORERS
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import Fate, Output, PhaseResult, WorkItem, run_items
from pipeline.overlap.changes import CHANGES, VARIANTS, plant
from pipeline.overlap.decontaminate import decontaminate
from pipeline.overlap.decontaminate_config import DecontaminateConfig
from pipeline.overlap.lookup import Table
from pipeline.overlap.reference_sets import given_set
from pipeline.overlap.references import Indexing, build_index
from pipeline.pictures.picture_config import PictureConfig
from pipeline.pictures.picture_row import picture_row
from pipeline.sample import pair_uid
from pipeline.scoring.score_pixels import squares
from pipeline.scoring.scorers import Scorer, ScorerConfig, make_scorer

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
PICTURES = int(os.environ.get("OVERLAP_PICTURES", "100000"))
REFERENCES = int(os.environ.get("OVERLAP_REFERENCES", "1000000"))
ROWS = int(os.environ.get("OVERLAP_ROWS", "100000"))
STEPS = int(os.environ.get("OVERLAP_STEPS", "400"))
WAYS: dict[str, dict[str, Any]] = {"auto": {}, "embeddings": {"embeddings": True}, "fixed": {"thresholds": "fixed"}}
SUFFIXES = (".jpg", ".jpeg", ".png")
IMAGEDEDUP, IMAGEDEDUP_VERSION, IMAGEDEDUP_BITS = "imagededup_phash", "0.3.3.post2", 10
# Without its own dependencies: it asks for torch and torchvision, which its hashes do not use.
IMAGEDEDUP_NEEDS = [
    "--no-deps", f"imagededup=={IMAGEDEDUP_VERSION}", "numpy==2.4.6", "pillow==12.3.0", "tqdm", "scikit-learn", "scipy", "joblib",
    "threadpoolctl", "cloudpickle", "narwhals", "PyWavelets", "matplotlib", "contourpy", "cycler", "fonttools",
    "kiwisolver", "packaging", "pyparsing", "python-dateutil", "six",
]  # fmt: skip
SCHEMA = pa.schema(
    [(name, pa.string()) for name in ("uid", "url", "text")]
    + [("phash", pa.uint64()), ("phash256", pa.binary()), ("thumbnail8", pa.binary())]
)


def pictures_below(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in SUFFIXES)[:PICTURES]


def lay_out(folder: Path) -> int:
    """The set, its planted copies and the distractors as files: r-NUMBER, p-NUMBER-CHANGE, d-NUMBER; how many of the first."""
    (folder / "set").mkdir()
    (folder / "all").mkdir()
    references = pictures_below(SHARED / "clothing-dataset-small" / "test")
    for number, path in enumerate(references):
        name = f"r-{number:05d}{path.suffix}"
        (folder / "set" / name).write_bytes(path.read_bytes())
        (folder / "all" / name).write_bytes(path.read_bytes())
        with Image.open(path) as stored:
            picture = stored.convert("RGB")
        for change in CHANGES:
            plant(picture, change, f"benchmark/{number}").save(
                folder / "all" / f"p-{number:05d}-{change}.png", compress_level=1
            )
    distractors = pictures_below(SHARED / "clothing-dataset-small" / "train") + pictures_below(SHARED / "openstax")
    for number, path in enumerate(distractors):
        (folder / "all" / f"d-{number:05d}{path.suffix}").write_bytes(path.read_bytes())
    return len(references)


def training_rows(folder: Path) -> pa.Table:
    """Planted copies and distractors, described as the fetch phase describes pictures."""
    header = PictureConfig(maximum_aspect_ratio=100.0).picture_header()
    rows = []
    for path in sorted(folder.iterdir()):
        facts = picture_row(header, path.read_bytes(), "look") if path.name[0] in "pd" else {}
        if "phash" in facts:
            rows.append({"uid": pair_uid(path.name, ""), "url": path.name, "text": ""} | facts)
    return pa.Table.from_pylist([{name: row[name] for name in SCHEMA.names} for row in rows], schema=SCHEMA)


def upside_down(folder: Path) -> pa.Table:
    """The first evaluation picture turned by 180 degrees, as a training row."""
    with Image.open(next(folder.glob("r-00000.*"))) as stored:
        turned = stored.convert("RGB").transpose(Image.Transpose.ROTATE_180)
    sink = io.BytesIO()
    turned.save(sink, "PNG")
    facts = picture_row(PictureConfig(maximum_aspect_ratio=100.0).picture_header(), sink.getvalue(), "look")
    row = {"uid": pair_uid("u-00000.png", ""), "url": "u-00000.png", "text": ""} | facts
    return pa.Table.from_pylist([{name: row[name] for name in SCHEMA.names}], schema=SCHEMA)


def phase_of(rows: pa.Table, folder: str) -> PhaseResult:
    fate = {"pairs": Fate(rows.num_rows, rows.num_rows)}
    records = run_items(folder, lambda _: Output({"kept": rows}, fate), [WorkItem("rows", 0, 0)], InProcess())
    return PhaseResult.of_records("given", folder, records)


def tower(folder: Path) -> Scorer:
    """Taught in a process of its own, and read as a recipe's scorer."""
    job = folder / "taught.json"
    pictures = [str(path) for path in pictures_below(SHARED / "clothing-dataset-small" / "validation")]
    job.write_text(json.dumps({"pictures": pictures, "steps": STEPS, "folder": str(folder / "taught")}), "utf-8")
    subprocess.run([sys.executable, str(Path(__file__).with_name("taught_tower.py")), str(job)], check=True)
    config = ScorerConfig(scorer="clip_similarity", checkpoint=str(folder / "taught"), store_embedding=True)
    return make_scorer(0, config, SCORERS["clip_similarity"])


def embedded(rows: pa.Table, folder: Path, scorer: Scorer) -> pa.Table:
    """The rows with a column `embedding`, as the score phase writes it."""
    names, size, made = rows.column("url").to_pylist(), scorer.resources.batch_size, []
    for start in range(0, len(names), size):
        pixels_BSS3, _ = squares(scorer.pixels, [(folder / name).read_bytes() for name in names[start : start + size]])
        made += list(scorer(pixels_BSS3, [""] * len(pixels_BSS3)).embeddings.astype(np.float16))
    return rows.append_column("embedding", pa.array(made, pa.list_(pa.float16())))


def ours(rows: pa.Table, folder: Path, name: str, **settings: Any) -> tuple[dict[str, str], float]:
    """(name of each found row -> the picture it met, CPU seconds of the phase), both of the recipe's own phase."""
    config = DecontaminateConfig(**settings)
    source, out = phase_of(rows, str(folder / f"rows-{name}")), str(folder / f"out-{name}")
    start = time.process_time()
    result = decontaminate(config, source, str(folder / "index"), out, InProcess())
    seconds = time.process_time() - start
    words = result.read_dropped()
    met = [words.column("url").to_pylist(), words.column("evidence").to_pylist()]
    return {name: evidence.split(" ")[1].split(":")[0] for name, evidence in zip(*met, strict=True)}, seconds


def imagededup(folder: Path) -> dict[str, set[str]]:
    """Name of each picture that is no reference -> the references within imagededup's default of 10 bits."""
    with peer(IMAGEDEDUP, IMAGEDEDUP_NEEDS, {"folder": str(folder / "all")}, folder) as other:
        other.ask(json.dumps({"do": "encode"}))
        pairs = other.ask(json.dumps({"do": "search", "radius": IMAGEDEDUP_BITS}))["pairs"]
    met: dict[str, set[str]] = {}
    for pair in pairs:
        (reference, *rest), strangers = [n for n in pair if n[0] == "r"] or [""], [n for n in pair if n[0] != "r"]
        if reference and not rest and len(strangers) == 1:
            met.setdefault(strangers[0], set()).add(reference)
    return met


def tally(found: dict[str, set[str]], references: int, distractors: int) -> list[str]:
    """Per cent found for each change and all, false alarms, and precision when each picture is planted once."""
    hits: dict[str, int] = dict.fromkeys(CHANGES, 0)
    wrong = 0
    for name, met in found.items():
        if name[0] == "p":
            _, number, change = name.rsplit(".", 1)[0].split("-")
            own = any(reference.startswith(f"r-{number}") for reference in met)
            hits[change] += own
            wrong += not own
    alarms = sum(name[0] == "d" for name in found)
    mean = sum(hits.values()) / len(CHANGES)
    false = alarms + wrong / len(CHANGES)
    cells = [f"{100 * hits[change] / references:.1f}" for change in CHANGES] + [f"{100 * mean / references:.1f}"]
    return [*cells, f"{alarms} of {distractors:,}", f"{mean / max(mean + false, 1e-9):.4f}"]


def speed() -> list[tuple[str, str]]:
    """The search alone, in one thread, over random hashes with planted neighbours."""
    draw = np.random.default_rng(0)
    references = draw.integers(0, 2**64, REFERENCES, dtype=np.uint64)
    rows = draw.integers(0, 2**64, ROWS, dtype=np.uint64)
    near = draw.choice(REFERENCES, ROWS // 100)
    rows[: len(near)] = references[near] ^ np.uint64(0b1010001)
    check = rows[: min(200, ROWS)]
    found = []
    for radius in (7, 11):
        pairs = {
            pair for i, j in Table(check).pairs(references, radius) for pair in zip(i.tolist(), j.tolist(), strict=True)
        }
        brute: set[Any] = set()
        comparing = cpu_seconds(
            lambda r=radius, b=brute: [
                b.update((i, int(j)) for j in np.flatnonzero(np.bitwise_count(references ^ row) <= r))
                for i, row in enumerate(check)
            ]
        )
        if pairs != brute:
            raise SystemExit(
                f"radius {radius}: the pairs differ from those of comparing all with all; no speed is reported"
            )
        looking = cpu_seconds(lambda r=radius: sum(len(i) for i, _ in Table(rows).pairs(references, r)))
        case = f"rows/s per core against {REFERENCES:,} hashes, radius {radius}"
        found.append((case, f"{ROWS / looking:,.0f} (numpy, all with all: {len(check) / comparing:,.0f})"))
    return found


def main() -> None:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        count = lay_out(folder)
        scorer = tower(folder)
        one = given_set(str(folder / "set"))
        build_index(
            [one],
            Indexing(tuple(VARIANTS), DecontaminateConfig().calibration_pictures, 0, scorer, ("same", "flip")),
            str(folder / "index"),
            InProcess(),
        )
        rows = embedded(training_rows(folder / "all"), folder / "all", scorer)
        distractors = sum(name.startswith("d-") for name in rows.column("url").to_pylist())
        columns, times = [], []
        for name, settings in WAYS.items():
            found, seconds = ours(rows, folder, name, **settings)
            columns.append(tally({name: {met} for name, met in found.items()}, count, distractors))
            times.append(f"{rows.num_rows / seconds:,.0f}")
        columns.append(tally(imagededup(folder), count, distractors))
        spoiled = pa.concat_tables([rows.select(SCHEMA.names), upside_down(folder / "all")])
        found, _ = ours(spoiled, folder, "spoiled")
        beside = tally({name: {met} for name, met in found.items()}, count, distractors)
    names = [f"{change}, found in per cent" for change in CHANGES]
    names += ["all changes, found in per cent", "false alarms", "precision, each picture planted once"]
    table = [list(row) for row in zip(names, *columns, strict=True)]
    told = "all changes, with one picture upside down in the training data"
    table.append([f"{told}, found in per cent", beside[len(CHANGES)], "", "", ""])
    table.append([f"{told}, false alarms", beside[len(CHANGES) + 1], "", "", ""])
    table.append([f"rows/s per core, the phase on {count * len(VARIANTS):,} variants", *times, "-"])
    table += [[case, figure, "", "", ""] for case, figure in speed()]
    data = f"{count} test photographs of clothing-dataset-small, {count * len(CHANGES):,} planted copies of them"
    data += f" and {distractors:,} distractors"
    headings = ["what", "ours, thresholds auto", "ours, auto, with embeddings", "ours, fixed (7 bits, 10 levels)"]
    headings.append("imagededup pHash, 10 bits")
    write_facts("decontamination", data, headings, table, {"imagededup": IMAGEDEDUP_VERSION})


if __name__ == "__main__":
    main()
