"""Zero-shot evaluation beside CLIP_benchmark 1.6.2: the same random weights in open_clip's layout, the same WebDataset, the
same machine; pictures a second from opening the model to the figures, and the same accuracy.

Two models: one so small that decoding and resizing bound the run, and ViT-B/32, where the model does. CLIP_benchmark runs with
0, 2 and 4 loader processes, and its best counts. Ours runs with an empty feature store; a second measurement of the same model
then decodes nothing, which is asserted.

About 5 minutes on two quiet cores; ZERO_SHOT_PICTURES (1313), ZERO_SHOT_LARGE (256) and ZERO_SHOT_REPEATS (3).
"""

import io
import os
import random
import shutil
import sys
import tarfile
import tempfile
import time
from pathlib import Path

from evaluation_peers import EVALUATION_PEERS
from harness import Row, paired, peer, write

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
PHOTOS = ROOT.parent / "shared" / "data" / "clothing-dataset-small"
PICTURES = int(os.environ.get("ZERO_SHOT_PICTURES", "1313"))
LARGE = int(os.environ.get("ZERO_SHOT_LARGE", "256"))
REPEATS = int(os.environ.get("ZERO_SHOT_REPEATS", "3"))
CORES = len(os.sched_getaffinity(0))
BATCH = 64
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
    """CLIP_benchmark's layout, two shards."""
    (folder / "test").mkdir(parents=True)
    (folder / "test" / "nshards.txt").write_text("2")
    (folder / "classnames.txt").write_text("\n".join(NAMES))
    (folder / "zeroshot_classification_templates.txt").write_text("\n".join(TEMPLATES))
    samples = photographs(count)
    for shard in (0, 1):
        with tarfile.open(folder / "test" / f"{shard}.tar", "w") as tar:
            for number in range(shard, len(samples), 2):
                name, data = samples[number]
                for extension, content in (("jpg", data), ("cls", str(NAMES.index(name)).encode())):
                    member = tarfile.TarInfo(f"s{number:06d}.{extension}")
                    member.size = len(content)
                    tar.addfile(member, io.BytesIO(content))


def ours(
    case: str, model: str, folder: Path, protocols: tuple[str, ...] = ("zero_shot",), keep: bool = False
) -> dict[str, float]:
    """Seconds from opening the model's folder to the figures; the feature store is empty unless it is kept."""
    from evaluation.config import EvaluateConfig
    from evaluation.features.config import FeaturesConfig
    from evaluation.run import evaluate

    features = folder / f"features-{case}" if keep else Path(tempfile.mkdtemp(dir=folder))
    config = EvaluateConfig(
        tasks=(str(folder / f"{case}.yaml"),),
        datasets=str(folder),
        protocols=("zero_shot",),
        batch_size=BATCH,
        threads=CORES,
        features=FeaturesConfig(decoders=CORES),
    )
    start = time.perf_counter()
    report = evaluate(config, str(folder / model), str(features))
    seconds = time.perf_counter() - start
    if report.absent:
        raise SystemExit(report.absent[0]["reason"])
    top1 = next(score.value for score in report.scores if score.metric == "top1")
    return {"seconds": seconds, "acc1": top1, "decoded": report.telemetry["pictures_decoded"]}


def card(folder: Path, case: str) -> None:
    import yaml

    classes = {str(place): [name] for place, name in enumerate(NAMES)}
    value = {"folder": case, "layouts": ["webdataset"], "classes": classes,
             "templates": [template.replace("{c}", "{}") for template in TEMPLATES]}  # fmt: skip
    (folder / f"{case}.yaml").write_text(yaml.safe_dump(value))


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rows = []
        for case, count in (("small", PICTURES), ("vit-b-32", LARGE)):
            write_webdataset(folder / f"{case}-photos", count)
            card(folder, f"{case}-photos")
            job = {
                "folder": name,
                "data": str(folder / f"{case}-photos"),
                "models": MODELS,
                "batch": BATCH,
                "threads": CORES,
            }
            with peer("zero_shot_clip_benchmark", EVALUATION_PEERS, job, folder) as other:
                other.ask(f"make {case}")
                tried = {workers: other.ask(f"run {case} {workers}") for workers in (0, 2, 4)}
                workers = min(tried, key=lambda each: tried[each]["seconds"])
                mine = ours(f"{case}-photos", case, folder)
                print(
                    f"{case}: accuracy {mine['acc1']:.6f}, CLIP_benchmark {tried[workers]['acc1']:.6f}", file=sys.stderr
                )
                if abs(mine["acc1"] - tried[workers]["acc1"]) > 1.5 / count:
                    raise SystemExit(f"{case}: the accuracies differ; no speed is reported")
                seconds, theirs = paired(
                    lambda c=case: ours(f"{c}-photos", c, folder)["seconds"],
                    lambda c=case, w=workers: other.ask(f"run {c} {w}")["seconds"],
                    REPEATS,
                )
            where = f"{case}, {count:,} photographs, the peer with {workers} loader processes"
            rows.append(
                Row(where, "zero-shot evaluation", "pictures/s", count / seconds, count / theirs, "CLIP_benchmark")
            )
        ours("small-photos", "small", folder, keep=True)
        shutil.rmtree(folder / "features-small-photos" / "findings")
        again = ours("small-photos", "small", folder, keep=True)
        if again["decoded"]:
            raise SystemExit(f"a second evaluation of the same model decoded {again['decoded']} pictures")
    data = (
        "photographs of clothing" if PHOTOS.is_dir() else "drawn noise"
    ) + f"; {CORES} threads, float32, batch {BATCH}"
    write("zero_shot", data, rows, {"CLIP_benchmark": "1.6.2", "open_clip": "3.3.0", "torch": "2.13.0"})


if __name__ == "__main__":
    main()
