"""Pictures that a source has on storage: what is below its folder is read, nothing else is."""

from pathlib import Path
from typing import Any

import pytest

from pipeline.fetching.located import read_located


def row(location: str, **more: Any) -> dict[str, Any]:
    return {"location": f"pets/{location}", "location_offset": None, "location_bytes": None} | more


@pytest.fixture
def root(tmp_path: Path) -> str:
    (tmp_path / "secret").write_bytes(b"root:x:0:0")
    below = tmp_path / "pets"
    (below / "cats").mkdir(parents=True)
    (below / "cats" / "a.jpg").write_bytes(b"0123456789")
    (below / "link.jpg").symlink_to(tmp_path / "secret")
    (below / "near.jpg").symlink_to(below / "cats" / "a.jpg")
    (below / "out").symlink_to(tmp_path)
    return str(below)


def test_a_picture_is_read_whole_or_in_part(root: str) -> None:
    assert read_located({"pets": root}, row("cats/a.jpg"), 100) == b"0123456789"
    assert read_located({"pets": root}, row("cats/a.jpg", location_offset=2, location_bytes=3), 100) == b"234"
    assert read_located({"pets": root}, row("near.jpg"), 100) == b"0123456789"


@pytest.mark.parametrize(
    "path", ["../secret", "/etc/passwd", "cats/../../secret", "link.jpg", "out/secret", "a\0b", ""]
)
def test_a_path_that_leaves_the_folder_is_refused(root: str, path: str) -> None:
    found = read_located({"pets": root}, row(path), 100)
    assert isinstance(found, tuple)
    assert found[0] == "address_refused"


def test_what_is_not_there_or_too_large_is_a_reason(root: str) -> None:
    assert read_located({"pets": root}, row("cats/b.jpg"), 100)[0] == "file_missing"
    assert read_located({"pets": root}, row("cats"), 100)[0] == "file_missing"
    assert (
        read_located({"pets": root}, row("cats/a.jpg", location_offset=8, location_bytes=5), 100)[0] == "file_missing"
    )
    assert read_located({"pets": root}, row("cats/a.jpg"), 5)[0] == "too_large"
