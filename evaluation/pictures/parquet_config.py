"""A configuration of a dataset on the hub: Parquet files in a folder that bears its name (CIFAR-10's plain_text/, SVHN's
cropped_digits/). The only folder that holds such files is read; of several, one must be chosen.
"""

from dataclasses import dataclass

from evaluation.pictures.folder import Folder
from evaluation.pictures.parquet import PARQUET
from evaluation.pictures.parquet_files import KNOWN, hold_splits
from evaluation.pictures.pictures import Absent, Broken, Pictures

FEW_FOLDERS = 40
"""Of more folders none is looked into: they are classes."""


@dataclass(frozen=True)
class OneFolderBelow:
    """What PARQUET reads, in the only folder below that holds it. Raises Broken at opening where several do."""

    name: str = "parquet-config"
    expects: str = f"{PARQUET.expects}, in one folder below"

    def found(self, folder: str) -> bool:
        return bool(self._folders(folder))

    def splits(self, folder: str) -> tuple[str, ...]:
        return PARQUET.splits(self._only(folder))

    def open(self, folder: str, split: str) -> Pictures:
        return PARQUET.open(self._only(folder), split)

    def _folders(self, folder: str) -> list[str]:
        home = Folder(folder)
        inner = [name for name in home.folders() if name not in KNOWN]
        return [name for name in inner if hold_splits(home.below(name))] if len(inner) <= FEW_FOLDERS else []

    def _only(self, folder: str) -> str:
        found = self._folders(folder)
        if not found:
            raise Absent(f"{folder}: is not laid out as {self.name}; expected {self.expects}")
        if len(found) > 1:
            raise Broken(
                f"{folder}: has Parquet files in {', '.join(found)[:200]}, of which one must be chosen; move the others away"
            )
        return Folder(folder).at(found[0])


PARQUET_CONFIG = OneFolderBelow()
