"""Miniatures whose pictures lie in arrays: CIFAR and its kin, MNIST, EMNIST."""

import gzip
import pickle
import struct
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from miniatures.canvas import Made, Writer, colour

TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")


def rows(numbers: range, side: int = 32) -> NDArray[np.uint8]:
    """(N, side, side, 3)."""
    return np.stack([np.full((side, side, 3), colour(number), np.uint8) for number in numbers])


def planes(numbers: range) -> NDArray[np.uint8]:
    """CIFAR's rows of 3,072 bytes: red, green, blue plane."""
    return rows(numbers).transpose(0, 3, 1, 2).reshape(len(numbers), -1)


class Python2(pickle._Pickler):
    """Writes what Python 2's cPickle wrote at protocol 2: strings of bytes, and numpy's old module names."""

    dispatch: ClassVar[dict[type, Any]] = dict(pickle._Pickler.dispatch)

    def save_bytes(self, value: bytes) -> None:
        short = len(value) < 256
        self.write(b"U" + bytes([len(value)]) if short else b"T" + struct.pack("<i", len(value)))
        self.write(value)

    def save_text(self, value: str) -> None:
        self.save_bytes(value.encode("latin-1"))
        self.memoize(value)

    def save_array(self, value: NDArray[np.uint8]) -> None:
        """As ndarray.__reduce__ gives it: a call, then its state."""
        self.write(b"cnumpy.core.multiarray\n_reconstruct\n")
        self.write(b"q\xf0cnumpy\nndarray\nq\xf1(K\x00tU\x01b\x87Rq\xf2(K\x01(")
        for side in value.shape:
            self.write(b"M" + struct.pack("<H", side))
        self.write(
            b"tcnumpy\ndtype\nq\xf3U\x02u1K\x00K\x01\x87Rq\xf4(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
        )
        self.save_bytes(value.tobytes())
        self.write(b"tb")

    dispatch[bytes] = save_bytes
    dispatch[str] = save_text
    dispatch[np.ndarray] = save_array


def python2(path: Path, value: object) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        pickler = Python2(file, protocol=2)
        pickler.memo[0] = (0, None)  # cPickle counts from 1
        pickler.dump(value)


def cifar10(folder: Path) -> Made:
    home = folder / "cifar-10-batches-py"
    files = [f"data_batch_{number}" for number in range(1, 6)] + ["test_batch"]
    python2(home / "batches.meta", {"num_cases_per_batch": 2, "label_names": list(TEN), "num_vis": 3072})
    splits: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    for at, file in enumerate(files):
        numbers = range(2 * at, 2 * at + 2)
        labels = [number % 10 for number in numbers]
        batch = {
            "batch_label": f"batch {at}",
            "labels": labels,
            "data": planes(numbers),
            "filenames": ["a.png", "b.png"],
        }
        python2(home / file, batch)
        splits["test" if at == 5 else "train"] += [
            (TEN[label], number) for label, number in zip(labels, numbers, strict=True)
        ]
    return Made("cifar10", splits)


def cifar100(folder: Path) -> Made:
    home = folder / "cifar-100-python"
    python2(home / "meta", {"fine_label_names": ["apple", "aquarium_fish", "baby"], "coarse_label_names": ["people"]})
    for at, file in enumerate(("train", "test")):
        numbers = range(3 * at, 3 * at + 3)
        batch = {"filenames": ["x"] * 3, "batch_label": "b", "fine_labels": [2, 0, 1], "coarse_labels": [0, 0, 0]}
        python2(home / file, {**batch, "data": planes(numbers)})
    words = ("baby", "apple", "aquarium_fish")
    return Made(
        "cifar100", {s: list(zip(words, range(3 * a, 3 * a + 3), strict=True)) for a, s in enumerate(("train", "test"))}
    )


def records(numbers: range, *heads: int) -> bytes:
    """The binary version: bytes of labels, the last of them the picture's number modulo 10, and the planes."""
    return b"".join(bytes([*heads, number % 10]) + planes(range(number, number + 1)).tobytes() for number in numbers)


def cifar10_binary(folder: Path) -> Made:
    writer = Writer(folder / "cifar-10-batches-bin")
    writer.put("batches.meta.txt", "\n".join(TEN) + "\n\n")
    splits: dict[str, list[tuple[str, int]]] = {"train": [], "test": []}
    for at, file in enumerate([*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]):
        numbers = range(2 * at, 2 * at + 2)
        writer.put(f"{file}.bin", records(numbers))
        splits["test" if at == 5 else "train"] += [(TEN[number % 10], number) for number in numbers]
    return Made("cifar10", splits)


def cifar100_binary(folder: Path) -> Made:
    """The coarse label comes first."""
    writer = Writer(folder / "cifar-100-binary")
    writer.put("fine_label_names.txt", "apple\naquarium_fish\nbaby\nbear\nbeaver\n")
    writer.put("train.bin", records(range(2), 19))
    writer.put("test.bin", records(range(3, 5), 19))
    return Made("cifar100", {"train": [("apple", 0), ("aquarium_fish", 1)], "test": [("bear", 3), ("beaver", 4)]})


def cifar10_1(folder: Path) -> Made:
    np.save(folder / "cifar10.1_v6_data.npy", rows(range(3)))
    np.save(folder / "cifar10.1_v6_labels.npy", np.array([3, 0, 9], np.int32))
    return Made("cifar10.1", {"test": [("cat", 0), ("airplane", 1), ("truck", 2)]})


def cifar_c(folder: Path) -> Made:
    """Five severities one after the other; the same labels five times."""
    home = folder / "CIFAR-10-C"
    home.mkdir(parents=True)
    for at, name in enumerate(("fog", "snow")):
        np.save(home / f"{name}.npy", rows(range(10 * at, 10 * at + 10)))
    np.save(home / "labels.npy", np.array([5, 1] * 5))
    words = ["dog", "automobile"]
    every = [(words[number % 2], number) for number in range(20)]
    severities = [str(number % 10 // 2 + 1) for number in range(20)]
    kinds = ["fog"] * 10 + ["snow"] * 10
    return Made(
        "cifar10-c",
        {"test": every, "snow": every[10:], "fog/3": every[4:6]},
        columns={"test": {"corruption": kinds, "severity": severities}, "fog/3": {"severity": ["3", "3"]}},
    )


def _idx(path: Path, values: NDArray[np.uint8], zipped: bool) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    data = bytes([0, 0, 8, values.ndim]) + struct.pack(f">{values.ndim}I", *values.shape) + values.tobytes()
    if zipped:
        path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(data))
    else:
        path.write_bytes(data)


def slanted(number: int) -> NDArray[np.uint8]:
    """Brighter to the right, so that a picture on its side is told from an upright one."""
    return (np.arange(28, dtype=np.uint8) * 4 + number)[None, :].repeat(28, axis=0)


def mnist(folder: Path, zipped: bool = False) -> Made:
    home = folder / "MNIST" / "raw"
    for at, part in enumerate(("train", "t10k")):
        numbers = range(3 * at, 3 * at + 3)
        _idx(home / f"{part}-images-idx3-ubyte", np.stack([slanted(number) for number in numbers]), zipped)
        _idx(home / f"{part}-labels-idx1-ubyte", np.array([7, 2, 0], np.uint8), zipped)
    words = ("7", "2", "0")
    return Made(
        "mnist",
        {s: list(zip(words, range(3 * a, 3 * a + 3), strict=True)) for a, s in enumerate(("train", "test"))},
        grey=True,
    )


def mnist_zipped(folder: Path) -> Made:
    return mnist(folder, zipped=True)


def emnist(folder: Path) -> Made:
    """Written column first, as the original is."""
    for at, part in enumerate(("train", "test")):
        numbers = range(2 * at, 2 * at + 2)
        upright = np.stack([slanted(number) for number in numbers])
        _idx(folder / "gzip" / f"emnist-letters-{part}-images-idx3-ubyte", upright.transpose(0, 2, 1).copy(), True)
        _idx(folder / "gzip" / f"emnist-letters-{part}-labels-idx1-ubyte", np.array([1, 26], np.uint8), True)
    return Made("emnist-letters", {"train": [("1", 0), ("26", 1)], "test": [("1", 2), ("26", 3)]}, grey=True)


ARRAYS = {
    "cifar10": cifar10,
    "cifar100": cifar100,
    "cifar10-binary": cifar10_binary,
    "cifar100-binary": cifar100_binary,
    "cifar10.1": cifar10_1,
    "cifar10-c": cifar_c,
    "mnist": mnist,
    "mnist-gz": mnist_zipped,
    "emnist-letters": emnist,
}
