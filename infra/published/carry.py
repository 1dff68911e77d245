"""Make evaluation/published/*.csv of open_clip's and CLIP_benchmark's own result tables.

    python infra/published/carry.py ../shared/data/reference

clip-paper.csv was written down by hand from the paper's tables 10 and 11. A column is a score's name, a row a model by
open_clip's name; what a table lacks is empty.
"""

import csv
import sys
from pathlib import Path

HERE = Path(__file__).parents[2] / "evaluation" / "published"

TASKS = {
    "ImageNet 1k": "imagenet",
    "ImageNet v2": "imagenetv2",
    "ImageNet-A": "imagenet-a",
    "ImageNet-R": "imagenet-r",
    "ImageNet Sketch": "imagenet-sketch",
    "ObjectNet": "objectnet",
    "Food-101": "food101",
    "CIFAR-10": "cifar10",
    "CIFAR-100": "cifar100",
    "SUN397": "sun397",
    "Stanford Cars": "cars",
    "FGVC Aircraft": "fgvc-aircraft",
    "Describable Textures": "dtd",
    "Oxford-IIIT Pet": "pets",
    "Caltech-101": "caltech101",
    "Oxford Flowers-102": "flowers102",
    "MNIST": "mnist",
    "STL-10": "stl10",
    "EuroSAT": "eurosat",
    "RESISC45": "resisc45",
    "GTSRB": "gtsrb",
    "KITTI Vehicle Distance": "kitti-distance",
    "Country211": "country211",
    "PatchCamelyon": "pcam",
    "CLEVR Counts": "clevr-counts",
    "Rendered SST2": "rendered-sst2",
    "SVHN": "svhn",
    "Pascal VOC 2007": "voc2007@datacomp",
}
"""open_clip's columns; what is not here is no task of ours."""

DATASETS = {
    "imagenet1k": "imagenet",
    "imagenetv2": "imagenetv2",
    "imagenet-a": "imagenet-a",
    "imagenet-r": "imagenet-r",
    "imagenet_sketch": "imagenet-sketch",
    "objectnet": "objectnet",
    "vtab/cifar10": "cifar10",
    "vtab/cifar100": "cifar100",
    "sun397": "sun397",
    "cars": "cars",
    "fgvc_aircraft": "fgvc-aircraft",
    "voc2007_multilabel": "voc2007",
    "vtab/dtd": "dtd",
    "vtab/pets": "pets",
    "vtab/caltech101": "caltech101",
    "vtab/flowers": "flowers102",
    "mnist": "mnist",
    "fer2013": "fer2013",
    "stl10": "stl10",
    "vtab/eurosat": "eurosat",
    "vtab/resisc45": "resisc45",
    "gtsrb": "gtsrb",
    "vtab/kitti_closest_vehicle_distance": "kitti-distance",
    "country211": "country211",
    "vtab/pcam": "pcam",
    "vtab/clevr_count_all": "clevr-counts",
    "renderedsst2": "rendered-sst2",
    "vtab/svhn": "svhn",
    "flickr30k": "flickr30k",
    "mscoco_captions": "coco",
}
"""CLIP_benchmark's data sets."""

PER_CLASS = ("fgvc-aircraft", "pets", "caltech101", "flowers102")
RETRIEVAL = {
    f"{there} {side} retr. R@{depth}": f"{task}/retrieval/recall@{depth}/{way}"
    for there, task in (("Flickr", "flickr30k"), ("MSCOCO", "coco"))
    for side, way in (("text", "image_to_text"), ("image", "text_to_image"))
    for depth in (1, 5, 10)
}


def main(place: Path) -> None:
    docs = place / "open_clip" / "docs"
    found: dict[str, dict[str, str]] = {}
    for row in rows(docs / "openclip_results.csv"):
        scores = found.setdefault(f"{row['name']} {row['pretrained']}", {})
        for there, task in TASKS.items():
            metric = "mean_per_class" if task in PER_CLASS else "top1"
            scores[f"{task}/zero_shot/{metric}/ensemble"] = row[there]
    for row in rows(docs / "openclip_retrieval_results.csv"):
        scores = found.setdefault(f"{row['name']} {row['pretrained']}", {})
        scores |= {name: row[there] for there, name in RETRIEVAL.items()}
    write("open-clip", found)
    found = {}
    for row in rows(place / "clip_benchmark" / "benchmark" / "benchmark.csv"):
        task = DATASETS.get(row["dataset"])
        if task is None:
            continue
        scores = found.setdefault(row["model_fullname"], {})
        kept = {
            f"{task}/zero_shot/top1/ensemble": row["acc1"],
            f"{task}/zero_shot/mean_per_class/ensemble": row["mean_per_class_recall"] if task in PER_CLASS else "",
            f"{task}/zero_shot/map/ensemble": row["mean_average_precision"],
            f"{task}/retrieval/recall@5/text_to_image": row["image_retrieval_recall@5"],
            f"{task}/retrieval/recall@5/image_to_text": row["text_retrieval_recall@5"],
        }
        scores |= {name: f"{float(value):.4f}" for name, value in kept.items() if value}
    write("clip-benchmark", found)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def write(table: str, found: dict[str, dict[str, str]]) -> None:
    columns = sorted({name for scores in found.values() for name in scores})
    with (HERE / f"{table}.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["model", *columns])
        for model, scores in sorted(found.items()):
            writer.writerow([model, *(scores.get(name, "") for name in columns)])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
