"""Miniatures whose labels or pictures lie in Matlab, binary and HDF5 files: SVHN, Cars, Flowers-102, STL-10, PatchCamelyon."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
from scipy.io import savemat

from miniatures.arrays import rows
from miniatures.canvas import Made, Writer


def svhn(folder: Path) -> Made:
    """10 stands for the digit 0."""
    for split, numbers in (("train", range(3)), ("test", range(3, 6))):
        pixels = rows(numbers).transpose(1, 2, 3, 0)
        savemat(
            folder / f"{split}_32x32.mat", {"X": pixels, "y": np.array([[1], [10], [9]], np.uint8)}, do_compression=True
        )
    words = ("1", "0", "9")
    return Made(
        "svhn", {"train": list(zip(words, range(3), strict=True)), "test": list(zip(words, range(3, 6), strict=True))}
    )


def svhn_zero(folder: Path) -> Made:
    """Saved again with 0 for the digit 0, as torchvision numbers it."""
    y = np.array([[3.0], [0.0]])
    savemat(folder / "test_32x32.mat", {"X": rows(range(2)).transpose(1, 2, 3, 0), "y": y})
    return Made("svhn", {"test": [("3", 0), ("0", 1)]})


def _annotations(names: list[str], classes: list[int], key: str = "fname", **more: list[int]) -> np.ndarray:
    table = np.zeros((1, len(names)), [("bbox_x1", "O"), ("class", "O"), (key, "O"), *((name, "O") for name in more)])
    for at, (name, number) in enumerate(zip(names, classes, strict=True)):
        table[0, at] = (np.array([[5]]), np.array([[number]]), name, *(np.array([[more[each][at]]]) for each in more))
    return table


def cars(folder: Path) -> Made:
    """The labels of the test part are beside the devkit, not in it."""
    writer = Writer(folder / "stanford_cars")
    splits = {}
    for split, file in (("train", "devkit/cars_train_annos.mat"), ("test", "cars_test_annos_withlabels.mat")):
        names, classes = ["00001.jpg", "00002.jpg"], [196, 1]
        splits[split] = [(str(c), writer.write(f"cars_{split}/{name}")) for name, c in zip(names, classes, strict=True)]
        (writer.folder / "devkit").mkdir(exist_ok=True)
        savemat(writer.folder / file, {"annotations": _annotations(names, classes)})
    names = np.array(["AM General Hummer SUV 2000"] * 196, object)
    savemat(writer.folder / "devkit/cars_meta.mat", {"class_names": names})
    savemat(writer.folder / "devkit/cars_test_annos.mat", {"annotations": np.zeros((1, 2), [("fname", "O")])})
    return Made("cars", splits)


def cars_joint(folder: Path) -> Made:
    writer = Writer(folder)
    names = ["car_ims/000001.jpg", "car_ims/000002.jpg", "car_ims/000003.jpg"]
    numbers = [writer.write(name) for name in names]
    table = _annotations(names, [1, 2, 3], "relative_im_path", test=[0, 1, 0])
    savemat(folder / "cars_annos.mat", {"annotations": table})
    return Made("cars", {"train": [("1", numbers[0]), ("3", numbers[2])], "test": [("2", numbers[1])]})


def flowers102(folder: Path) -> Made:
    writer = Writer(folder / "flowers-102")
    numbers = [writer.write(f"jpg/image_{at:05d}.jpg") for at in range(1, 7)]
    labels = [77, 1, 102, 5, 77, 2]
    savemat(writer.folder / "imagelabels.mat", {"labels": np.array([labels], np.uint8)})
    parts = {"trnid": [6, 1], "valid": [2], "tstid": [5, 3, 4]}
    savemat(writer.folder / "setid.mat", {key: np.array([ids], np.uint16) for key, ids in parts.items()})
    read = {key: [(str(labels[at - 1]), numbers[at - 1]) for at in ids] for key, ids in parts.items()}
    splits = {"train": read["trnid"], "val": read["valid"], "test": read["tstid"]}
    return Made("flowers102", splits | {"trainval": splits["train"] + splits["val"]})


def stl10(folder: Path) -> Made:
    """Planes column by column, labels from 1; ten folds that overlap."""
    writer = Writer(folder / "stl10_binary")
    names = ("airplane", "bird", "car")
    for part, numbers in (("train", range(4)), ("test", range(4, 7))):
        pixels = rows(numbers, 96).transpose(0, 3, 2, 1)
        writer.put(f"{part}_X.bin", pixels.tobytes())
        writer.put(f"{part}_y.bin", bytes([3, 1, 2, 3][: len(numbers)]))
    writer.put("unlabeled_X.bin", b"")
    writer.put("class_names.txt", "\n".join(names) + "\n")
    folds = [[0, 1]] * 3 + [[3, 1]] + [[2, 3]] * 6
    writer.put("fold_indices.txt", "".join(" ".join(map(str, fold)) + " \n" for fold in folds))
    inside: list[tuple[str, ...]] = [tuple(str(at) for at, fold in enumerate(folds) if n in fold) for n in range(4)]
    train = [("car", 0), ("airplane", 1), ("bird", 2), ("car", 3)]
    return Made(
        "stl10",
        {"train": train, "test": [("car", 4), ("airplane", 5), ("bird", 6)], "fold-3": [("car", 3), ("airplane", 1)]},
        columns={"train": {"folds": inside}},
    )


def stl10_fold(folder: Path) -> Made:
    made = stl10(folder)
    return Made("stl10@fold-3", {"train": made.splits["fold-3"], "test": made.splits["test"]})


def pcam(folder: Path) -> Made:
    home = folder / "pcam"
    home.mkdir()
    splits: dict[str, list[tuple[str, Any]]] = {}
    for at, (split, part) in enumerate((("train", "train"), ("val", "valid"), ("test", "test"))):
        numbers = range(2 * at, 2 * at + 2)
        with h5py.File(home / f"camelyonpatch_level_2_split_{part}_x.h5", "w") as file:
            file.create_dataset("x", data=rows(numbers, 96), chunks=(1, 96, 96, 3), compression="gzip")
        with h5py.File(home / f"camelyonpatch_level_2_split_{part}_y.h5", "w") as file:
            file["y"] = np.array([1, 0], np.uint8).reshape(2, 1, 1, 1)
        splits[split] = [("1", numbers[0]), ("0", numbers[1])]
    return Made("pcam", splits | {"trainval": splits["train"] + splits["val"]})


FILES = {
    "svhn": svhn,
    "svhn-zero": svhn_zero,
    "cars": cars,
    "cars-joint": cars_joint,
    "flowers102": flowers102,
    "stl10": stl10,
    "stl10-fold": stl10_fold,
    "pcam": pcam,
}
