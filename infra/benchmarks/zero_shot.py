"""Zero-shot evaluation beside CLIP_benchmark 1.6.2: the same random weights in open_clip's layout, the same WebDataset, the
same machine; pictures a second, and the same accuracy.

Two models: one so small that decoding and resizing bound the run, and ViT-B/32, where the model does. Both sides are measured from
opening the model's folder to the figures (imports done, a run before, files in memory): the model read, the class names embedded,
the dataset opened, every picture read, decoded, resized, normalised and through the model, accuracies; ours also hashes the
pictures and writes features and intervals. A third row is the small model's whole command, from the start of a process to its end,
imports with it. CLIP_benchmark runs with 0, 2 and 4 loader processes, and its best counts. Ours runs with an empty feature store.
Last a second protocol, k-NN, on the same model in a run of its own: it decodes the pictures that it learns from, and not one more
of the test part, which is asserted.

About 5 minutes on two quiet cores; ZERO_SHOT_PICTURES (1313), ZERO_SHOT_LARGE (256) and ZERO_SHOT_REPEATS (3).
"""

import io
import json
import os
import random
import subprocess
import sys
import tarfile
import tempfile
import time
from pathlib import Path
from typing import Any

from evaluation_peers import EVALUATION_PEERS
from harness import Row, paired, peer, peer_python, write

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
PHOTOS = ROOT.parent / "shared" / "data" / "clothing-dataset-small"
PICTURES = int(os.environ.get("ZERO_SHOT_PICTURES", "1313"))
LARGE = int(os.environ.get("ZERO_SHOT_LARGE", "256"))
REPEATS = int(os.environ.get("ZERO_SHOT_REPEATS", "3"))
CORES = len(os.sched_getaffinity(0))
BATCH = 64
LEARNED = 100
NAMES = ["dress", "hat", "longsleeve", "outwear", "pants", "shirt", "shoes", "shorts", "skirt", "t-shirt"]
TEMPLATES = ["a photo of a {c}.", "a picture of a {c}.", "clothes: a {c}."]
MODELS = {
    "small": {
        "embed_dim": 64,
        "vision_cfg": {"image_size": 224, "layers": 1, "width": 64, "head_width": 32, "patch_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 2, "layers": 1},
    },
    "vit-b-32": {
        "embed_dim": 512,
        "vision_cfg": {"image_size": 224, "layers": 12, "width": 768, "patch_size": 32},
        "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 512, "heads": 8, "layers": 12},
    },
}


def photographs(count: int) -> list[tuple[str, bytes]]:
    """(class, JPEG) pairs; drawn noise of the same size where the photographs are not there."""
    if PHOTOS.is_dir():
        files = sorted(PHOTOS.rglob("*.jpg"))
        random.Random(0).shuffle(files)
        return [(files[n % len(files)].parent.name, files[n % len(files)].read_bytes()) for n in range(count)]
    import numpy as np
    from PIL import Image

    found = []
    for n in range(count):
        coarse = np.random.default_rng(n).integers(0, 256, (33, 25, 3), dtype=np.uint8)
        file = io.BytesIO()
        Image.fromarray(coarse).resize((400, 533), Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
        found.append((NAMES[n % len(NAMES)], file.getvalue()))
    return found


def write_webdataset(folder: Path, count: int) -> None:
    """CLIP_benchmark's layout, two shards of test pictures, and one of some to learn from."""
    folder.mkdir()
    (folder / "classnames.txt").write_text("\n".join(NAMES))
    (folder / "zeroshot_classification_templates.txt").write_text("\n".join(TEMPLATES))
    _write_split(folder / "test", photographs(count), 2)
    _write_split(folder / "train", photographs(LEARNED), 1)


def _write_split(folder: Path, samples: list[tuple[str, bytes]], shards: int) -> None:
    folder.mkdir()
    (folder / "nshards.txt").write_text(str(shards))
    for shard in range(shards):
        with tarfile.open(folder / f"{shard}.tar", "w") as tar:
            for number in range(shard, len(samples), shards):
                name, data = samples[number]
                for extension, content in (("jpg", data), ("cls", str(NAMES.index(name)).encode())):
                    member = tarfile.TarInfo(f"s{number:06d}.{extension}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def settings(case: str, folder: Path, protocols: tuple[str, ...] = ("zero_shot",)) -> dict[str, Any]:
    """What a recipe's `evaluate` section says."""
    return {
        "tasks": [str(folder / f"{case}.yaml")],
        "datasets": str(folder),
        "protocols": list(protocols),
        "batch_size": BATCH,
        "threads": CORES,
        "features": {"decoders": CORES},
    }


def ours(case: str, model: str, folder: Path) -> dict[str, float]:
    """Seconds from opening the model's folder to the figures; the feature store is empty."""
    from evaluation.config import EvaluateConfig
    from evaluation.run import evaluate

    features = tempfile.mkdtemp(dir=folder)
    config = EvaluateConfig.model_validate(settings(case, folder))
    start = time.perf_counter()
    report = evaluate(config, str(folder / model), features)
    seconds = time.perf_counter() - start
    if report.absent:
        raise SystemExit(report.absent[0]["reason"])
    top1 = next(score.value for score in report.scores if score.metric == "top1")
    return {"seconds": seconds, "acc1": top1}


def check_second_protocol(case: str, model: str, folder: Path) -> None:
    """Zero-shot, then k-NN in a run of its own: only the pictures that it learns from are decoded."""
    from evaluation.config import EvaluateConfig
    from evaluation.run import evaluate

    decoded = []
    for protocol in ("zero_shot", "knn"):
        config = EvaluateConfig.model_validate(settings(case, folder, (protocol,)))
        report = evaluate(config, str(folder / model), str(folder / "kept"))
        if report.absent:
            raise SystemExit(report.absent[0]["reason"])
        decoded.append(report.telemetry["pictures_decoded"])
    print(f"decoded by zero_shot, then by knn: {decoded}", file=sys.stderr)
    if decoded[1] != LEARNED:
        raise SystemExit(f"a second protocol decoded {decoded[1]} pictures, {LEARNED} of them to learn from")


def whole_command(words: list[str], said: str = "") -> float:
    """Seconds from the start of a process to its end."""
    start = time.perf_counter()
    subprocess.run(words, input=said, text=True, check=True, capture_output=True, cwd=ROOT)
    return time.perf_counter() - start


def whole_commands(case: str, folder: Path, job: Path, workers: int) -> tuple[float, float]:
    """Median seconds of ours and theirs on the small model, imports with it."""
    script = Path(__file__).parent / "peers" / "zero_shot_clip_benchmark.py"
    python = peer_python(EVALUATION_PEERS)
    config = folder / "evaluate.json"
    config.write_text(json.dumps(settings(f"{case}-photos", folder)), "utf-8")
    command = [sys.executable, "-m", "evaluation", "--checkpoint", str(folder / case), "--config", str(config), "--out"]
    return paired(
        lambda: whole_command([*command, tempfile.mkdtemp(dir=folder)]),
        lambda: whole_command([str(python), str(script), str(job)], f"run {case} {workers}\n"),
        REPEATS,
    )


def card(folder: Path, case: str) -> None:
    import yaml

    classes = {str(place): [name] for place, name in enumerate(NAMES)}
    value = {"folder": case, "layouts": ["webdataset"], "classes": classes,
             "templates": [template.replace("{c}", "{}") for template in TEMPLATES]}  # fmt: skip
    (folder / f"{case}.yaml").write_text(yaml.safe_dump(value))


def measured(case: str, count: int, folder: Path) -> list[Row]:
    """One model; of the small one the whole command too."""
    photos = folder / f"{case}-photos"
    write_webdataset(photos, count)
    card(folder, photos.name)
    job = {"folder": str(folder), "data": str(photos), "models": MODELS, "batch": BATCH, "threads": CORES}
    rows = []
    with peer("zero_shot_clip_benchmark", EVALUATION_PEERS, job, folder) as other:
        other.ask(f"make {case}")
        tried = {workers: other.ask(f"run {case} {workers}") for workers in (0, 2, 4)}
        workers = min(tried, key=lambda each: tried[each]["seconds"])
        mine = ours(photos.name, case, folder)
        print(f"{case}: accuracy {mine['acc1']:.6f}, CLIP_benchmark {tried[workers]['acc1']:.6f}", file=sys.stderr)
        if abs(mine["acc1"] - tried[workers]["acc1"]) > 1.5 / count:
            raise SystemExit(f"{case}: the accuracies differ; no speed is reported")
        seconds, theirs = paired(
            lambda: ours(photos.name, case, folder)["seconds"],
            lambda: other.ask(f"run {case} {workers}")["seconds"],
            REPEATS,
        )
    where = f"{case}, {count:,} photographs, the peer with {workers} loader processes"
    rows.append(Row(where, "zero-shot evaluation", "pictures/s", count / seconds, count / theirs, "CLIP_benchmark"))
    if case == "small":
        whole = whole_commands(case, folder, folder / "job.json", workers)
        where = f"{case}, the whole command with its imports"
        rows.append(Row(where, "zero-shot evaluation", "seconds", *whole, "CLIP_benchmark", higher_is_better=False))
    return rows


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = [*measured("small", PICTURES, folder), *measured("vit-b-32", LARGE, folder)]
        check_second_protocol("small-photos", "small", folder)
    data = (
        "photographs of clothing" if PHOTOS.is_dir() else "drawn noise"
    ) + f"; {CORES} threads, float32, batch {BATCH}"
    write("zero_shot", data, rows, {"CLIP_benchmark": "1.6.2", "open_clip": "3.3.0", "torch": "2.13.0"})


if __name__ == "__main__":
    main()
