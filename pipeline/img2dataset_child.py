"""The one door to img2dataset: runs its Downloader, Resizer and WebDataset writer on one shard, in a process of its own.

    python -m pipeline.img2dataset_child FOLDER        FOLDER holds job.json, shard.feather and the downloaded bytes

Only its `download_image_with_retry` is replaced: it would open sockets without any guard (file://, loopback and redirects to
it, bodies and times without limit; measured on 1.47). What it gets is already here, fetched by pipeline/network.py, and an
audit hook forbids this process every connection. All else is the package's own code, versions and oddities included.
"""

import io
import json
import os
import sys
from pathlib import Path
from typing import Any

os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"  # its import would ask the network for a newer version

from PIL import Image

from pipeline.sandbox_child import limit_memory

READY = "ready"
"""This file says that the package was imported: what fails from here on is the shard's fault."""
PIXEL_LIMIT = "pixel_limit"


def main() -> int:
    """Make FOLDER/output/00000.{tar,parquet} and 00000_stats.json; 3 when img2dataset itself gave the shard up."""
    folder = Path(sys.argv[1])
    job = json.loads((folder / "job.json").read_text("utf-8"))
    from img2dataset import downloader
    from img2dataset.resizer import Resizer
    from img2dataset.writer import WebDatasetSampleWriter

    limit_memory(job["memory_bytes"])
    sys.addaudithook(_no_network)
    (folder / READY).touch()
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
    done, _ = shard((0, str(folder / "shard.feather")))
    return 0 if done else 3


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
    sys.exit(main())
