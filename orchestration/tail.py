"""Follow a JSON-lines file that another process writes, and may cut back and write again when it resumes."""

import os
from typing import Any

from training.watching.record import whole_rows


class Tail:
    """Yields each step of a steps.jsonl once, in order, however often the file is replaced below us.

    A training that resumes cuts its record back to its checkpoint and does the steps after it again; those give the same
    numbers, so they are not reported a second time.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self._offset = 0
        self._inode = -1
        self._last_line = b""
        self._last_step = 0

    def new_lines(self) -> list[dict[str, Any]]:
        """What was added since the last call; [] while there is no file. A line without its end is left for later."""
        try:
            with open(self.path, "rb") as file:
                if not self._is_continued(file.fileno()):
                    self._offset, self._last_line = 0, b""
                file.seek(self._offset)
                whole = file.read()
                self._inode = os.fstat(file.fileno()).st_ino
        except FileNotFoundError:
            return []
        whole = whole[: whole.rfind(b"\n") + 1]
        lines = whole.splitlines(keepends=True)
        if lines:
            self._offset += len(whole)
            self._last_line = lines[-1]
        found = [row for _, row in whole_rows(whole)[0] if row["step"] > self._last_step]
        if found:
            self._last_step = found[-1]["step"]
        return found

    def _is_continued(self, descriptor: int) -> bool:
        """Whether the file is the one we read, with the line that we read last still in its place."""
        if os.fstat(descriptor).st_ino != self._inode:
            return False
        length = len(self._last_line)
        return os.pread(descriptor, length, self._offset - length) == self._last_line
