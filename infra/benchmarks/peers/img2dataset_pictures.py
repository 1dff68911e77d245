"""The peer of resize and hostile: img2dataset's own functions, alone in an environment of its own.

Each line of stdin is JSON: {"do": "load"|"resize"|"open"|"fetch", ...}; each answer a line of JSON. `fetch` is its
download_image, `open` its Resizer on one file, `resize` the Resizer on all loaded files with its CPU seconds.
"""

import base64
import io
import json
import os
import resource
import sys
import time
from pathlib import Path

sys.path.pop(0)  # this folder has a script called img2dataset.py
os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
os.environ["WANDB_MODE"] = "disabled"

from img2dataset.downloader import download_image
from img2dataset.resizer import Resizer

MEMORY_BYTES = 4 << 30


def peak_megabytes():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def opened(resizer, body):
    image, *_, error = resizer(io.BytesIO(body))
    return {"image": None if image is None else base64.b64encode(image).decode(), "error": error}


def main():
    with open(sys.argv[1], encoding="utf-8") as file:
        job = json.load(file)
    replies = os.fdopen(os.dup(1), "w")  # its Resizer redirects descriptors 1 and 2 while it works
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resizer = Resizer(**job["resizer"])
    bodies = []
    for line in sys.stdin:
        asked, answer = json.loads(line), {}
        start, wall = time.process_time(), time.monotonic()
        if asked["do"] == "load":
            resizer = Resizer(**asked["resizer"])
            bodies = [Path(path).read_bytes() for path in asked["paths"]]
        elif asked["do"] == "resize":
            for body in bodies:
                resizer(io.BytesIO(body))
        elif asked["do"] == "open":
            answer = opened(resizer, Path(asked["path"]).read_bytes())
        elif asked["do"] == "fetch":
            _, stream, error = download_image((0, asked["url"]), asked["timeout"], None, ["noai", "noimageai"])
            answer = {"bytes": None if stream is None else len(stream.getvalue()), "error": error}
        answer |= {"seconds": time.process_time() - start, "wall": time.monotonic() - wall, "peak": peak_megabytes()}
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


main()
