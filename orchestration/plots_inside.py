"""Pictures of a model's inside: filters, positions, attention distances, the map of features; see plot.py."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from PIL import Image

from orchestration.plot import SERIES, WIDTH_INCHES, Colour, Plot
from orchestration.plots_robustness import _short, _slug

MARKS = ("o", "s", "^", "D", "v", "P", "X")


def filters(found: Mapping[str, Any]) -> Plot:
    """Principal components of the filters that turn pixels into tokens, the strongest first."""
    pictures, explained = found["components"], found["explained"]
    columns = min(7, len(pictures))
    rows = -(-len(pictures) // max(1, columns))
    alt = f"The {len(pictures)} strongest principal components of the first layer's filters: the first explains"
    alt += f" {100 * explained[0]:.0f} % of their variance, all {100 * sum(explained):.0f} %"

    def draw(figure: Any) -> None:
        panels = figure.subplots(rows, columns, squeeze=False).ravel()
        for axes in panels:
            axes.axis("off")
        for axes, picture in zip(panels, pictures, strict=False):
            axes.imshow(_pixels(picture), interpolation="nearest")

    return Plot("filters", alt, WIDTH_INCHES, 0.4 + 0.72 * rows, draw)


def positions(found: Mapping[str, Any]) -> Plot:
    """A grid of grids: how like each patch's position is to every other's."""
    similarity = np.asarray(found["similarity"], dtype=float)
    rows, columns, side, _ = similarity.shape
    alt = f"Cosine of learned positions: {rows} x {columns} patches of a grid of {side} x {side}, each with all others"

    def draw(figure: Any) -> None:
        panels = figure.subplots(rows, columns, squeeze=False)
        low, high = float(similarity.min()), float(similarity.max())
        shown = None
        for row, column in np.ndindex(rows, columns):
            axes = panels[row][column]
            shown = axes.imshow(similarity[row, column], vmin=low, vmax=high, cmap="viridis", interpolation="nearest")
            axes.set_xticks([])
            axes.set_yticks([])
            axes.grid(visible=False)
        figure.colorbar(shown, ax=panels, shrink=0.7, label="cosine")

    return Plot("positions", alt, WIDTH_INCHES, 4.2, draw)


def distances(found: Sequence[Sequence[float]], square_pixels: int) -> Plot:
    """Mean attention distance of each head over depth: early heads that look far, and heads that look near."""
    values = [list(layer) for layer in found]
    alt = (
        f"Mean attention distance, {len(values)} layers of {len(values[0])} heads, in pixels of {square_pixels}: "
        + "; ".join(f"layer {number} {min(layer):.0f} to {max(layer):.0f}" for number, layer in enumerate(values))
    )

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for number, layer in enumerate(values):
            axes.plot([number] * len(layer), sorted(layer), "o", color=Colour.ACCENT, alpha=0.6, markersize=5)
        axes.plot(range(len(values)), [np.mean(layer) for layer in values], color=Colour.MUTED, linewidth=1)
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_ylim(0, square_pixels)
        axes.set_xlabel("layer, a dot per head")
        axes.set_ylabel(f"pixels, of {square_pixels}")
        axes.set_title("Attention distance")

    return Plot("attention-distance", alt, WIDTH_INCHES, 2.8, draw)


def feature_map(task: str, found: Mapping[str, Any]) -> Plot:
    """Pictures as points, by class."""
    points, labels = np.asarray(found["points"], dtype=float).reshape(-1, 2), [str(label) for label in found["labels"]]
    names = sorted(set(labels))
    alt = (
        f"Map of features, {task}: {len(points)} pictures of {len(names)} classes, trustworthiness {found['trust']:.2f}"
    )

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for place, name in enumerate(names):
            here = np.array([label == name for label in labels])
            axes.plot(points[here, 0], points[here, 1], MARKS[place // len(SERIES) % len(MARKS)], linestyle="",
                      color=SERIES[place % len(SERIES)], markersize=3.4, alpha=0.75, label=_short(name, 18))  # fmt: skip
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(visible=False)
        axes.set_aspect("equal")
        axes.set_title(_short(f"{task}, trustworthiness {found['trust']:.2f}", 60))
        if len(names) <= 24:
            figure.legend(loc="outside right upper", fontsize=7)

    return Plot(f"map-{_slug(task)}", alt, WIDTH_INCHES, 4.0, draw)


def attended(picture: str, reaches: Sequence[Sequence[float]], side: int = 96) -> bytes:
    """A picture beside itself under the share of each patch that reaches the answer: the rest is dark. JPEG."""
    pixels = Image.fromarray(_pixels(picture)).resize((side, side), Image.Resampling.BICUBIC)
    mask = Image.fromarray(np.asarray(reaches, dtype=np.float32)).resize((side, side), Image.Resampling.BILINEAR)
    lit = np.asarray(pixels, dtype=np.float32) * np.clip(np.asarray(mask), 0.08, 1)[:, :, None]
    both = np.concatenate([np.asarray(pixels), lit.astype(np.uint8)], axis=1)
    sink = io.BytesIO()
    Image.fromarray(both).save(sink, "JPEG", quality=85)
    return sink.getvalue()


def _pixels(picture: str) -> np.ndarray:
    """(H, W, 3) of a small picture that a report holds as base64."""
    with Image.open(io.BytesIO(base64.b64decode(picture)), formats=("JPEG", "PNG")) as opened:
        return np.asarray(opened.convert("RGB"))
