"""Downloaded bytes to the values of a row's picture columns: the parent's side of pipeline/pictures/picture.py.

Light to import: what decodes pictures is loaded by the sandboxed child alone.
"""

from typing import Any, Literal

from pipeline import storage
from pipeline.execution.sandbox import SandboxDied, shared

_TARGETS = {"process": "pipeline.pictures.picture:process", "look": "pipeline.pictures.picture:look"}


def picture_row(
    header: dict[str, Any], payload: bytes, target: Literal["process", "look"] = "process"
) -> dict[str, Any]:
    """IMAGE_COLUMNS of a picture (`look`: without `image`, format and sizes), or its reason and evidence; with either the size
    that its header names, where it could be read (header_width, header_height).

    `header` is PictureConfig.picture_header(); the work is done in this process's sandbox.
    """
    try:
        facts, blobs = shared(_TARGETS[target]).call(header, payload)
    except SandboxDied as death:
        return {"reason": death.reason, "evidence": f"{death.detail}, sha256 {storage.sha256(payload)}"}
    return facts_to_row(facts, blobs, payload)


def facts_to_row(facts: dict[str, Any], blobs: list[bytes], payload: bytes) -> dict[str, Any]:
    """What the child answered, in the types of IMAGE_COLUMNS."""
    if "reason" in facts:
        return facts | ({"thumbnail": blobs[0]} if blobs else {})
    names = ("image", "thumbnail8", "thumbnail")[-len(blobs) :]
    return facts | {
        **dict(zip(names, blobs, strict=True)),
        "phash": int(facts["phash"], 16),
        "phash256": bytes.fromhex(facts["phash256"]),
        "sha256": storage.sha256(payload),
    }
