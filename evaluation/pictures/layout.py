"""What a reader of a layout is: how it recognises a folder, which splits it gives, and how it opens one."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from evaluation.pictures.folder import Folder
from evaluation.pictures.pictures import Absent, Pictures


class Layout(Protocol):
    """A way in which pictures lie on disk."""

    @property
    def name(self) -> str: ...
    @property
    def expects(self) -> str: ...
    def found(self, folder: str) -> bool: ...
    def splits(self, folder: str) -> tuple[str, ...]: ...
    def open(self, folder: str, split: str) -> Pictures: ...


@dataclass(frozen=True)
class Reader:
    """A layout that is recognised by files which must be there.

    `homes` are the folders, relative to the user's, in which it may lie ("" first, then where torchvision or the archive
    put it); `marks` are alternatives: a home is one when all names of one of them exist. `make` opens a split of a home.
    `given` names its splits; "trainval" is added to what has both parts: they are joined in that order.
    """

    name: str
    marks: tuple[tuple[str, ...], ...]
    make: Callable[[Folder, str], Pictures]
    given: tuple[str, ...] | Callable[[Folder], tuple[str, ...]] = ("train", "test")
    homes: tuple[str, ...] = ("",)
    said: str = ""
    """What must be there, where a list of marks would be long."""

    @property
    def expects(self) -> str:
        """In words, what must be there."""
        if self.said:
            return self.said
        within = f" (or in {self.homes[1]}/)" if len(self.homes) > 1 else ""
        return " or ".join(" and ".join(mark) for mark in self.marks) + within

    def home(self, folder: str) -> Folder | None:
        for below in self.homes:
            home = Folder(folder).below(below)
            if any(all(home.has(name) for name in mark) for mark in self.marks):
                return home
        return None

    def found(self, folder: str) -> bool:
        return self.home(folder) is not None

    def splits(self, folder: str) -> tuple[str, ...]:
        """The splits that can be opened. Raises Absent where this layout is not."""
        given = self.given if isinstance(self.given, tuple) else self.given(self._home(folder))
        both = "train" in given and "val" in given and "trainval" not in given
        return (*given, "trainval") if both else given

    def open(self, folder: str, split: str) -> Pictures:
        """The pictures of one split. Raises Absent where layout or split is not, Broken where it is not whole."""
        home, splits = self._home(folder), self.splits(folder)
        if split == "trainval" and "train" in splits and "val" not in splits:
            split = "train"
        if split not in splits and split.split("/")[0] not in splits:
            raise Absent(f"{folder}: {self.name} has no split '{split}'; it has {', '.join(splits)}")
        if split == "trainval" and "trainval" not in self._given(home):
            both = self.make(home, "train").followed_by(self.make(home, "val"), "")
            return replace(both, name=f"{self.name}/trainval")
        return self.make(home, split)

    def _given(self, home: Folder) -> Sequence[str]:
        return self.given if isinstance(self.given, tuple) else self.given(home)

    def _home(self, folder: str) -> Folder:
        home = self.home(folder)
        if home is None:
            raise Absent(f"{folder}: is not laid out as {self.name}; expected {self.expects}")
        return home


@dataclass(frozen=True)
class Either:
    """A dataset that is published in several forms: the first that is there."""

    name: str
    readers: tuple[Reader, ...]

    @property
    def expects(self) -> str:
        return " or ".join(reader.expects for reader in self.readers)

    def found(self, folder: str) -> bool:
        return any(reader.found(folder) for reader in self.readers)

    def splits(self, folder: str) -> tuple[str, ...]:
        return self._reader(folder).splits(folder)

    def open(self, folder: str, split: str) -> Pictures:
        return self._reader(folder).open(folder, split)

    def _reader(self, folder: str) -> Reader:
        found = next((reader for reader in self.readers if reader.found(folder)), None)
        if found is None:
            raise Absent(f"{folder}: is not laid out as {self.name}; expected {self.expects}")
        return found
