"""Files exist whole or not at all."""

import os
from pathlib import Path

import fsspec
import pyarrow as pa
import pytest

from pipeline import storage
from pipeline.errors import DataError


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = str(tmp_path / "file")
    storage.write_bytes(path, b"old")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="No space left on device"):
        storage.write_bytes(path, b"new")
    assert os.listdir(tmp_path) == ["file"]
    assert storage.read_bytes(path) == b"old"


def test_a_full_disk_is_one_line_that_names_the_file() -> None:
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full on this system")
    with pytest.raises(DataError, match="/dev/full/x: cannot be written"):
        storage.write_bytes("/dev/full/x", b"data")


@pytest.mark.parametrize("root", ["{tmp}", "memory://bucket"])
def test_the_same_calls_work_on_a_folder_and_on_an_object_store(root: str, tmp_path: Path) -> None:
    folder = storage.join(root.format(tmp=tmp_path), "a")
    path = storage.join(folder, "b", "c.json")
    assert not storage.exists(path)
    assert storage.list_names(folder) == []
    storage.write_json(path, {"é": 1})
    assert storage.read_json(path) == {"é": 1}
    assert storage.size(path) == len(storage.read_bytes(path))
    assert storage.sha256_file(path) == storage.sha256(storage.read_bytes(path))
    assert storage.list_names(folder) == ["b"]
    table = pa.table({"x": [1, 2]})
    storage.write_table(storage.join(folder, "t.parquet"), table)
    assert storage.read_table(storage.join(folder, "t.parquet")).equals(table)
    storage.remove_tree(folder)
    assert not storage.exists(path)
    fsspec.filesystem("memory").store.clear()


def test_equal_tables_are_equal_bytes() -> None:
    tables = [pa.table({"x": list(range(1000)), "y": ["a"] * 1000}) for _ in range(2)]
    assert storage.table_bytes(tables[0]) == storage.table_bytes(tables[1])


def test_a_table_that_is_not_what_was_written_is_told_and_never_read(tmp_path: Path) -> None:
    """Of plain pictures nothing but the pages' checksums tells a changed byte."""
    path = tmp_path / "t.parquet"
    table = pa.table({"uid": ["a", "b"], "image": [os.urandom(3000), os.urandom(3000)]})
    storage.write_table(str(path), table)
    whole = path.read_bytes()
    inside = whole.index(table.column("image")[1].as_py()) + 1500
    for damaged in (whole[:inside] + bytes([whole[inside] ^ 1]) + whole[inside + 1 :], whole[:-9], b""):
        path.write_bytes(damaged)
        for columns in (None, ["image"]):
            with pytest.raises(DataError, match=r"t\.parquet: damaged; remove it and run again"):
                storage.read_table(str(path), columns)
    path.write_bytes(whole)
    assert storage.read_table(str(path)) == table
    with pytest.raises(FileNotFoundError):
        storage.read_table(str(tmp_path / "none.parquet"))
