"""Standing: what a journal's row is worth under today's settings, so that a changed setting asks again for what it may turn
and for nothing else.

    a picture that is here   stays, however patient the network was; a filter on size, entropy, sharpness or bytes is applied to
                             what the row says of it
    a failure                counts as long as the settings that it may be due to (PATIENCE, CAUSES) are those it was met
                             under; answers that no setting turns (404, opt-outs, no picture) count for good

The rest of what a fetched picture depends on (its form, whose rules are obeyed) is in the store's name instead: fetch.py,
`store_name`. What is said here is what asking again would say, so a result does not depend on a store's history, but for how
long a server took.
"""

import functools
import json
from collections.abc import Mapping
from typing import Any

from pipeline import storage
from pipeline.pictures.filters import FILTERS, look_fault, size_fault
from pipeline.pictures.picture_config import PictureConfig
from pipeline.web.addresses import url_refusal
from pipeline.web.taxonomy import is_passing
from pipeline.web.urls import UnusableURLError, canonical
from pipeline.web.web_config import LIMITS, NetworkConfig

Verdict = tuple[str | None, str | None]
"""(reason, evidence); (None, None) for a picture that is here."""

PATIENCE = ("total_seconds", "connect_seconds", "minimum_bytes_per_second", "grace_seconds", "retries")
"""What a passing failure (taxonomy.is_passing) may be due to."""
CAUSES: dict[str, tuple[str, ...]] = {
    "too_large": ("max_bytes",),
    "too_many_redirects": ("max_redirects",),
    "address_refused": ("allowed_ports",),
    "decoder_crashed": FILTERS,  # its size is not known: it might not have come to the decoder
    "decoder_hung": FILTERS,
}
"""Reason of another failure -> what it may be due to; those that are not here are due to no setting."""
_SIZES = ("pixel_limit", "image_too_small", "aspect_too_extreme")
_LOOKS = ("image_blank", "image_blurred")
JUDGED = (
    *("url", "under", "reason", "evidence", "status", "redirects", "bytes"),
    *("header_width", "header_height", "original_width", "original_height", "entropy", "sharpness"),
)
"""What is looked at in a row of the journal."""


class Standing:
    """Today's settings. `under` is what a row is written with, `verdict` what it says today."""

    def __init__(self, config: PictureConfig, network: NetworkConfig) -> None:
        self._picture, self._network = config.picture_header(), network
        limits = network.model_dump(mode="json", include=set(LIMITS))
        self._today = limits | {name: self._picture[name] for name in FILTERS}
        self.under = storage.canonical_json(self._today).decode()

    def verdict(self, row: Mapping[str, Any]) -> Verdict | None:
        """What the row (JUDGED) comes to; None: it no longer counts, and its URL is to be asked for."""
        reason, evidence = row["reason"], row["evidence"]
        if row["under"] == self.under:
            return reason, evidence
        changed = _changed(row["under"], self.under)
        causes = PATIENCE if is_passing(reason, row["status"], evidence) else CAUSES.get(reason, ())
        if changed.intersection(causes):
            return None
        if not self._may_be_reached(row, changed):
            return None
        if "max_bytes" in changed and (row["bytes"] or 0) > self._network.max_bytes:
            return "too_large", f"over {self._network.max_bytes} bytes"
        return self._filtered(row) if changed.intersection(FILTERS) else (reason, evidence)

    def _may_be_reached(self, row: Mapping[str, Any], changed: frozenset[str]) -> bool:
        """Whether its way is still open: so many redirects, that port."""
        if "max_redirects" in changed and (row["redirects"] or 0) > self._network.max_redirects:
            return False
        if "allowed_ports" not in changed or row["reason"] == "address_refused":
            return True
        ports = self._network.allowed_ports
        if set(json.loads(row["under"])["allowed_ports"]) <= set(ports):
            return True
        if row["redirects"]:  # over which ports is not known
            return False
        try:
            return url_refusal(canonical(row["url"]), None, ports, self._network.hosts) is None
        except UnusableURLError:
            return True

    def _filtered(self, row: Mapping[str, Any]) -> Verdict | None:
        """In the order of pipeline.pictures.picture: the size in its header, that of its first frame, its looks."""
        reason = row["reason"]
        for kind in ("header", "original"):
            width, height = row[f"{kind}_width"], row[f"{kind}_height"]
            if width is not None and (fault := size_fault(width, height, self._picture)) is not None:
                return fault
        if reason in _SIZES:
            return None  # it may pass now
        if row["entropy"] is not None and (fault := look_fault(row["entropy"], row["sharpness"], self._picture)):
            return fault
        return None if reason in _LOOKS else (reason, row["evidence"])


@functools.lru_cache(maxsize=256)
def _changed(then: str, now: str) -> frozenset[str]:
    old, new = json.loads(then), json.loads(now)
    return frozenset(name for name in new if old.get(name) != new[name])
