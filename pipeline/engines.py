"""Two makers of stored pictures behind one call: our own decoder (`openwit`), and the package `img2dataset` itself.

Both get what the guarded fetch brought and give the same columns and reasons, so everything after them works with either;
tests/pipeline/test_engines.py is the suite that both pass.
"""

from collections.abc import Sequence
from typing import Any

from pipeline.answer import Fetched
from pipeline.img2dataset_engine import img2dataset_pictures
from pipeline.picture_config import PictureConfig
from pipeline.picture_row import picture_row


def pictures(config: PictureConfig, answers: Sequence[Fetched], texts: Sequence[str]) -> list[dict[str, Any]]:
    """IMAGE_COLUMNS, or reason and evidence, of each answer, whose caption is `texts[i]`; equal URLs are opened once."""
    if config.engine == "img2dataset":
        return img2dataset_pictures(config, answers, texts)
    header = config.picture_header()
    found: dict[str, dict[str, Any]] = {}
    for answer in answers:
        if answer.url in found:
            continue
        if answer.reason is not None:
            found[answer.url] = {"reason": answer.reason, "evidence": answer.evidence}
        else:
            found[answer.url] = picture_row(header, answer.body)
    return [found[answer.url] for answer in answers]
