"""Where a row of CSV ends: at a line end outside quotes, told as Python's csv module tells it, also of damaged files.

A quote opens a cell only at its start, what follows the closing one is plain, and an error (a cell over the limit, a lone
carriage return) ends its row with the line. So the rows between two places are the same whether a file is read whole or
in parts.
"""

from pipeline.sources.table_form import MAX_CELL


class Quotes:
    """Goes through a file line by line."""

    def __init__(self, mark: str) -> None:
        self._mark = mark.encode()
        self._begin = self._mark + b'"'
        self.is_open = False
        self._length = 0

    def is_open_after(self, line: bytes) -> bool:
        """Whether a quoted cell goes on behind this line, which comes without its end."""
        line = line.replace(b"\0", b"")
        at = 0
        while True:
            if not self.is_open:
                if line[at : at + 1] != b'"':
                    found = line.find(self._begin, at)
                    if found < 0 or b"\r" in line[at:found]:
                        return False
                    at = found + len(self._mark)
                at, self.is_open, self._length = at + 1, True, 0
            end = _closing(line, at)
            if end < 0:
                self._length += len(line[at:].replace(b'""', b'"').decode("utf-8", "replace")) + 1
                self.is_open = self._length <= MAX_CELL
                return self.is_open
            self.is_open = False
            found = line.find(self._mark, end + 1)
            if found < 0 or b"\r" in line[end:found]:
                return False
            at = found + len(self._mark)


def _closing(line: bytes, at: int) -> int:
    """The quote that closes the cell which began before `at`, two of them being one of its characters; -1 for none."""
    end = line.find(b'"', at)
    while end >= 0 and line[end + 1 : end + 2] == b'"':
        end = line.find(b'"', end + 2)
    return end
