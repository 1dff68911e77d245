"""Middle frames of real videos made here, of damaged ones and of what only pretends, read as UCF101 afterwards."""

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from evaluation.pictures.middle_frames import RECORD, make_frames
from evaluation.pictures.pictures import Absent, Broken
from evaluation.pictures.table import LAYOUTS
from evaluation.pictures.video import middle_frame
from orchestration.cli import main
from pipeline.errors import ConfigError, DataError

STEP = 8


def video(path: Path, codec: str = "XVID", frames: int = 21) -> Path:
    """Frame n is grey of 8 n."""
    path.parent.mkdir(parents=True, exist_ok=True)
    out = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*codec), 25, (64, 48))  # type: ignore[attr-defined]
    assert out.isOpened()
    for number in range(frames):
        out.write(np.full((48, 64, 3), STEP * number, np.uint8))
    out.release()
    return path


def grey(path: Path) -> float:
    return float(np.asarray(Image.open(path)).mean())


def test_each_whole_video_gives_its_middle_frame_and_each_other_a_counted_reason(tmp_path: Path) -> None:
    for name, codec, frames in (
        ("a.avi", "XVID", 21),
        ("b.avi", "MJPG", 20),
        ("deep/c.mp4", "mp4v", 1),
        ("d.mkv", "mp4v", 8),
    ):
        video(tmp_path / name, codec, frames)
    whole = (tmp_path / "a.avi").read_bytes()
    (tmp_path / "cut.avi").write_bytes(whole[: len(whole) // 3])
    (tmp_path / "noise.avi").write_bytes(whole[:300] + bytes(len(whole) - 2300) + whole[-2000:])
    (tmp_path / "page.mp4").write_bytes(b"<html>404</html>")
    (tmp_path / "empty.avi").touch()
    (tmp_path / "list.mp4").write_text("#EXTM3U\n#EXTINF:1,\n/etc/passwd\n")
    os.symlink("/dev/zero", tmp_path / "endless.avi")
    done: list[tuple[int, int]] = []
    found = make_frames(str(tmp_path), progress=lambda at, total, what: done.append((at, total)), workers=2)
    assert (found["videos"], found["made"], found["there"]) == (10, 4, 0)
    assert sum(found["damaged"].values()) == 6
    assert found["damaged"]["not_a_video"] == 4
    assert set(found["damaged"]) <= {"not_a_video", "cannot_be_opened", "cut_off"}
    assert done[-1] == (10, 10)
    for name, middle in (("a", 10), ("b", 10), ("deep/c", 0), ("d", 4)):
        assert grey(tmp_path / f"{name}.png") == pytest.approx(STEP * middle, abs=STEP / 2 - 0.5), name
    record = json.loads((tmp_path / RECORD).read_text())
    spoilt = {"cut.avi", "noise.avi", "page.mp4", "empty.avi", "list.mp4", "endless.avi"}
    assert set(record["without_frame"]) == spoilt
    # What is there stays, and what was mended is made up for.
    (tmp_path / "a.png").write_bytes(b"mine")
    video(tmp_path / "cut.avi")
    again = make_frames(str(tmp_path), workers=1)
    assert (again["made"], again["there"]) == (1, 4)
    assert (tmp_path / "a.png").read_bytes() == b"mine"
    assert grey(tmp_path / "cut.png") == pytest.approx(80, abs=3)


def test_ucf101_is_read_from_the_frames_of_its_videos(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    home = tmp_path / "ucf101"
    names = ["ApplyEyeMakeup/v_ApplyEyeMakeup_g01_c01.avi", "YoYo/v_YoYo_g01_c01.avi"]
    (home / "ucfTrainTestlist").mkdir(parents=True)
    (home / "ucfTrainTestlist/testlist01.txt").write_text("\n".join(names) + "\n")
    for name in names:
        video(home / "UCF-101" / name, frames=9)
    layout = LAYOUTS["ucf101"]
    with pytest.raises(Absent, match=r"has videos and no frames of them; `openwit tasks frames .*/ucf101` makes"):
        layout.open(str(home), "test")
    assert main(["tasks", "frames", str(home), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["made"] == 2
    pictures = layout.open(str(home), "test")
    assert pictures.column("label") == ("ApplyEyeMakeup", "YoYo")
    assert float(np.asarray(pictures.read(1)).mean()) == pytest.approx(4 * STEP, abs=3)
    (home / "UCF-101/YoYo/v_YoYo_g01_c01.png").unlink()
    with pytest.raises(Broken, match=r"has no frame of YoYo/.*`openwit tasks frames` makes it, or says what is wrong"):
        layout.open(str(home), "test")


def test_frames_may_go_elsewhere_and_mistakes_are_one_line(tmp_path: Path) -> None:
    video(tmp_path / "in/x/a.avi", frames=3)
    make_frames(str(tmp_path / "in"), str(tmp_path / "out"))
    assert (tmp_path / "out/x/a.png").exists()
    assert sorted(os.listdir(tmp_path / "in/x")) == ["a.avi"]
    # A download that was tried again left two of a name: the first whole one is taken.
    (tmp_path / "in/x/b.avi").write_bytes(b"RIFF0000AVI ")
    video(tmp_path / "in/x/b.mkv", "mp4v", 5)
    video(tmp_path / "in/x/b.mp4", "mp4v", 9)
    found = make_frames(str(tmp_path / "in"))
    assert (found["videos"], found["made"], found["there"], found["damaged"]) == (4, 2, 0, {"cannot_be_opened": 1})
    assert grey(tmp_path / "in/x/b.png") == pytest.approx(2 * STEP, abs=STEP / 2 - 0.5)
    again = make_frames(str(tmp_path / "in"))
    assert (again["made"], again["there"], again["damaged"]) == (0, 2, {})
    with pytest.raises(DataError, match="holds no video"):
        make_frames(str(tmp_path / "out"))
    with pytest.raises(ConfigError, match="is no local folder"):
        make_frames("s3://bucket/videos")


def test_nothing_but_the_file_itself_is_opened(tmp_path: Path) -> None:
    """An MP4 in name and first bytes whose rest is a playlist of local files gives nothing."""
    video(tmp_path / "secret.avi")
    (tmp_path / "trap.mp4").write_bytes(
        b"\0\0\0\x18ftypisom#EXTM3U\n#EXTINF:1,\n" + str(tmp_path / "secret.avi").encode()
    )
    assert middle_frame({"path": str(tmp_path / "trap.mp4")}, b"") == ({"reason": "cannot_be_opened"}, [])
