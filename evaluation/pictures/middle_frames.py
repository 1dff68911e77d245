"""Middle frames of a folder of videos as pictures beside them: what UCF101 and Kinetics are read as.

`<class>/<video>.avi` gives `<class>/<video>.png`, without loss, so that no decoder stands between an evaluation and its figures.
A video that gives none is counted by its reason and named in the record; the others go on. Frames that are there stay, and are
written whole or not at all: started again, it goes on where it ended.
"""

import os
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from evaluation.pictures.folder import Folder
from evaluation.pictures.image_folder import VIDEOS
from pipeline import storage
from pipeline.errors import ConfigError, DataError
from pipeline.execution.progress import Progress, silent
from pipeline.execution.sandbox import Sandbox, SandboxDied

TARGET = "evaluation.pictures.video:middle_frame"
RECORD = "openwit-frames.json"
REASONS = {
    "not_a_video": "its first bytes are of no AVI, MP4 or Matroska file",
    "cannot_be_opened": "it has no picture that FFmpeg could decode",
    "cut_off": "it ends before its middle frame, or is damaged there",
    "too_large": "its frames have more than 64,000,000 pixels",
    "decoder_crashed": "the decoder crashed on it",
    "decoder_hung": "the decoder did not come to an end",
}
"""Why a video gives no frame."""
SECONDS = 120.0
"""For one video: 300 frames of Kinetics decode in less than two."""


def make_frames(
    folder: str, to: str | None = None, progress: Progress = silent, workers: int | None = None
) -> dict[str, Any]:
    """{videos, made, there, damaged: {reason: count}, record}: the frames of all videos below `folder`, below `to` or beside them.

    Raises ConfigError for a folder that is not local or not there, DataError where it holds no video or cannot be written.
    """
    for path in filter(None, (folder, to)):
        if not storage.is_local(path):
            raise ConfigError(f"{path}: is no local folder; videos are decoded from a disk, copy them there")
    home, target = Folder(folder), Folder(to or folder)
    videos = home.pictures("", VIDEOS)
    if not videos:
        raise DataError(f"{folder}: holds no video ({', '.join(VIDEOS)}); name the folder of the unpacked archive")
    owners: dict[str, list[str]] = {}
    for video in videos:
        owners.setdefault(f"{os.path.splitext(video)[0]}.png", []).append(video)
    missing = [frame for frame in owners if not storage.exists(target.at(frame))]
    wrong: dict[str, str] = {}
    with ThreadPoolExecutor(workers or os.cpu_count() or 1, "video") as pool, _Children() as children:
        work = (pool.submit(_first, children.mine, home, owners[frame], target.at(frame)) for frame in missing)
        for done, future in enumerate(list(work), 1):
            wrong |= future.result()
            progress(done, len(missing), f"frames of {folder}")
    counts = dict(sorted(Counter(wrong.values()).items()))
    record = {
        "videos": len(videos),
        "damaged": counts,
        "without_frame": {name: REASONS[wrong[name]] for name in sorted(wrong)},
    }
    path = target.at(RECORD)
    storage.write_json(path, record)
    made = sum(not set(owners[frame]) <= set(wrong) for frame in missing)
    return {"videos": len(videos), "made": made, "there": len(owners) - len(missing), "damaged": counts, "record": path}


def _first(sandbox: Callable[[], Sandbox], home: Folder, videos: list[str], frame: str) -> dict[str, str]:
    """Write the frame of the first of these videos, whose names differ by their ending, that is whole: downloads that were
    tried again leave several. Why those before it gave none."""
    wrong: dict[str, str] = {}
    for video in videos:
        reason = _one(sandbox, home.at(video), frame)
        if not reason:
            break
        wrong[video] = reason
    return wrong


def _one(sandbox: Callable[[], Sandbox], video: str, frame: str) -> str:
    """Write the frame of a video; why there is none, or "". Raises DataError where it cannot be written."""
    try:
        if not os.path.isfile(video):
            return "not_a_video"
        found, pictures = sandbox().call({"path": video}, b"")
    except SandboxDied as death:
        return death.reason
    if "reason" in found:
        return str(found["reason"])
    try:
        storage.write_bytes(frame, pictures[0])
    except OSError as error:
        raise storage.unwritable(frame, error) from error
    return ""


class _Children:
    """A limited child process per thread, all ended in the end."""

    def __init__(self) -> None:
        self._own = threading.local()
        self._all: list[Sandbox] = []

    def mine(self) -> Sandbox:
        if not hasattr(self._own, "sandbox"):
            self._own.sandbox = Sandbox(TARGET, timeout_seconds=SECONDS)
            self._all.append(self._own.sandbox)
        sandbox: Sandbox = self._own.sandbox
        return sandbox

    def __enter__(self) -> "_Children":
        return self

    def __exit__(self, *error: object) -> None:
        for sandbox in self._all:
            sandbox.close()
