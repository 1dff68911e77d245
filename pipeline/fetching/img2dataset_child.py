"""The one door to img2dataset: runs its Downloader, Resizer and WebDataset writer on shards, in a process of its own.

    python -m pipeline.fetching.img2dataset_child      reads folders, a line each, and answers each with a line of JSON

A folder holds job.json, shard.feather and the downloaded bytes. Only img2dataset's `download_image_with_retry` is replaced: it
would open sockets without any guard (file://, loopback and redirects to it, bodies and times without limit; measured on 1.47).
What it gets is already here, fetched by pipeline/web/network.py, and an audit hook forbids this process every connection. All else
is the package's own code, oddities included.
"""

import contextlib
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from PIL import Image

from pipeline.execution.sandbox_child import limit_memory

MEMORY_BYTES = 3 << 30
PIXEL_LIMIT = "pixel_limit"
_UNUSED = ("torch", "ray")
"""Optional imports of img2dataset and webdataset that no shard needs: seconds of start and 300 MB."""


def serve(make: Callable[[Path], bool]) -> None:
    """Answer each folder of stdin with {"done": whether `make` could, "said": its last printed line}."""
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 1)

    def reply(value: dict[str, Any]) -> None:
        replies.write(json.dumps(value) + "\n")
        replies.flush()

    try:
        _load()
    except Exception as error:
        reply({"error": f"{type(error).__name__}: {error}"})
        return
    reply({})
    for line in sys.stdin:
        with contextlib.redirect_stdout(io.StringIO()) as words:
            done = make(Path(json.loads(line)))
        reply({"done": done, "said": "".join(words.getvalue().strip().splitlines()[-1:])})


def _load() -> None:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # its import would ask the network for a newer version
    sys.modules.update(dict.fromkeys(_UNUSED))  # type: ignore[arg-type]  # None: "not installed", which both provide for
    import img2dataset.downloader  # noqa: F401 - what takes long is done before the limits and the first shard

    limit_memory(MEMORY_BYTES)
    sys.addaudithook(_no_network)


def make_shard(folder: Path) -> bool:
    """FOLDER/output/00000.tar, .parquet and 00000_stats.json from FOLDER's job; False when img2dataset gave it up."""
    from img2dataset import downloader
    from img2dataset.resizer import Resizer
    from img2dataset.writer import WebDatasetSampleWriter

    job = json.loads((folder / "job.json").read_text("utf-8"))
    downloader.download_image_with_retry = _from_disk(folder, job)
    settings = job["settings"]
    resizer = Resizer(
        settings["image_size"],
        settings["resize_mode"],
        settings["resize_only_if_bigger"],
        encode_quality=settings["encode_quality"],
        encode_format=settings["format"],
        skip_reencode=settings["skip_reencode"],
        min_image_size=settings["minimum_side_pixels"],
        max_image_area=settings["maximum_pixels"],
        max_aspect_ratio=settings["maximum_aspect_ratio"],
    )
    shard = downloader.Downloader(
        WebDatasetSampleWriter,
        resizer,
        thread_count=1,
        save_caption=True,
        extract_exif=False,
        output_folder=str(folder / "output"),
        column_list=["url", "caption"],
        timeout=1,
        number_sample_per_shard=max(2, len(job["bodies"])),
        oom_shard_count=5,
        compute_hash="sha256",
        verify_hash_type=None,
        encode_format=settings["format"],
        retries=0,
        user_agent_token=None,
        disallowed_header_directives=None,
    )
    return bool(shard((0, str(folder / "shard.feather")))[0])


def _from_disk(folder: Path, job: dict[str, Any]) -> Any:
    """What stands in for its download function: (key, stream, error) of a row from the bytes that are here."""
    bodies, errors, maximum = job["bodies"], job["errors"], job["settings"]["maximum_pixels"]

    def download(row: tuple[int, str], **_: Any) -> tuple[int, io.BytesIO | None, str | None]:
        key = row[0]
        if errors[key] is not None:
            return key, None, errors[key]
        body = (folder / "bodies" / bodies[key]).read_bytes()
        size = _size(body)
        # Its own area test comes after the decoding, which is what a decompression bomb is made for.
        if size is not None and size[0] * size[1] > maximum:
            return key, None, f"{PIXEL_LIMIT}: {size[0]} x {size[1]}"
        return key, io.BytesIO(body), None

    return download


def _size(body: bytes) -> tuple[int, int] | None:
    try:
        return Image.open(io.BytesIO(body)).size
    except Exception:  # no picture that Pillow knows: the decoder will say so
        return None


def _no_network(event: str, _: Any) -> None:
    if event in ("socket.connect", "socket.getaddrinfo", "socket.sendto", "socket.bind"):
        raise PermissionError(f"{event} in a process that must not reach the network")


if __name__ == "__main__":
    serve(make_shard)
