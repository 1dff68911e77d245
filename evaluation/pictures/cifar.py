"""CIFAR-10 and CIFAR-100 (Krizhevsky 2009): the Python version's pickles and the binary version; CIFAR-10.1; CIFAR-10/100-C.

The pickles are read without unpickling (plain_pickle.py). Either way a picture is 3,072 bytes, red, green and blue plane,
read in place. CIFAR-10.1 (Recht et al. 2018) and CIFAR-C (Hendrycks and Dietterich 2019) are numpy files of (N, 32, 32, 3)
with numbers as labels, which are CIFAR's. CIFAR-C has one file per corruption, its five severities one after the other:
split "fog/3" is one of the 95, "test" all that are there, with columns `corruption` and `severity`.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.pictures import plain_pickle
from evaluation.pictures.decoding import of_array
from evaluation.pictures.folder import Folder
from evaluation.pictures.imagenet import KINDS
from evaluation.pictures.layout import Either, Reader
from evaluation.pictures.lazy import Lazy
from evaluation.pictures.npy import rows_of
from evaluation.pictures.pictures import Absent, Broken, Pictures
from pipeline import storage

TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
"""The names of batches.meta by number; the files of CIFAR-10.1 and CIFAR-10-C bring none along."""
_HUNDRED = """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can
    castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin
    elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower leopard lion lizard lobster
    man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck
    pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew skunk
    skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger
    tractor train trout tulip turtle wardrobe whale willow_tree wolf woman worm
"""
HUNDRED = tuple(_HUNDRED.split())
"""The fine names of CIFAR-100's meta by number, for CIFAR-100-C."""
PIXELS = 3 * 32 * 32
SEVERITIES = 5


_Run = tuple[str, int, int, int]


class _Planes:
    """Pictures as planes in files: (file, offset of its first picture, bytes from one to the next, their number); `held` has
    those of files in which a picture is not stored byte by byte."""

    def __init__(self, home: Folder, runs: Sequence[_Run], held: Mapping[str, bytes]) -> None:
        self._home, self._runs, self._held = home, runs, held
        self._starts = np.cumsum([0, *(count for *_, count in runs)])

    def __getitem__(self, index: int) -> NDArray[np.uint8]:
        run = int(np.searchsorted(self._starts, index, "right")) - 1
        name, offset, step, _ = self._runs[run]
        start = offset + (index - int(self._starts[run])) * step
        data = self._held[name][start : start + PIXELS] if name in self._held else self._home.read(name, start, PIXELS)
        return np.frombuffer(data, np.uint8).reshape(3, 32, 32).transpose(1, 2, 0)


def _pickled(
    files: dict[str, tuple[str, ...]], label: str, meta: tuple[str, str], home: Folder, split: str
) -> Pictures:
    meta_file, key = meta
    names = plain_pickle.load(home.read(meta_file), home.at(meta_file)).get(key)
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise Broken(f"{home.at(meta_file)}: has no list of words '{key}'")
    numbers: list[int] = []
    runs: list[_Run] = []
    held: dict[str, bytes] = {}
    for file in files[split]:
        batch = plain_pickle.load(home.read(file), home.at(file))
        data, labels = batch.get("data"), batch.get(label)
        if not isinstance(data, plain_pickle.Array) or data.shape[1:] != (PIXELS,) or not isinstance(labels, list):
            raise Broken(f"{home.at(file)}: has no 'data' of {PIXELS} bytes a picture and '{label}'")
        if len(labels) != data.shape[0]:
            raise Broken(f"{home.at(file)}: has {data.shape[0]:,} pictures and {len(labels):,} labels")
        runs.append((file, data.offset, PIXELS, data.shape[0]))
        if data.held is not None:
            held[file] = data.held
        numbers += labels
    return _pictures(f"cifar/{split}", home, runs, _words(numbers, names, home.path), held)


def _binary(files: dict[str, tuple[str, ...]], head: int, meta: str, home: Folder, split: str) -> Pictures:
    """Records of `head` bytes of labels, the last of them the one that counts, and a picture."""
    step, numbers, runs = head + PIXELS, [], []
    for file in files[split]:
        data = np.frombuffer(home.read(file), np.uint8)
        if not data.size or data.size % step:
            raise Broken(f"{home.at(file)}: has {data.size:,} bytes, which is no multiple of {step:,}; get it anew")
        numbers += data[head - 1 :: step].tolist()
        runs.append((file, head, step, data.size // step))
    return _pictures(f"cifar/{split}", home, runs, _words(numbers, home.lines(meta), home.path))


def _pictures(
    name: str, home: Folder, runs: list[_Run], words: tuple[str, ...], held: Mapping[str, bytes] | None = None
) -> Pictures:
    fingerprint = home.fingerprint(*(run[0] for run in runs))
    return of_array(name, fingerprint, {"label": words}, lambda: _Planes(home, runs, held or {}), len(words))


def _words(numbers: Sequence[int], names: Sequence[str], path: str) -> tuple[str, ...]:
    wrong = [number for number in numbers if not isinstance(number, int) or not 0 <= number < len(names)]
    if wrong:
        raise Broken(f"{path}: label {str(wrong[0])[:40]} is outside its {len(names)} classes")
    return tuple(names[number] for number in numbers)


_BATCHES = tuple(f"data_batch_{number}" for number in range(1, 6))
CIFAR10 = Either(
    "cifar10",
    (
        Reader(
            "cifar10",
            (("test_batch", "batches.meta"),),
            functools.partial(
                _pickled, {"train": _BATCHES, "test": ("test_batch",)}, "labels", ("batches.meta", "label_names")
            ),
            homes=("", "cifar-10-batches-py"),
        ),
        Reader(
            "cifar10",
            (("test_batch.bin", "batches.meta.txt"),),
            functools.partial(
                _binary,
                {"train": tuple(f"{batch}.bin" for batch in _BATCHES), "test": ("test_batch.bin",)},
                1,
                "batches.meta.txt",
            ),
            homes=("", "cifar-10-batches-bin"),
        ),
    ),
)
CIFAR100 = Either(
    "cifar100",
    (
        Reader(
            "cifar100",
            (("train", "test", "meta"),),
            functools.partial(
                _pickled, {"train": ("train",), "test": ("test",)}, "fine_labels", ("meta", "fine_label_names")
            ),
            homes=("", "cifar-100-python"),
        ),
        Reader(
            "cifar100",
            (("test.bin", "fine_label_names.txt"),),
            functools.partial(_binary, {"train": ("train.bin",), "test": ("test.bin",)}, 2, "fine_label_names.txt"),
            homes=("", "cifar-100-binary"),
        ),
    ),
)


def _cifar10_1(version: str, home: Folder, split: str) -> Pictures:
    data, labels = f"cifar10.1_{version}_data.npy", f"cifar10.1_{version}_labels.npy"
    numbers = rows_of(home, labels, 1).tolist()
    words = _words(numbers, TEN, home.at(labels))
    return of_array(
        f"cifar10.1-{version}/{split}",
        home.fingerprint(data),
        {"label": words},
        lambda: rows_of(home, data, 4),
        len(words),
    )


CIFAR10_1 = tuple(
    Reader(
        "cifar10.1" if version == "v6" else f"cifar10.1@{version}",
        ((f"cifar10.1_{version}_data.npy",),),
        functools.partial(_cifar10_1, version),
        ("test",),
        homes=("", "datasets"),
    )
    for version in ("v6", "v4")
)


def _corruptions(home: Folder) -> list[str]:
    return [name.removesuffix(".npy") for name in home.names() if name.endswith(".npy") and name != "labels.npy"]


def _corrupted(names: tuple[str, ...], home: Folder, split: str) -> Pictures:
    """The pictures of "fog/3", or of every file and severity."""
    present = _corruptions(home)
    kind, _, wanted = split.partition("/")
    chosen = present if split == "test" else [kind]
    if kind not in (*present, "test") or (wanted and wanted not in "12345"):
        raise Absent(f"{home.path}: has no '{split}'; it has severities 1 to 5 of {', '.join(present)}")
    numbers = rows_of(home, "labels.npy", 1)
    each = len(numbers) // SEVERITIES
    runs = [
        (name, severity) for name in chosen for severity in range(1, SEVERITIES + 1) if wanted in ("", str(severity))
    ]
    words = _words(numbers.tolist(), names, home.at("labels.npy"))
    labels = [word for _, severity in runs for word in words[(severity - 1) * each : severity * each]]

    files = {name: Lazy(functools.partial(rows_of, home, f"{name}.npy", 4, len(numbers))) for name in chosen}

    class Rows:
        def __getitem__(self, index: int) -> Any:
            name, severity = runs[index // each]
            return files[name].get()[(severity - 1) * each + index % each]

    columns = {
        "label": tuple(labels),
        "corruption": tuple(name for name, _ in runs for _ in range(each)),
        "severity": tuple(str(severity) for _, severity in runs for _ in range(each)),
    }
    fingerprint = storage.sha256((home.fingerprint(*(f"{name}.npy" for name in chosen)) + split).encode())
    return of_array(f"cifar-c/{split}", fingerprint, columns, Rows, len(labels))


CIFAR_C = tuple(
    Reader(
        name,
        tuple(("labels.npy", f"{kind}.npy") for kind in KINDS),
        functools.partial(_corrupted, names),
        lambda home: ("test", *_corruptions(home)),
        homes=("", folder),
        said=f"labels.npy and any of its corruptions, such as fog.npy (or in {folder}/)",
    )
    for name, folder, names in (("cifar10-c", "CIFAR-10-C", TEN), ("cifar100-c", "CIFAR-100-C", HUNDRED))
)
