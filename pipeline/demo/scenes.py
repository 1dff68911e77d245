"""Drawn scenes: one large shape of one colour and one texture, in one place. What a caption says is in the picture.

Everything about a picture follows from its Scene; drawn at twice the size and averaged down (anti-aliasing).
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

Colour = tuple[int, int, int]

_RGB: dict[str, Colour] = {
    "red": (214, 28, 34),
    "orange": (247, 134, 20),
    "yellow": (250, 222, 40),
    "green": (28, 160, 60),
    "blue": (30, 78, 216),
    "purple": (134, 40, 180),
    "black": (22, 22, 26),
    "white": (246, 246, 246),
}
COLOURS = tuple(_RGB)
TEXTURES = ("plain", "striped", "dotted", "checkered")
_OVERSAMPLING = 2


@dataclass(frozen=True)
class Scene:
    """What is in a picture; `seed` decides where, how large, how turned, and every small thing."""

    shape: str
    colour: str
    texture: str
    place: str
    seed: int


def scene_list(split: Literal["train", "test"], count: int, seed: int = 0) -> list[Scene]:
    """`count` scenes, shapes and colours in equal parts. The test split is an evaluation set, never on the web."""
    tag = zlib.crc32(f"scene {split}".encode())
    scenes = []
    for index in range(count):
        random = np.random.default_rng([tag, seed, index])
        texture, place = str(random.choice(TEXTURES)), str(random.choice(PLACES))
        shape, colour = SHAPES[index % 8], COLOURS[index // 8 % 8]
        scenes.append(Scene(shape, colour, texture, place, int(random.integers(2**62))))
    return scenes


def caption(scene: Scene, variant: int) -> str:
    """An alt text that names shape and colour always, texture and place half of the time."""
    random = np.random.default_rng([zlib.crc32(b"scene caption"), scene.seed, variant])

    def pick(*options: str) -> str:
        return options[int(random.integers(len(options)))]

    texture = scene.texture if random.random() < 0.5 else ""
    where = " " + pick(*_WHERE[scene.place]) if random.random() < 0.5 else ""
    opening = pick("", "", "photo of ", "picture of ", "drawing of ", "snapshot of ", "here you can see ", "this is ")
    form = int(random.integers(4))
    if form == 0 and texture:
        what = f"{_article(scene.colour)} {scene.colour} {scene.shape} with a {texture} surface"
    elif form == 1:
        what = f"a {scene.shape} that is {scene.colour}" + (f" and {texture}" if texture else "")
    else:
        words = [word for word in (texture, scene.colour, scene.shape) if word]
        what = " ".join([_article(words[0]), *words])
    return f"{opening}{what}{where}" if opening or where else f"this picture shows {what}"


def render(scene: Scene, side: int = 64) -> Image.Image:
    """RGB, `side` x `side` pixels."""
    random = np.random.default_rng([zlib.crc32(b"scene render"), scene.seed])
    size = side * _OVERSAMPLING
    canvas = _BACKGROUNDS[scene.place](random, size)
    radius = random.uniform(0.37, 0.41) * size
    centre = size / 2 + random.uniform(-1, 1, 2) * (size * 0.5 - radius - 0.03 * size)
    angle = np.deg2rad(random.uniform(-7, 7))
    mask = _silhouette(scene.shape, size, centre, radius, angle)
    fill = np.clip(np.array(_RGB[scene.colour]) + random.normal(0, 7, 3), 0, 255)
    shape = _textured(scene, fill, random, size, radius, angle)
    outline = (226, 226, 226) if scene.colour == "black" else (36, 32, 36)
    edge = _silhouette(scene.shape, size, centre, radius + 0.022 * size, angle)
    canvas.paste(outline, (0, 0), edge)
    canvas.paste(shape, (0, 0), mask)
    picture = np.asarray(canvas.reduce(_OVERSAMPLING), dtype=np.float64)
    axis = np.linspace(-0.5, 0.5, side)
    slope = random.uniform(-0.2, 0.2, 2)
    light = random.uniform(0.88, 1.06) * (1 + slope[0] * axis[None, :, None] + slope[1] * axis[:, None, None])
    noisy = picture * light + random.normal(0, random.uniform(1, 4), picture.shape)
    return Image.fromarray(np.clip(noisy, 0, 255).astype(np.uint8))


def _article(word: str) -> str:
    return "an" if word[0] in "aeiou" else "a"


# Shapes: outlines in a unit circle, y downwards.


def _circle(radius: float = 1.0, x: float = 0.0, y: float = 0.0) -> NDArray[np.float64]:
    turn = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return np.stack([x + radius * np.cos(turn), y + radius * np.sin(turn)], axis=1)


def _spokes(radii: list[float]) -> NDArray[np.float64]:
    turn = np.linspace(0, 2 * np.pi, len(radii), endpoint=False) - np.pi / 2
    return np.stack([np.array(radii) * np.cos(turn), np.array(radii) * np.sin(turn)], axis=1)


def _heart() -> NDArray[np.float64]:
    turn = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    x = 16 * np.sin(turn) ** 3
    y = 13 * np.cos(turn) - 5 * np.cos(2 * turn) - 2 * np.cos(3 * turn) - np.cos(4 * turn)
    return np.stack([x, -y - 2.5], axis=1) / 16.0


_CROSS = np.array(
    [(-1, -3), (1, -3), (1, -1), (3, -1), (3, 1), (1, 1), (1, 3), (-1, 3), (-1, 1), (-3, 1), (-3, -1), (-1, -1)]
) / np.sqrt(10)
_SQUARE = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * 0.8

# name -> (outline, hole or None)
_OUTLINES: dict[str, tuple[NDArray[np.float64], NDArray[np.float64] | None]] = {
    "circle": (_circle(), None),
    "square": (_SQUARE, None),
    "triangle": (_spokes([1.1, 1.1, 1.1]), None),
    "star": (_spokes([1.12, 0.46] * 5), None),
    "cross": (_CROSS * 1.05, None),
    "heart": (_heart(), None),
    "ring": (_circle(), _circle(0.52)),
    "crescent": (_circle(), _circle(0.84, 0.52, -0.12)),
}
SHAPES = tuple(_OUTLINES)


def _silhouette(shape: str, size: int, centre: NDArray[np.float64], radius: float, angle: float) -> Image.Image:
    outline, hole = _OUTLINES[shape]
    turned = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    mask = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(mask)
    draw.polygon([(float(x), float(y)) for x, y in outline @ turned * radius + centre], fill=255)
    if hole is not None:
        draw.polygon([(float(x), float(y)) for x, y in hole @ turned * radius + centre], fill=0)
    return mask


def _textured(
    scene: Scene, fill: NDArray[np.float64], random: np.random.Generator, size: int, radius: float, angle: float
) -> Image.Image:
    """A full canvas in the scene's texture: two shades of one colour."""
    canvas = Image.new("RGB", (size, size), _whole(fill))
    turned = angle + random.uniform(-0.5, 0.5)
    start = random.random(2)
    if scene.texture == "plain":
        return canvas
    axis = np.arange(size, dtype=np.float32) * np.float32(2.1 / radius)
    cos, sin = np.float32(np.cos(turned)), np.float32(np.sin(turned))
    u = (cos * axis[None, :] + sin * axis[:, None] + np.float32(start[0])) % 1
    v = (cos * axis[:, None] - sin * axis[None, :] + np.float32(start[1])) % 1
    if scene.texture == "striped":
        pattern = u < 0.42
    elif scene.texture == "dotted":
        pattern = (u - 0.5) ** 2 + (v - 0.5) ** 2 < 0.085
    else:
        pattern = (u < 0.5) ^ (v < 0.5)
    # Light colours get a darker second shade, black a lighter one: the colour's name stays true.
    second = fill + (92 - fill) * 0.75 if scene.colour == "black" else fill * 0.55
    canvas.paste(_whole(second), (0, 0), Image.fromarray(pattern.astype(np.uint8) * 255))
    return canvas


def _whole(colour: NDArray[np.float64]) -> Colour:
    red, green, blue = (int(value) for value in colour)
    return red, green, blue


# Places: the background, from far to near.


def _near(colour: Colour, random: np.random.Generator, spread: float = 14) -> Colour:
    return _whole(np.clip(np.array(colour) + random.normal(0, spread, 3), 0, 255))


def _bands(random: np.random.Generator, size: int, bands: list[tuple[float, Colour]]) -> Image.Image:
    """Bands from top to bottom: (where it begins, 0..1, and its colour), each with a slanted upper edge."""
    canvas = Image.new("RGB", (size, size))
    draw = ImageDraw.Draw(canvas)
    for top, colour in bands:
        left, right = (top + random.uniform(-0.09, 0.09, 2)) * size if top > 0 else (-1.0, -1.0)
        draw.polygon([(0, float(left)), (size, float(right)), (size, size), (0, size)], fill=_near(colour, random))
    return canvas


def _beach(random: np.random.Generator, size: int) -> Image.Image:
    sea = random.uniform(0.25, 0.45)
    sky, water, sand = (176, 214, 240), (66, 140, 180), (226, 200, 150)
    return _bands(random, size, [(0, sky), (sea, water), (sea + random.uniform(0.14, 0.3), sand)])


def _forest(random: np.random.Generator, size: int) -> Image.Image:
    canvas = _bands(random, size, [(0, (86, 116, 84)), (random.uniform(0.6, 0.8), (58, 72, 40))])
    draw = ImageDraw.Draw(canvas)
    for _ in range(int(random.integers(4, 7))):
        x, width, height = random.uniform(0, size), random.uniform(0.1, 0.2) * size, random.uniform(0.0, 0.35) * size
        foot = random.uniform(0.7, 0.9) * size
        draw.rectangle([x - width / 6, foot, x + width / 6, size], fill=_near((72, 52, 36), random, 6))
        draw.polygon([(x - width, foot), (x + width, foot), (x, height)], fill=_near((30, 66, 40), random, 10))
    return canvas


def _street(random: np.random.Generator, size: int) -> Image.Image:
    kerb = random.uniform(0.35, 0.6)
    canvas = _bands(random, size, [(0, (176, 164, 150)), (kerb, (96, 96, 100))])
    draw = ImageDraw.Draw(canvas)
    for x in np.arange(random.uniform(0, 0.2), 1, random.uniform(0.22, 0.34)) * size:
        top = random.uniform(0.03, 0.15) * size
        draw.rectangle([x, top, x + 0.11 * size, top + 0.14 * size], fill=_near((92, 106, 122), random))
    y, gap, start = random.uniform(0.78, 0.94) * size, 0.24 * size, random.uniform(-0.2, 0) * size
    for step in range(6):
        x = start + step * gap
        draw.rectangle([x, y, x + gap * 0.55, y + 0.035 * size], fill=(212, 212, 204))
    return canvas


def _snow(random: np.random.Generator, size: int) -> Image.Image:
    hill = random.uniform(0.25, 0.5)
    near = hill + random.uniform(0.15, 0.3)
    canvas = _bands(random, size, [(0, (168, 186, 208)), (hill, (212, 222, 234)), (near, (238, 242, 248))])
    _specks(canvas, random, 26, (250, 252, 255), 0.012)
    return canvas


def _night(random: np.random.Generator, size: int) -> Image.Image:
    canvas = _bands(random, size, [(0, (18, 22, 58)), (random.uniform(0.65, 0.85), (30, 30, 44))])
    _specks(canvas, random, 30, (214, 214, 190), 0.010)
    return canvas


def _specks(canvas: Image.Image, random: np.random.Generator, count: int, colour: Colour, radius: float) -> None:
    draw, r = ImageDraw.Draw(canvas), radius * canvas.width
    for x, y in random.uniform(0, canvas.width, (count, 2)):
        draw.ellipse([x - r, y - r, x + r, y + r], fill=colour)


_BACKGROUNDS: dict[str, Callable[[np.random.Generator, int], Image.Image]] = {
    "beach": _beach,
    "forest": _forest,
    "street": _street,
    "snow": _snow,
    "night": _night,
}
PLACES = tuple(_BACKGROUNDS)
_WHERE = {
    "beach": ("on a beach", "at the beach"),
    "forest": ("in a forest", "among the trees of a forest"),
    "street": ("on a street", "in the middle of a street"),
    "snow": ("in the snow", "on fresh snow"),
    "night": ("at night", "on a dark night"),
}
