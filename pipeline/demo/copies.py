"""Copies on the demo web: the same bytes again, the same picture recompressed, resized or cropped, evaluation pictures leaked.

Each copy is near its original and far from every other picture, other copies included.
"""

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

from PIL import Image

from pipeline.demo.casting import COPY_BITS, COPY_RMS, Casting, Pair, decoded, key
from pipeline.demo.crowd import Look
from pipeline.demo.encodings import COPIES, near_copy
from pipeline.errors import ConfigError


def plant_copies(casting: Casting) -> None:
    """Pairs on a second page, exact copies, near copies; no picture serves as original twice."""
    config = casting.config
    chosen = iter([casting.originals[int(i)] for i in casting.random.permutation(len(casting.originals))])
    for _ in range(config.duplicate_pair):
        casting.cast.pairs.append(replace(next(chosen).pair, fate="select:duplicate_pair"))
    for original in itertools.islice(chosen, config.duplicate_bytes):
        host, url = original.pair.host, original.pair.url
        what, ending = (original.place, "copy"), url.rsplit(".", 1)[-1]
        data = casting.cast.files[key(url)].data
        _publish(casting, host, what, data, ending, original.other, "deduplicate:duplicate_bytes")
    number = 0
    for original in chosen:
        if number == config.near_duplicate:
            return
        host, url, kind = original.pair.host, original.pair.url, tuple(COPIES)[number % len(COPIES)]
        near = _near(casting, decoded(casting.cast.files[key(url)].data), original.place, kind)
        if near is not None:
            _publish(casting, host, (original.place, kind), near, "jpg", original.other, "deduplicate:near_duplicate")
            number += 1
    if number < config.near_duplicate:
        raise ConfigError(
            f"web.near_duplicate={config.near_duplicate}: only {number} pictures stay near when copied; plant fewer"
        )


def leak(
    casting: Casting, images: Sequence[Image.Image], first: int, count: int, host: str, text: Callable[[int], str]
) -> None:
    """Put `count` of the evaluation pictures `images` on the web; `first` is the crowd's number of images[0]."""
    number = 0
    for index in (int(place) for place in casting.random.permutation(len(images))):
        if number == count:
            return
        # Two evaluation pictures may look alike; one that does is not leaked, so that every leak is near one only.
        data = _near(casting, images[index], first + index, ("recompressed", "resized")[number % 2])
        if data is not None:
            _publish(casting, host, ("evaluation", index), data, "jpg", text(index), "decontaminate:near_evaluation")
            number += 1
    if number < count:
        raise ConfigError(f"web: {count} evaluation pictures to leak on {host}, only {number} fit; lower web.leaked_*")


def _near(casting: Casting, image: Image.Image, place: int, kind: str) -> bytes | None:
    """A copy of crowd member `place`, as bold as still counts as near; None where none does."""
    for how in COPIES[kind]:
        data = near_copy(image, kind, how)
        look = Look.of(decoded(data))
        rms, bits = casting.crowd.distance(look, place)
        if rms <= COPY_RMS and bits <= COPY_BITS and casting.crowd.stands_out(look, but=place):
            casting.crowd.add(look)
            return data
    return None


def _publish(
    casting: Casting, host: str, what: tuple[object, ...], data: bytes, ending: str, text: str, fate: str
) -> None:
    url = casting.url(host, *what, ending=ending)
    casting.put(url, data, ending)
    casting.cast.pairs.append(Pair(host, url, text, fate))
