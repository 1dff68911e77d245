"""Matlab's .mat files: SVHN, Stanford Cars, Oxford Flowers-102. (Version 5 of the format, which runs nothing when read.)"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from evaluation.pictures.decoding import of_array, of_files
from evaluation.pictures.folder import Folder
from evaluation.pictures.image_folder import by_class
from evaluation.pictures.layout import Reader
from evaluation.pictures.pictures import Broken, Pictures


def load_mat(folder: Folder, name: str, variables: Sequence[str]) -> dict[str, Any]:
    """These variables of the file. Raises Broken where it cannot be read or lacks one."""
    from scipy.io import loadmat

    path = folder.at(name)
    data = folder.read(name)
    try:
        values = loadmat(io.BytesIO(data), variable_names=list(variables))
    except Exception as error:  # hostile bytes make the parser raise anything
        raise Broken(f"{path}: is no whole Matlab file of version 5 ({str(error)[:80]}); get it anew") from error
    lacking = [variable for variable in variables if variable not in values]
    if lacking:
        raise Broken(f"{path}: has no variable '{lacking[0]}'")
    return values


def scalar(value: Any) -> int:
    """The one number in Matlab's nested arrays."""
    return int(np.asarray(value).reshape(-1)[0])


def text(value: Any) -> str:
    """The one text in them."""
    while isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size else ""
    return str(value)


def _digits(path: str, numbers: NDArray[Any]) -> tuple[str, ...]:
    """The digits 1 to 9, and 10, which stands for 0; copies that were saved again with 0 for it have no 10.

    Raises Broken for any other label, and for a file that has both 0 and 10: what either stands for is not known.
    """
    plain = numbers.dtype.kind in "iuf"
    wrong = numbers[~np.isin(numbers, np.arange(11))] if plain else numbers
    if wrong.size:
        raise Broken(f"{path}: label {str(wrong[0])[:40]} is outside SVHN's, 1 to 10 (10 is the digit 0); get it anew")
    if (numbers == 0).any() and (numbers == 10).any():
        raise Broken(f"{path}: has labels 0 and 10, of which SVHN has 10 alone, for the digit 0; get it anew")
    return tuple(str(int(number) % 10) for number in numbers)


def _svhn(home: Folder, split: str) -> Pictures:
    """X (32, 32, 3, N) and y, the digits."""
    name = f"{split}_32x32.mat"
    words = _digits(home.at(name), load_mat(home, name, ["y"])["y"].reshape(-1))

    def rows() -> Any:
        pixels = load_mat(home, name, ["X"])["X"]
        if pixels.shape != (32, 32, 3, len(words)):
            raise Broken(f"{home.at(name)}: X is {pixels.shape}, not (32, 32, 3, {len(words)})")
        return pixels.transpose(3, 0, 1, 2)

    return of_array(f"svhn/{split}", home.fingerprint(name), {"label": words}, rows, len(words))


SVHN = Reader(
    "svhn",
    (("test_32x32.mat",),),
    _svhn,
    lambda home: tuple(split for split in ("train", "test", "extra") if home.has(f"{split}_32x32.mat")),
)

_CARS = {
    "train": ("devkit/cars_train_annos.mat", "cars_train"),
    "test": ("cars_test_annos_withlabels.mat", "cars_test"),
}


def _cars(home: Folder, split: str) -> Pictures:
    """annotations: fname and class, from 1. The labels of the test part are in a file of their own."""
    name, folder = _CARS[split]
    if not home.has(name) and home.has(f"devkit/{name}"):
        name = f"devkit/{name}"
    rows = load_mat(home, name, ["annotations"])["annotations"].reshape(-1)
    if rows.dtype.names is None or not {"fname", "class"} <= set(rows.dtype.names):
        raise Broken(f"{home.at(name)}: its annotations have no fname and class (the file without labels has none)")
    if home.has(f"{folder}/{folder}"):  # as a well-known archive unpacks
        folder = f"{folder}/{folder}"
    names = [f"{folder}/{text(row['fname'])}" for row in rows]
    return of_files(f"cars/{split}", home, names, {"label": tuple(str(scalar(row["class"])) for row in rows)})


def _cars_joint(home: Folder, split: str) -> Pictures:
    """The older archive: cars_annos.mat with relative_im_path, class and test for all 16,185, pictures in car_ims/."""
    rows = load_mat(home, "cars_annos.mat", ["annotations"])["annotations"].reshape(-1)
    chosen = [row for row in rows if bool(scalar(row["test"])) == (split == "test")]
    names = [text(row["relative_im_path"]) for row in chosen]
    return of_files(f"cars/{split}", home, names, {"label": tuple(str(scalar(row["class"])) for row in chosen)})


def _cars_folders(home: Folder, split: str) -> Pictures:
    """A well-known archive of Kaggle's: train/ and test/ with a folder per class, which bears its name."""
    return by_class(f"cars/{split}", home, below=split)


CARS = (
    Reader(
        "cars",
        (("cars_test_annos_withlabels.mat", "cars_test"), ("devkit/cars_test_annos_withlabels.mat", "cars_test")),
        _cars,
        homes=("", "stanford_cars"),
    ),
    Reader("cars-joint", (("cars_annos.mat", "car_ims"),), _cars_joint, homes=("", "stanford_cars")),
    Reader("cars-folders", (("train", "test"),), _cars_folders, homes=("car_data/car_data", "car_data")),
)

_FLOWERS = {"train": "trnid", "val": "valid", "test": "tstid"}


def _flowers(home: Folder, split: str) -> Pictures:
    """setid.mat: which pictures; imagelabels.mat: 1 to 102 by picture. The larger part, tstid, is the one to test on."""
    labels = load_mat(home, "imagelabels.mat", ["labels"])["labels"].reshape(-1)
    numbers = load_mat(home, "setid.mat", [_FLOWERS[split]])[_FLOWERS[split]].reshape(-1)
    if numbers.size and not (int(numbers.min()) >= 1 and int(numbers.max()) <= len(labels)):
        raise Broken(f"{home.at('setid.mat')}: names picture {int(numbers.max())}, imagelabels.mat has {len(labels)}")
    names = [f"jpg/image_{int(number):05d}.jpg" for number in numbers]
    return of_files(
        f"flowers102/{split}", home, names, {"label": tuple(str(int(labels[number - 1])) for number in numbers)}
    )


FLOWERS = Reader(
    "flowers102", (("imagelabels.mat", "setid.mat"),), _flowers, ("train", "val", "test"), homes=("", "flowers-102")
)
