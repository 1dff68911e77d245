"""Copies on the demo web: the same bytes again, the same picture recompressed, resized or cropped, evaluation pictures leaked.

Each copy is near its original and far from every other picture, other copies included.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from PIL import Image

from pipeline.demo.casting import COPY_BITS, COPY_RMS, Casting, Pair, decoded, key
from pipeline.demo.encodings import COPIES, near_copy
from pipeline.errors import ConfigError


def plant_copies(casting: Casting) -> None:
    """Pairs on a second page, exact copies, near copies; no picture serves as original twice."""
    config = casting.config
    wanted = config.duplicate_pair + config.duplicate_bytes + config.near_duplicate
    if wanted > len(casting.originals) // 2:
        raise ConfigError(
            f"web: {wanted} copies wanted of {len(casting.originals)} plain pictures, at most half may be copied;"
            " raise web.scenes or plant fewer"
        )
    chosen = iter([casting.originals[int(i)] for i in casting.random.permutation(len(casting.originals))])
    for _ in range(config.duplicate_pair):
        casting.cast.pairs.append(replace(next(chosen).pair, fate="select:duplicate_pair"))
    for _ in range(config.duplicate_bytes):
        original = next(chosen)
        file = casting.cast.files[key(original.pair.url)]
        ending = original.pair.url.rsplit(".", 1)[-1]
        _publish(casting, original.pair.host, (original.place, "copy"), file.data, ending, original.other, "deduplicate:duplicate_bytes")
    for number in range(config.near_duplicate):
        kind = tuple(COPIES)[number % len(COPIES)]
        for original in chosen:
            data = _near(casting, decoded(casting.cast.files[key(original.pair.url)].data), original.place, kind)
            if data is not None:
                break
        else:
            raise ConfigError(f"web.near_duplicate={config.near_duplicate}: too few pictures stay near when copied; plant fewer")
        _publish(casting, original.pair.host, (original.place, kind), data, "jpg", original.other, "deduplicate:near_duplicate")


def leak(casting: Casting, images: Sequence[Image.Image], first: int, count: int, host: str, text: Callable[[int], str]) -> None:
    """Put `count` of the evaluation pictures `images` on the web; `first` is the crowd's number of images[0]."""
    kinds = ("recompressed", "resized")
    left = count
    for index in (int(number) for number in casting.random.permutation(len(images))):
        if not left:
            return
        # Two evaluation pictures may look alike; one that does is not leaked, so that every leak is near one only.
        data = _near(casting, images[index], first + index, kinds[left % 2])
        if data is not None:
            _publish(casting, host, ("evaluation", index), data, "jpg", text(index), "decontaminate:near_evaluation")
            left -= 1
    if left:
        raise ConfigError(f"web: {count} evaluation pictures to leak on {host}, {left} too many; lower web.leaked_*")


def _near(casting: Casting, image: Image.Image, place: int, kind: str) -> bytes | None:
    """A copy of crowd member `place`, as bold as still counts as near; None where none does."""
    for how in COPIES[kind]:
        data = near_copy(image, kind, how)
        copy = decoded(data)
        far = casting.crowd.distances(copy)
        if far.rms[place] <= COPY_RMS and far.bits[place] <= COPY_BITS and casting.crowd.stands_out(copy, but=place):
            casting.crowd.add(copy)
            return data
    return None


def _publish(casting: Casting, host: str, what: tuple[object, ...], data: bytes, ending: str, text: str, fate: str) -> None:
    url = casting.url(host, *what, ending=ending)
    casting.put(url, data, ending)
    casting.cast.pairs.append(Pair(host, url, text, fate))
