"""CoOp's fixed splits (Zhou et al. 2022, arXiv:2109.01134), the customary ones for few shots: split_zhou_<Name>.json.

    {"train": [["havanese_13.jpg", 20, "havanese"], ...], "val": [...], "test": [...]}

Paths are relative to the dataset's folder of pictures, which is beside the file. They are other splits than the paper's. Many of
its words are CoOp's own ("Sea or Lake", "outdoor apartment_building", "2012 Audi S5 Coupe"): where each class has a folder of its
own, that tells the class, and a year goes back to its end.
"""

import re
from dataclasses import replace

from evaluation.pictures.decoding import of_files
from evaluation.pictures.folder import Folder
from evaluation.pictures.layout import Reader
from evaluation.pictures.pictures import Absent, Broken, Pictures

PARTS = ("train", "val", "test")
YEAR_FIRST = re.compile(r"^((?:19|20)\d\d) (.+)$")
TOPS = ("images", "", "jpg", "101_ObjectCategories", "2750", "SUN397", "UCF-101-midframes", "EuroSAT_RGB")


def _coop(home: Folder, split: str) -> Pictures:
    name = next(name for name in home.names() if name.startswith("split_zhou_") and name.endswith(".json"))
    value = home.json(name)
    try:
        rows = [(str(path), int(number), str(word)) for path, number, word in value[split]]
        words = {int(number): str(word) for part in PARTS for _, number, word in value[part]}
    except (KeyError, TypeError, ValueError) as error:
        raise Broken(f"{home.at(name)}: is no split of CoOp's ({str(error)[:60]})") from error
    if not rows or sorted(words) != list(range(len(words))):
        raise Broken(f"{home.at(name)}: its classes are not numbered from 0 without a gap, or {split} is empty")
    top = next((top for top in TOPS if home.has(f"{top}/{rows[0][0]}".lstrip("/"))), None)
    if top is None:
        raise Absent(f"{home.path}: has {name}, but not the picture {rows[0][0]}; unpack the pictures beside it")
    names = [f"{top}/{path}".lstrip("/") for path, *_ in rows]
    pictures = of_files(f"coop/{split}", home, names, {"label": tuple(str(number) for _, number, _ in rows)})
    folders = _folders([(path.rpartition("/")[0], int(number)) for part in PARTS for path, number, _ in value[part]])
    return replace(pictures, classes=tuple(folders.get(number, _called(words[number])) for number in range(len(words))))


def _folders(places: list[tuple[str, int]]) -> dict[int, str]:
    """Number -> its folder, {} where not each class has one that is all its own."""
    pairs = sorted(set(places))
    single = len({folder for folder, _ in pairs}) == len({number for _, number in pairs}) == len(pairs)
    return {number: folder for folder, number in pairs} if single and all(folder for folder, _ in pairs) else {}


def _called(word: str) -> str:
    return YEAR_FIRST.sub(r"\2 \1", word)


COOP = Reader("coop", (("split_zhou_*",),), _coop, PARTS)
