"""Who plays what on the demo web: every picture with its text, its file, its address and its fate.

A fate is "kept", "glut" (balancing decides), "page:REASON" for pairs on pages that may not be read, or "PHASE:REASON".
Each pair that falls has one reason to fall and no second one, so that what curation counts can equal what was planted.
"""

import functools
from dataclasses import replace

import numpy as np
from PIL import Image

from pipeline.demo import encodings, texts
from pipeline.demo.casting import (
    DIGITS_HOST,
    EVALUATION_SCENES,
    SCENES_HOST,
    SLOW_HOST,
    Cast,
    Casting,
    Original,
    Pair,
    Subject,
    decoded,
)
from pipeline.demo.config import TRAIN_DIGITS, DemoWebConfig
from pipeline.demo.copies import leak, plant_copies
from pipeline.demo.crowd import Look
from pipeline.demo.digits import Digit, digit_caption, digit_pictures, render_digit
from pipeline.demo.scenes import Scene, caption, render, scene_list
from pipeline.errors import ConfigError
from pipeline.execution.progress import Progress, silent

_ATTEMPTS = 1000
_SIDES = (60, 64, 68, 72)

_WITHOUT_FILE = ("fetch:not_found", "fetch:redirect_loop", "fetch:too_slow", "fetch:not_an_image")
_REPAIRED = ("retried", "redirected", "cmyk", "sixteen_bit", "exif_rotated")
_TEXT_ROLES = ("select:text_empty", "select:text_boilerplate", "select:text_language", "select:no_query", "glut")


def choose_cast(config: DemoWebConfig, progress: Progress = silent) -> Cast:
    """Draw and write every picture. Raises ConfigError when the planted numbers need more pictures than there are."""
    casting = Casting(config)
    digits, scenes, digit_images, scene_images, looks = _evaluation()
    for look in looks:
        casting.crowd.add(look)
    subjects = _subjects(config, casting.random)
    for done, subject in enumerate(subjects):
        if done % 100 == 0:
            progress(done, len(subjects), "pictures")
        _stage(casting, subject)
    progress(len(subjects), len(subjects), "pictures")
    plant_copies(casting)

    def about_digit(index: int) -> str:
        return digit_caption(digits[index].label, index, digits[index].paper, digits[index].ink)

    def about_scene(index: int) -> str:
        return caption(scenes[index], 0)

    leak(casting, digit_images, 0, config.leaked_digits, DIGITS_HOST, about_digit)
    leak(casting, scene_images, len(digits), config.leaked_scenes, SCENES_HOST, about_scene)
    return casting.cast


@functools.cache
def _evaluation() -> tuple[list[Digit], list[Scene], list[Image.Image], list[Image.Image], list[Look]]:
    """The evaluation pictures: what they show, the pictures themselves, and how they look (digits, then scenes)."""
    digits, scenes = digit_pictures("test"), scene_list("test", EVALUATION_SCENES)
    digit_images, scene_images = [digit.image for digit in digits], [render(scene) for scene in scenes]
    return digits, scenes, digit_images, scene_images, [Look.of(image) for image in (*digit_images, *scene_images)]


def _subjects(config: DemoWebConfig, random: np.random.Generator) -> list[Subject]:
    """Every picture that is no copy and no leak, with its role ("kept" for most)."""
    scenes = scene_list("train", config.scenes, config.seed)
    total = config.digits + config.scenes
    order = [int(number) for number in random.permutation(total)]
    per_page = config.pairs_per_opted_out_page
    wanted = {
        "page:robots_txt": config.robots_txt_pages * per_page,
        "page:header_opt_out": config.header_opt_out_pages * per_page,
        "page:meta_opt_out": config.meta_opt_out_pages * per_page,
        **{role: int(getattr(config, role.split(":")[-1])) for role in _TEXT_ROLES},
        **{
            f"fetch:{reason}": int(getattr(config, reason))
            for reason in (
                "not_found", "redirect_loop", "too_slow", "image_too_small", "aspect_too_extreme", "decode_failed",
                "not_an_image", "header_opt_out", "robots_txt",
            )
        },
        **{role: int(getattr(config, role)) for role in _REPAIRED if role != "sixteen_bit"},
    }  # fmt: skip
    planted = sum(wanted.values()) + config.sixteen_bit
    copied = config.duplicate_pair + config.duplicate_bytes + config.near_duplicate
    # Half of the pictures stay plain, and half of those unique: a web of defects trains nothing.
    if planted > total // 2 or copied > (total - planted) // 2 or config.sixteen_bit > config.digits // 4:
        raise ConfigError(
            f"web: {planted} of {total} pictures planted ({config.sixteen_bit} sixteen_bit of {config.digits} digits),"
            f" {copied} copies; half, a quarter of the digits and half of the rest may be; raise web.scenes or web.digits"
        )
    roles: dict[int, str] = {}
    grey = [number for number in order if number < config.digits][: config.sixteen_bit]
    roles.update((number, "sixteen_bit") for number in grey)
    free = iter([number for number in order if number not in roles])
    for role, count in wanted.items():
        roles.update((next(free), role) for _ in range(count))
    return [
        Subject(number, DIGITS_HOST, roles.get(number, "kept"))
        if number < config.digits
        else Subject(number, SCENES_HOST, roles.get(number, "kept"), scenes[number - config.digits])
        for number in range(total)
    ]


def _draw(casting: Casting, subject: Subject, attempt: int) -> tuple[Image.Image, str, str]:
    """(picture, caption, another caption)."""
    side = _SIDES[subject.number % len(_SIDES)]
    if subject.scene is not None:
        scene = replace(subject.scene, seed=subject.scene.seed + attempt)
        return render(scene, side), caption(scene, 0), caption(scene, 1)
    seed = casting.config.seed * _ATTEMPTS + attempt + 1  # 0 is the evaluation's
    digit = render_digit("train", subject.number % TRAIN_DIGITS, seed, side)
    grey = subject.role == "sixteen_bit"
    colours = ("", "") if grey else (digit.paper, digit.ink)
    first, second = (digit_caption(digit.label, 2 * subject.number + variant, *colours) for variant in (0, 1))
    return digit.image.convert("L").convert("RGB") if grey else digit.image, first, second


def _stage(casting: Casting, subject: Subject) -> None:
    """Draw a subject until it looks like nobody else, write its file, give it its text."""
    role, number = subject.role, casting.next(subject.role)
    for attempt in range(_ATTEMPTS):
        image, text, other = _draw(casting, subject, attempt)
        if role in _WITHOUT_FILE:
            data, ending = b"", "jpg"
            break
        data, ending, seen = _encoded(image, subject, number)
        look = Look.of(seen)
        if casting.crowd.stands_out(look):
            break
    else:
        raise ConfigError(
            f"web.seed={casting.config.seed}: picture {subject.number} still looks like another one after {_ATTEMPTS}"
            " attempts; choose another seed or fewer pictures"
        )
    url = _publish(casting, subject, number, data, ending)
    pair = Pair(subject.host, url, text, recovered=role if role in _REPAIRED else "")
    if role in _TEXT_ROLES:
        pair = replace(pair, text=_refused_text(role, number), fate=role)
    elif role != "kept" and role not in _REPAIRED:
        pair = replace(pair, fate=role)
    else:
        pair = _with_markup(casting, pair, other)
    casting.cast.pairs.append(pair)
    if role in _WITHOUT_FILE:
        return
    place = casting.crowd.add(look)
    if role == "kept":
        casting.originals.append(Original(pair, other, place))


def _encoded(image: Image.Image, subject: Subject, number: int) -> tuple[bytes, str, Image.Image]:
    """(file, its ending, the picture a reader sees)."""
    if subject.role == "cmyk":
        data, ending = encodings.cmyk_jpeg(image), "jpg"
    elif subject.role == "exif_rotated":
        data, ending = encodings.exif_rotated_jpeg(image, number), "jpg"
    elif subject.role == "sixteen_bit":
        return encodings.sixteen_bit_png(image), "png", image
    elif subject.role == "fetch:image_too_small":
        return encodings.tiny(image, number), "jpg", image
    elif subject.role == "fetch:aspect_too_extreme":
        return encodings.strip(image, number), "jpg", image
    elif subject.role == "fetch:decode_failed":
        return encodings.truncated_jpeg(image), "jpg", image
    else:
        data, ending = encodings.ordinary(image, subject.number)
    return data, ending, decoded(data)


def _publish(casting: Casting, subject: Subject, number: int, data: bytes, ending: str) -> str:
    """Put the file, or what stands in its place, on the web; returns the URL that pages name."""
    role, host = subject.role, subject.host
    private = role in ("page:robots_txt", "fetch:robots_txt")
    folder = "/private/images" if private else "/images"
    url = casting.url(host, subject.number, ending=ending, folder=folder)
    if role == "fetch:not_found":
        casting.behave(url, "status", status=410 if number % 4 == 3 else 404)
    elif role == "fetch:redirect_loop":
        other = casting.url(host, subject.number, "loop", ending=ending)
        casting.behave(url, "redirect", to=other, status=302)
        casting.behave(other, "redirect", to=url, status=302)
    elif role == "fetch:too_slow":
        url = casting.url(SLOW_HOST, subject.number, ending=ending)
        casting.behave(url, "drip", bytes=200_000, seconds_per_byte=1.0, type="image/jpeg")
    elif role == "fetch:not_an_image":
        page = f"<!doctype html><html><head><title>Not here</title></head><body><p>Item {subject.number} moved.</p></body></html>"
        casting.put(url, page.encode(), "jpg")
    elif role == "redirected":
        hops = [casting.url(host, subject.number, hop, ending=ending, folder="/go") for hop in range(1 + number % 3)]
        for start, end, status in zip(hops, [*hops[1:], url], (301, 302, 307), strict=False):
            casting.behave(start, "redirect", to=end, status=status)
        casting.put(url, data, ending)
        return hops[0]
    else:
        headers = {"X-Robots-Tag": "noai"} if role == "fetch:header_opt_out" else {}
        casting.put(url, data, ending, headers)
        if role == "retried":
            casting.behave(url, "flaky", failures=1, status=500)
    return url


def _refused_text(role: str, number: int) -> str | None:
    if role == "select:text_empty":
        return texts.EMPTY[number % len(texts.EMPTY)]
    if role == "select:text_boilerplate":
        return texts.BOILERPLATE[number % len(texts.BOILERPLATE)].format(number=1000 + 37 * number)
    lines = {"select:text_language": texts.LANGUAGES, "select:no_query": texts.NO_QUERY, "glut": texts.GLUT}[role]
    return lines[number % len(lines)]


def _with_markup(casting: Casting, pair: Pair, other: str) -> Pair:
    """Text in alt for most; some in figcaption or title alone, some in alt with another caption below."""
    draw = casting.random.random()
    if draw < 0.6:
        return pair
    if draw < 0.8:
        return replace(pair, below=other)
    return replace(pair, origin="figcaption" if draw < 0.93 else "title")
