"""Readers of layouts beside torchvision's and CLIP_benchmark's: the same pictures, labels and order from the same folders.

Data: the miniatures of tests/miniatures, in the layouts in which the datasets are published.
"""

import hashlib
import re
import sys
import tempfile
from pathlib import Path
from typing import Any

from evaluation_peers import EVALUATION_PEERS
from harness import peer, write_facts
from PIL import Image

sys.path.insert(0, str(Path(__file__).parents[2] / "tests"))
from miniatures import make

from evaluation.pictures.pictures import Pictures
from evaluation.pictures.table import LAYOUTS

CASES = {
    **{name: (name, "test") for name in ("cifar10", "cifar100", "mnist", "svhn", "stl10", "food101", "dtd")},
    "stl10 fold 3": ("stl10", "fold-3"),
    "pets": ("pets", "train"),
    **{name: (name, "test") for name in ("flowers102", "cars", "country211", "clevr-counts", "rendered-sst2", "gtsrb")},
    "fgvc-aircraft": ("fgvc-aircraft", "trainval"),
    "sun397@datacomp": ("sun397@datacomp", "test"),
    "fer2013": ("fer2013", "train"),
    **{name: (name, "test") for name in ("voc2007", "imagenet-a", "image-folder")},
    **{name: (name, "test") for name in ("webdataset", "webdataset-multilabel", "webdataset-retrieval")},
}
"""Case -> the miniature and the split that is compared."""
HEADINGS = ("layout", "peer", "pictures", "equal pixels", "equal labels", "equal order")


def seen(picture: Image.Image) -> str:
    picture = picture.convert("RGB")
    return hashlib.sha256(bytes(f"{picture.size}", "ascii") + picture.tobytes()).hexdigest()


def plain(label: Any) -> Any:
    """torchvision spells classes its own way: "Abyssinian", "American Bulldog", "apartment_building/outdoor"."""
    if isinstance(label, (list, tuple)):
        return [plain(each) for each in label]
    return re.sub(r"[\W_]+", " ", re.sub(r"^/\w/", "", str(label))).strip().casefold()


def ours(pictures: Pictures, column: str) -> list[list[Any]]:
    return [[label, seen(pictures.read(at))] for at, label in enumerate(pictures.columns[column])]


def main() -> None:
    rows = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        made = {case: make(name, folder / case / _called(name)) for case, (name, _) in CASES.items()}
        job = {case: str(folder / case / _called(name)) for case, (name, _) in CASES.items()}
        with peer("layouts", EVALUATION_PEERS, job, folder) as theirs:
            versions = theirs.ask("versions")
            for case, (_, split) in CASES.items():
                pictures = LAYOUTS[made[case].layout].open(job[case], split)
                mine, other = ours(pictures, made[case].column), theirs.ask(case)["rows"]
                pixels = sorted(each for _, each in mine) == sorted(each for _, each in other)
                mine, other = ([[plain(label), each] for label, each in part] for part in (mine, other))
                labels = sorted(mine, key=str) == sorted(other, key=str)
                name = "clip-benchmark" if case.startswith("webdataset") else "torchvision"
                rows.append((case, name, len(mine), pixels, labels, mine == other))
                print(*rows[-1])
    write_facts("layouts", "miniatures in the official layouts (tests/miniatures)", HEADINGS, rows, versions)


def _called(name: str) -> str:
    """The folder's name, where torchvision asks for one."""
    return {"clevr-counts": "clevr"}.get(name, name)


if __name__ == "__main__":
    main()
