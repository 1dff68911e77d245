"""The state while the demo web's cast is chosen: pairs, files and misbehaviour so far, and what everything looks like."""

import hashlib
import io
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from pipeline.demo import encodings
from pipeline.demo.config import DemoWebConfig
from pipeline.demo.crowd import Crowd
from pipeline.demo.scenes import Scene

DIGITS_HOST = "digits.openwit.example"
SCENES_HOST = "scenes.openwit.example"
SLOW_HOST = "slow.openwit.example"
EVALUATION_SCENES = 400
"""Held-out scenes of the evaluation set: scene_list("test", EVALUATION_SCENES)."""

MINIMUM_RMS, MINIMUM_BITS = 15.0, 10
"""Unplanned pictures differ from each other and from evaluation pictures by at least this."""
COPY_RMS, COPY_BITS = 7.0, 6
"""Copies differ from their original by at most this."""


@dataclass(frozen=True)
class Pair:
    """One <img> on one page. `origin` is where its text stands; `below` a second text, under a picture that has an alt."""

    host: str
    url: str
    text: str | None
    fate: str = "kept"
    origin: str = "alt"
    below: str = ""
    recovered: str = ""


@dataclass(frozen=True)
class WebFile:
    """What a URL answers with."""

    data: bytes
    type: str
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass
class Cast:
    """Everything but the pages: pairs, and files and behaviours by "host/path"."""

    pairs: list[Pair] = field(default_factory=list)
    files: dict[str, WebFile] = field(default_factory=dict)
    behaviours: dict[str, dict[str, Any]] = field(default_factory=dict)


@dataclass(frozen=True)
class Subject:
    """What a picture shows: a digit of the train part, or a scene."""

    number: int
    host: str
    role: str
    scene: Scene | None = None


@dataclass(frozen=True)
class Original:
    """A plain picture that may be copied: its pair, another caption for the copy, its number in the crowd."""

    pair: Pair
    other: str
    place: int


class Casting:
    """The state while the cast is chosen: who is in already, and what they look like."""

    def __init__(self, config: DemoWebConfig) -> None:
        self.config = config
        self.random = np.random.default_rng([zlib.crc32(b"cast"), config.seed])
        self.cast = Cast()
        # Every subject, every copy and leak, every evaluation picture (360 digits).
        capacity = config.digits + config.scenes + config.near_duplicate + config.leaked_digits + config.leaked_scenes
        self.crowd = Crowd(capacity + 360 + EVALUATION_SCENES, MINIMUM_RMS, MINIMUM_BITS)
        self.originals: list[Original] = []
        self.used: dict[str, int] = {}

    def next(self, role: str) -> int:
        """0, 1, 2, ... per role."""
        self.used[role] = self.used.get(role, -1) + 1
        return self.used[role]

    def url(self, host: str, *what: object, ending: str, folder: str = "/images") -> str:
        name = hashlib.sha256(repr((self.config.seed, host, *what)).encode()).hexdigest()
        return f"http://{host}{folder}/{name[0]}/{name[1:9]}.{ending}"

    def put(self, url: str, data: bytes, ending: str, headers: Mapping[str, str] | None = None) -> None:
        self.cast.files[key(url)] = WebFile(data, encodings.TYPES[ending], headers or {})

    def behave(self, url: str, kind: str, **how: Any) -> None:
        self.cast.behaviours[key(url)] = {"kind": kind, **how}


def decoded(data: bytes) -> Image.Image:
    """A file of ours as an upright RGB picture; not for 16-bit files, which Pillow turns white."""
    with Image.open(io.BytesIO(data)) as image:
        return ImageOps.exif_transpose(image).convert("RGB")


def key(url: str) -> str:
    """`host/path`, the form that site.json uses."""
    return url.removeprefix("http://")
