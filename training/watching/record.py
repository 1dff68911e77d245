"""Lines of JSON that a run adds to files of its own (steps.jsonl, evaluations.jsonl), read after whatever happened to the disk.

A kill leaves half a last line, a power failure zeros or bytes of something else. A record is no state: what cannot be read is left
out and counted, and the run goes on. No torch here.
"""

import json
from typing import Any

Row = dict[str, Any]


def whole_rows(data: bytes) -> tuple[list[tuple[bytes, Row]], int]:
    """Each line that is a JSON object with a whole-numbered `step`, with its end, and what it says; and how many are none.

    A last line without its end is neither: it was never written to its end.
    """
    found: list[tuple[bytes, Row]] = []
    damaged = 0
    for line in data[: data.rfind(b"\n") + 1].splitlines(keepends=True):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError):
            row = None
        if isinstance(row, dict) and type(row.get("step")) is int:
            found.append((line, row))
        else:
            damaged += 1
    return found, damaged
