"""The peer of layouts: what torchvision and CLIP_benchmark read from the folders of a job.

Runs in an environment with EVALUATION_PEERS. The word is a case; the answer is [label, hash of the RGB pixels] per picture, in
the peer's order. Checksums of whole archives are not looked at: the folders are miniatures.
"""

import hashlib
import json
import sys
from contextlib import redirect_stdout
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from torch_peers import PREPARE

exec(PREPARE)

import torchvision.datasets as tv  # noqa: E402

for _name, _module in list(sys.modules.items()):
    if _name.startswith("torchvision.datasets.") and hasattr(_module, "check_integrity"):
        _module.check_integrity = lambda *given, **named: True


def seen(picture):
    picture = picture.convert("RGB")
    return hashlib.sha256(bytes(f"{picture.size}", "ascii") + picture.tobytes()).hexdigest()


def named(dataset):
    return [[dataset.classes[label], seen(picture)] for picture, label in dataset]


def numbered(dataset, first=0):
    return [[str(label + first), seen(picture)] for picture, label in dataset]


def objects(dataset):
    rows = []
    for picture, target in dataset:
        found = target["annotation"]["object"]
        easy = {each["name"] for each in found if each["difficult"] != "1"}
        rows.append([sorted(easy), seen(picture)])
    return rows


def tars(folder):
    from clip_benchmark.datasets.builder import build_wds_dataset

    rows = []
    for picture, label in build_wds_dataset("x", lambda each: each, split="test", data_dir=folder):
        if hasattr(label, "nonzero"):
            label = [str(number) for number in label.nonzero()[0]]
        rows.append([label if isinstance(label, list) else str(label), seen(picture)])
    return rows


CASES = {
    "cifar10": lambda at: named(tv.CIFAR10(at, train=False)),
    "cifar100": lambda at: named(tv.CIFAR100(at, train=False)),
    "mnist": lambda at: numbered(tv.MNIST(at, train=False)),
    "svhn": lambda at: numbered(tv.SVHN(at, "test")),
    "stl10": lambda at: named(tv.STL10(at, "test")),
    "stl10 fold 3": lambda at: named(tv.STL10(at, "train", folds=3)),
    "food101": lambda at: named(tv.Food101(at, "test")),
    "dtd": lambda at: named(tv.DTD(str(Path(at).parent), "test")),
    "pets": lambda at: named(tv.OxfordIIITPet(at, "trainval")),
    "flowers102": lambda at: numbered(tv.Flowers102(at, "test"), 1),
    "fgvc-aircraft": lambda at: named(tv.FGVCAircraft(at, "trainval")),
    "cars": lambda at: numbered(tv.StanfordCars(at, "test"), 1),
    "sun397@datacomp": lambda at: named(tv.SUN397(at)),
    "country211": lambda at: named(tv.Country211(at, "test")),
    "clevr-counts": lambda at: numbered(tv.CLEVRClassification(str(Path(at).parent), "val")),
    "rendered-sst2": lambda at: named(tv.RenderedSST2(at, "test")),
    "gtsrb": lambda at: numbered(tv.GTSRB(at, "test")),
    "fer2013": lambda at: numbered(tv.FER2013(str(Path(at).parent), "train")),
    "voc2007": lambda at: objects(tv.VOCDetection(at, "2007", "test")),
    "imagenet-a": lambda at: named(tv.ImageFolder(str(Path(at) / "imagenet-a"))),
    "image-folder": lambda at: named(tv.ImageFolder(str(Path(at) / "test"))),
    "webdataset": tars,
    "webdataset-multilabel": tars,
    "webdataset-retrieval": tars,
}

job = json.loads(Path(sys.argv[1]).read_text())
for line in sys.stdin:
    word = line.strip()
    if word == "versions":
        answer = {name: metadata.version(name) for name in ("torchvision", "clip-benchmark")}
    else:
        with redirect_stdout(sys.stderr):  # CLIP_benchmark's warnings
            answer = {"rows": CASES[word](job[word])}
    print(json.dumps(answer), flush=True)
