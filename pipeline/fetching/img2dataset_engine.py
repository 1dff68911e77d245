"""Engine `img2dataset`: for users who want exactly that package's pictures, and none of its holes.

Each work item is one img2dataset shard in a temporary folder, made by its own Downloader, Resizer and WebDataset writer in a
limited child process (img2dataset_child.py). What goes out to the network is ours: URLs brought to canonical form, addresses
vetted at connect time and after every redirect, robots.txt and opt-outs obeyed, sizes and times limited; the child gets bytes.

img2dataset loses shards quietly (a killed process leaves a partial tar, a failed row is in no file, exit code 0), so a shard
counts only when its stats, its table and its tar agree row by row. A lost one is done again, then cut in halves until the row
that breaks it stands alone and falls with a reason. Kept as the package does it, measured on 1.47: EXIF orientation is ignored,
16-bit pictures turn white, colour profiles are dropped; any format that OpenCV reads is accepted.
"""

import json
import os
import tarfile
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from pipeline.errors import DataError
from pipeline.fetching.img2dataset_worker import HungError, LostShardError, worker
from pipeline.pictures.picture_config import PictureConfig
from pipeline.pictures.picture_row import picture_row
from pipeline.web.answer import Fetched
from pipeline.web.network import NetworkConfig
from pipeline.web.together import fetch_all

CHILD = "pipeline.fetching.img2dataset_child:make_shard"
SECONDS_TO_START, SECONDS_PER_ROW = 30.0, 1.0
_REASONS = {
    "image too small": "image_too_small",
    "image area too large": "pixel_limit",
    "aspect ratio too large": "aspect_too_extreme",
}
Facts = dict[str, Any]


def download_with_img2dataset(config: PictureConfig, network: NetworkConfig, rows: pa.Table) -> list[Facts]:
    """IMAGE_COLUMNS of each row of `rows` (columns url and text), or its reason and evidence, in the order of the rows.

    Raises DataError when img2dataset cannot be started or cannot write.
    """
    answers = fetch_all(network, rows.column("url").to_pylist())
    return img2dataset_pictures(config.picture_header(), answers, rows.column("text").to_pylist())


def img2dataset_pictures(header: Facts, answers: Sequence[Fetched], texts: Sequence[str]) -> list[Facts]:
    """The same for what was fetched already (or read from wherever it lay); `header` is PictureConfig.picture_header()."""
    everything = list(range(len(answers)))
    found: dict[int, Facts] = {}
    # Once more as a whole: most losses are no row's fault. Then in halves.
    waiting = [everything, everything] if answers else []
    while waiting and len(found) < len(answers):
        part = waiting.pop()
        try:
            made = _shard(header, [answers[i] for i in part], [texts[i] for i in part])
        except LostShardError as loss:
            if waiting and waiting[-1] is everything:
                continue
            if len(part) > 1:
                middle = len(part) // 2
                waiting += [part[middle:], part[:middle]]
                continue
            reason = "decoder_hung" if isinstance(loss, HungError) else "decoder_crashed"
            made = [{"reason": reason, "evidence": f"img2dataset: {loss}"}]
        found.update(zip(part, made, strict=True))
    return [found[i] for i in everything]


def _shard(header: Facts, answers: list[Fetched], texts: list[str]) -> list[Facts]:
    with tempfile.TemporaryDirectory(prefix="openwit-img2dataset-") as name:
        folder = Path(name)
        _prepare(folder, header, answers, texts)
        _run(folder, len(answers))
        table, pictures = read_shard(folder / "output", len(answers), header["format"])
    looks: dict[str, Facts] = {}
    return [
        _facts(header, answer, row, pictures.get(row["key"]), looks) for answer, row in zip(answers, table, strict=True)
    ]


def _prepare(folder: Path, header: Facts, answers: list[Fetched], texts: list[str]) -> None:
    for below in ("bodies", "output"):
        (folder / below).mkdir()
    numbers: dict[str, str] = {}
    for answer in answers:
        if answer.reason is None and answer.url not in numbers:
            numbers[answer.url] = f"{len(numbers):06d}"
            (folder / "bodies" / numbers[answer.url]).write_bytes(answer.body)
    job = {
        "settings": header,
        "bodies": [numbers.get(answer.url) for answer in answers],
        "errors": [None if answer.reason is None else f"{answer.reason}: {answer.evidence}" for answer in answers],
    }
    (folder / "job.json").write_text(json.dumps(job), "utf-8")
    shard = pa.table({"url": [answer.url for answer in answers], "caption": pa.array(texts, pa.string())})
    with pa.ipc.new_file(str(folder / "shard.feather"), shard.schema) as file:
        file.write_table(shard)


def _run(folder: Path, rows: int) -> None:
    answer = worker(CHILD.partition(":")[0], os.getpid()).ask(folder, SECONDS_TO_START + rows * SECONDS_PER_ROW)
    if "No space left on device" in answer["said"]:
        raise DataError(f"engine img2dataset: no space left in {tempfile.gettempdir()}; set TMPDIR to a larger disk")
    if not answer["done"]:
        raise LostShardError("it gave the shard up")


def read_shard(output: Path, rows: int, format: str) -> tuple[list[Mapping[str, Any]], dict[str, bytes]]:
    """(its table's rows in the order of the keys, picture by key) of img2dataset's shard 00000.

    Raises LostShardError unless stats, table and tar are all there and agree on every row.
    """
    try:
        stats = json.loads((output / "00000_stats.json").read_text("utf-8"))
        table = sorted(pq.read_table(output / "00000.parquet").to_pylist(), key=lambda row: str(row["key"]))
        members: dict[str, bytes] = {}
        with tarfile.open(output / "00000.tar", errorlevel=2) as tar:
            for member in tar:
                file = tar.extractfile(member)
                members[member.name] = file.read() if file is not None else b""
    except (OSError, ValueError, tarfile.TarError, pa.ArrowInvalid) as error:
        raise LostShardError(f"{type(error).__name__} in its files") from None
    good = [row["key"] for row in table if row["status"] == "success"]
    wanted = {f"{key}.{end}" for key in good for end in (format, "txt", "json")}
    counts = [stats["count"], stats["successes"] + stats["failed_to_download"] + stats["failed_to_resize"], len(table)]
    if counts != [rows] * 3 or [int(row["key"]) for row in table] != list(range(rows)):
        raise LostShardError(f"{rows} rows went in, {counts} came out")
    if stats["successes"] != len(good) or set(members) != wanted:
        raise LostShardError(f"{len(good)} pictures in its table, {len(members)} files in its tar")
    return table, {key: members[f"{key}.{format}"] for key in good}


def _facts(
    header: dict[str, Any], answer: Fetched, row: Mapping[str, Any], picture: bytes | None, looks: dict[str, Facts]
) -> Facts:
    """One of its rows in the form that the other engine gives."""
    message = str(row["error_message"])
    if answer.reason is not None:
        return {"reason": answer.reason, "evidence": answer.evidence}
    if message.startswith("pixel_limit: "):
        return {"reason": "pixel_limit", "evidence": message.removeprefix("pixel_limit: ")}
    if message in _REASONS:
        return {"reason": _REASONS[message], "evidence": f"img2dataset: {message}"}
    if answer.url not in looks:
        looks[answer.url] = _look(header, answer.body, picture)
    seen = looks[answer.url]
    if picture is None:
        seen_as = seen.get("reason")
        reason = seen_as if seen_as in ("not_an_image", "unsupported_format") else "decode_failed"
        return {"reason": reason, "evidence": f"img2dataset: {message[:200]}"}
    if "reason" in seen:
        return seen
    sizes = {name: row[name] for name in ("width", "height", "original_width", "original_height")}
    return seen | sizes | {"image": picture, "format": header["format"], "repairs": [], "sha256": row["sha256"]}


def _look(header: dict[str, Any], body: bytes, picture: bytes | None) -> Facts:
    """Hashes and statistics, from the downloaded picture; from the stored one where only OpenCV can read the former.

    Borders and crops are thus in no hash, and pictures of both engines compare with each other.
    """
    lenient = header | {"minimum_side_pixels": 0, "maximum_aspect_ratio": 1e9, "accept_truncated": True}
    seen = picture_row(lenient, body, "look")
    if picture is not None and "reason" in seen and seen["reason"] not in ("image_blank", "image_blurred"):
        return picture_row(lenient, picture, "look")
    return seen
