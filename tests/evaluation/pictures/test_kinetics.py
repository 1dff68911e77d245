"""Kinetics-700 as people have it: official lists beside flat or sorted clips of any container, of which some are gone."""

import re
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
from miniatures import make

from evaluation.catalog.benchmarks import find
from evaluation.catalog.verify import verify
from evaluation.pictures.middle_frames import make_frames
from evaluation.pictures.open import open_pictures
from evaluation.pictures.pictures import Absent, Broken
from evaluation.pictures.table import LAYOUTS
from evaluation.protocols.protocol import Question
from evaluation.run import lacking_of
from tests.evaluation.pictures.test_middle_frames import video

KINETICS = LAYOUTS["kinetics700"]
HEAD = "label,youtube_id,time_start,time_end,split\n"


def listed(folder: Path, rows: str, name: str = "annotations/val.csv") -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(HEAD + rows, "utf-8")


@pytest.mark.parametrize("name", ["annotations/val.csv", "val.csv", "kinetics700_2020/validate.csv"])
def test_clips_of_any_container_are_joined_to_their_list_and_the_missing_are_counted(name: str, tmp_path: Path) -> None:
    listed(
        tmp_path,
        "abseiling,aaaaaaaaaaa,1,11,val\n"
        '"passing American football (in game)",bb_bb-bbbbb,417.0,427.0,val\n'
        "zumba,ccccccccccc,5,15,val\nair drumming,ddddddddddd,9,19,val\nyoga,goneGONEgon,0,10,val\nyoga,brokenBROKE,3,13,val\n",
        name,
    )
    places = (
        "val/aaaaaaaaaaa_000001_000011.mp4",
        "val/some_class/bb_bb-bbbbb_000417_000427.mkv",
        "val/ccccccccccc_5_15.webm",
    )
    for place in (*places, "val/ddddddddddd.avi"):
        video(tmp_path / place, {"mp4": "mp4v", "mkv": "mp4v", "ebm": "VP80", "avi": "MJPG"}[place[-3:]], 5)
    (tmp_path / "val/brokenBROKE_000003_000013.mp4").write_bytes(b"<html>429 Too Many Requests</html>")
    with pytest.raises(Absent, match=r"`openwit tasks frames .*` makes the middle one"):
        KINETICS.open(str(tmp_path), "test")
    assert make_frames(str(tmp_path), workers=1)["damaged"] == {"not_a_video": 1}
    assert KINETICS.splits(str(tmp_path)) == ("test",)
    pictures = KINETICS.open(str(tmp_path), "test")
    assert pictures.column("label") == ("abseiling", "passing American football (in game)", "zumba", "air drumming")
    assert pictures.lacking == {"not_downloaded": 1, "without_frame": 1}
    assert pictures.subset([0]).lacking == pictures.lacking
    assert [round(float(pictures.read(at).convert("L").getextrema()[0]) / 8) for at in range(4)] == [2] * 4  # type: ignore[operator]


def test_the_list_says_the_split_where_all_clips_lie_together(tmp_path: Path) -> None:
    make("kinetics700-flat", tmp_path)
    for path in [*(tmp_path / "train").iterdir(), *(tmp_path / "val").iterdir()]:
        (tmp_path / "clips").mkdir(exist_ok=True)
        path.rename(tmp_path / "clips" / path.name)
    (tmp_path / "train").rmdir()
    (tmp_path / "val").rmdir()
    train, test = (KINETICS.open(str(tmp_path), split) for split in ("train", "test"))
    assert train.column("label") == ("air drumming", "abseiling")
    assert test.column("id") == ("clips/a1B2c3D4e5F_000000_000010.png",)
    assert train.followed_by(test, "both").lacking == {"not_downloaded": 2}


def test_what_is_missing_is_told_by_verify_and_the_rest_is_opened(tmp_path: Path) -> None:
    make("kinetics700-flat", tmp_path / "kinetics700")
    row = verify(str(tmp_path), ["kinetics700"], bytes_too=False)[0]
    assert row["problems"] == []
    assert row["splits"]["test"]["lacking"] == {"not_downloaded": 1, "class_without_pictures": 699}
    assert any(
        "of its list of test 1 not downloaded, 699 class without pictures; the others are measured" in note
        for note in row["notes"]
    )
    pictures = open_pictures(find("kinetics700"), "test", str(tmp_path))
    assert (pictures.count, pictures.lacking) == (1, {"not_downloaded": 1, "class_without_pictures": 699})


def test_the_report_has_what_is_missing(tmp_path: Path) -> None:
    make("kinetics700-flat", tmp_path)
    train, test = (KINETICS.open(str(tmp_path), split) for split in ("train", "test"))
    asked = cast(Question, SimpleNamespace(train=train, val=None, pictures=test))
    assert lacking_of(asked) == {"lacking": {"train": {"not_downloaded": 1}, "test": {"not_downloaded": 1}}}
    whole = cast(Question, SimpleNamespace(train=None, val=None, pictures=replace(test, lacking={})))
    assert lacking_of(whole) == {}


def test_folders_of_classes_need_no_list_and_a_class_that_is_gone_is_counted(tmp_path: Path) -> None:
    made = make("kinetics700", tmp_path)
    (tmp_path / "val/zumba").mkdir()
    video(tmp_path / "val/abseiling/late_000001_000011.mp4", "mp4v", 3)
    pictures = KINETICS.open(str(tmp_path), "test")
    assert list(pictures.column("label")) == [label for label, _ in made.splits["test"]]
    assert pictures.lacking == {"class_without_pictures": 1, "without_frame": 1}
    assert KINETICS.open(str(tmp_path), "train").lacking == {}


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        ("abseiling,a1B2c3D4e5F,zero,10,val\n", Broken, "entry 2 has a time that is no number"),
        ("abseiling,a1B2c3D4e5F,1e999,10,val\n", Broken, "entry 2 has a time that is no number"),
        ("abseiling,a1B2c3D4e5F,0,10,val\nyoga,a1B2c3D4e5F,0,10,val\n", Broken, "two classes, 'abseiling' and 'yoga'"),
        ("abseiling,zzzzzzzzzzz,0,10,val\n", Broken, "has no clip of annotations/val.csv; are they those of another Kinetics"),
        ("abseiling,a1B2c3D4e5F\n", Broken, "line 2 has 2 of 5 columns"),
    ],
)  # fmt: skip
def test_lists_that_are_not_whole_are_told(rows: str, error: type[Exception], said: str, tmp_path: Path) -> None:
    make("kinetics700-flat", tmp_path)
    listed(tmp_path, rows)
    with pytest.raises(error, match=re.escape(said)):
        KINETICS.open(str(tmp_path), "test")


def test_the_lists_alone_and_clips_without_a_list_are_absent_or_broken(tmp_path: Path) -> None:
    listed(tmp_path / "lists", "abseiling,a,0,10,val\n")
    with pytest.raises(Absent, match="has neither clips nor frames"):
        KINETICS.open(str(tmp_path / "lists"), "test")
    make("kinetics700", tmp_path / "flat")
    for path in list((tmp_path / "flat/val").rglob("*.jpg")):
        path.rename(tmp_path / "flat/val" / f"{path.parent.name}.jpg")
    with pytest.raises(Broken, match=r"without annotations/val\.csv nothing says theirs"):
        KINETICS.open(str(tmp_path / "flat"), "test")


def test_a_birdsnap_picture_that_is_gone_is_counted(tmp_path: Path) -> None:
    make("birdsnap", tmp_path)
    whole = LAYOUTS["birdsnap"].open(str(tmp_path), "train")
    assert whole.lacking == {"not_downloaded": 1}
    (tmp_path / whole.column("id")[0]).unlink()
    rest = LAYOUTS["birdsnap"].open(str(tmp_path), "train")
    assert (rest.count, rest.lacking) == (whole.count - 1, {"not_downloaded": 2})
    assert rest.column("id") == whole.column("id")[1:]
