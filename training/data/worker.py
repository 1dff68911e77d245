"""A loader's process: fills rows of shared memory with pictures, as its parent asks line by line.

    python -m training.data.worker        first line: the job; then {"row": r, "start": p, "count": n}, each answered in one line

The memory is an inherited descriptor without a name, so a kill leaves nothing behind; it ends when its parent does, because
then its input ends. It imports no torch: labels are the parent's.
"""

import json
import mmap
import signal
import sys
from typing import Any

import numpy as np

from pipeline.errors import UserError
from training.data.config import DataConfig
from training.data.pictures import pictures
from training.data.sources import open_data
from training.tokens.tokenizer import Tokenizer


def main() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal goes to all: the parent ends this one
    job = json.loads(sys.stdin.readline())
    try:
        data = open_data(DataConfig.model_validate(job["data"]), job["dataset"]).needing(set(job["needs"]))
        tokenizer = Tokenizer.of_bytes(job["tokenizer"].encode()) if job["tokenizer"] else None
        maker = pictures(data, job["seed"], job["stride"], job["size"], tokenizer, job["share_of_cache"])
        memory = mmap.mmap(job["descriptor"], 0)
        rows = np.frombuffer(memory, np.uint8).reshape(-1, 3, job["size"], job["size"])
        _answer({"id": data.id})
        for line in sys.stdin:
            ask = json.loads(line)
            filled = maker.fill(ask["start"], rows[ask["row"] : ask["row"] + ask["count"]])
            _answer(vars(filled))
    except UserError as error:
        _answer({"error": str(error)})


def _answer(value: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
