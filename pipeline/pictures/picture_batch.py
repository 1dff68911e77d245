"""Sandbox target: several pictures in one message, since a message costs about as much as a small picture."""

from typing import Any

from pipeline.pictures.picture import process


def process_batch(header: dict[str, Any], payload: bytes) -> tuple[dict[str, Any], list[bytes]]:
    """`header` is {"picture": what `process` reads, "sizes": of the pictures in `payload`}.

    Returns {"facts": one per picture, "blobs": how many blobs each has} and all blobs in order.
    """
    facts, counts, blobs = [], [], []
    start = 0
    view = memoryview(payload)
    for size in header["sizes"]:
        found, made = process(header["picture"], bytes(view[start : start + size]))
        start += size
        facts.append(found)
        counts.append(len(made))
        blobs += made
    return {"facts": facts, "blobs": counts}, blobs
