"""Pictures of an evaluation: intervals, confusion matrices, robustness, prompt templates; see plots.py.

Intervals are drawn, never left out; fractions are shown in per cent.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.report import Score
from orchestration.plot import SERIES, WIDTH_INCHES, Colour, Plot
from orchestration.report_scores import Confusion, Robustness, label
from orchestration.visible import visible

MOST_CLASSES = 40


def intervals(scores: Sequence[Score]) -> Plot:
    """Each score as a dot with its 95 % interval."""
    alt = "Scores with 95 % intervals: " + "; ".join(
        f"{label(s)} {100 * s.value:.1f} % ({100 * s.low:.1f} to {100 * s.high:.1f})" for s in scores
    )

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for y, score in enumerate(scores):
            low, value, high = 100 * score.low, 100 * score.value, 100 * score.high
            axes.plot([low, high], [y, y], color=Colour.ACCENT, linewidth=5, alpha=0.3, solid_capstyle="round")
            axes.plot(value, y, "o", color=Colour.ACCENT, markersize=5)
            axes.annotate(
                f"{value:.1f}", (value, y), xytext=(0, 6), textcoords="offset points", ha="center", fontsize=7.5
            )
        axes.set_yticks(range(len(scores)), [textwrap.fill(_short(label(score), 76), 40) for score in scores])
        axes.set_ylim(len(scores) - 0.4, -0.8)
        axes.set_xlim(min(0 if s.low < 0.5 else 50 for s in scores) if scores else 0, 101)
        axes.set_xlabel("per cent, bar: 95 % interval")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)

    return Plot("intervals", alt, WIDTH_INCHES, 0.9 + 0.34 * max(1, len(scores)), draw)


def confusion(matrix: Confusion) -> Plot:
    """Rows: true class, columns: predicted; a cell's strength is its share of the row. At most 40 classes are drawn."""
    counts = np.asarray(matrix.counts, dtype=float)
    labels, shown = list(matrix.labels), counts
    title = matrix.title
    if len(labels) > MOST_CLASSES:
        wrong = counts.sum(axis=1) - np.diag(counts)
        chosen = np.sort(np.argsort(-wrong, kind="stable")[:MOST_CLASSES])
        shown, labels = counts[np.ix_(chosen, chosen)], [labels[i] for i in chosen]
        title += f" ({MOST_CLASSES} of {len(counts)} classes, those with the most errors)"
    right = np.trace(counts) / max(1.0, counts.sum())
    alt = f"Confusion matrix, {matrix.title}: {len(counts)} classes, {100 * right:.1f} % on the diagonal"
    share = (
        shown / np.maximum(counts.sum(axis=1)[chosen] if len(labels) < len(counts) else counts.sum(axis=1), 1)[:, None]
    )

    def draw(figure: Any) -> None:
        axes = _cells(figure, share, [[f"{int(n)}" if n else "" for n in row] for row in shown], len(labels) <= 14)
        axes.set_xticks(
            range(len(labels)), [_short(name, 18) for name in labels], rotation=0 if _narrow(labels) else 90
        )
        axes.set_yticks(range(len(labels)), [_short(name, 18) for name in labels])
        axes.set_xlabel("predicted")
        axes.set_ylabel("true")
        axes.set_title(_short(title, 70))

    return Plot(f"confusion-{_slug(matrix.title)}", alt, WIDTH_INCHES, 4.6, draw)


def robustness_map(robustness: Robustness) -> Plot:
    """Corruption by severity; a cell's strength is its accuracy."""
    names, severities = list(robustness.curves), range(1, robustness.severities + 1)
    values = np.full((len(names), len(severities)), np.nan)
    for row, name in enumerate(names):
        values[row, : len(robustness.curves[name])] = robustness.curves[name]
    alt = f"Accuracy under corruption, {robustness.title}: " + "; ".join(
        f"{name} {', '.join(_percent(v) for v in row)}" for name, row in zip(names, values, strict=True)
    )

    def draw(figure: Any) -> None:
        axes = _cells(figure, np.nan_to_num(values), [[_percent(v) for v in row] for row in values], True)
        axes.set_xticks(range(len(severities)), [str(severity) for severity in severities])
        axes.set_yticks(range(len(names)), [_short(name.replace("_", " "), 22) for name in names])
        axes.set_xlabel("severity")
        axes.set_title(_short(robustness.title, 60))

    return Plot(f"robustness-map-{_slug(robustness.title)}", alt, WIDTH_INCHES, 1.0 + 0.27 * max(4, len(names)), draw)


def robustness_curves(robustness: Robustness) -> Plot:
    """Accuracy over severity, one line per corruption, the clean accuracy as a dashed line."""
    alt = f"Accuracy over severity for {len(robustness.curves)} corruptions, {robustness.title}"
    if robustness.clean is not None:
        alt += f"; {100 * robustness.clean:.1f} % on clean pictures"

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        if robustness.clean is not None:
            axes.axhline(100 * robustness.clean, color=Colour.MUTED, linestyle=(0, (4, 3)), linewidth=1, label="clean")
        for index, (name, values) in enumerate(robustness.curves.items()):
            axes.plot(
                range(1, len(values) + 1),
                [100 * v for v in values],
                color=SERIES[index % len(SERIES)],
                linestyle=("-", (0, (5, 2)), (0, (1, 1.5)))[index // len(SERIES) % 3],
                marker="o",
                markersize=3,
                label=_short(name.replace("_", " "), 22),
            )
        axes.set_xticks(range(1, robustness.severities + 1))
        axes.set_ylim(0, 102)
        axes.set_xlabel("severity")
        axes.set_ylabel("per cent")
        axes.set_title(_short(robustness.title, 60))
        if axes.lines:
            figure.legend(loc="outside right upper")

    return Plot(
        f"robustness-curves-{_slug(robustness.title)}", alt, 5.6, max(2.8, 0.6 + 0.2 * len(robustness.curves)), draw
    )


def template_spread(templates: Mapping[str, Mapping[str, float]]) -> Plot:
    """How much the prompt alone moves the accuracy: one dot per template, a task per line."""
    alt = "Accuracy per prompt template: " + "; ".join(
        f"{task} {len(values)} templates, {100 * min(values.values()):.1f} to {100 * max(values.values()):.1f} %"
        for task, values in templates.items()
        if values
    )

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for y, values in enumerate(templates.values()):
            axes.plot(
                [100 * v for v in values.values()], [y] * len(values), "o", color=Colour.PLUM, alpha=0.45, markersize=6
            )
        axes.set_yticks(range(len(templates)), [_short(name.replace("_", " "), 32) for name in templates])
        axes.set_ylim(len(templates) - 0.5, -0.5)
        axes.set_xlabel("per cent, one dot per prompt template")
        axes.spines["left"].set_visible(False)
        axes.tick_params(axis="y", length=0)

    return Plot("templates", alt, WIDTH_INCHES, 1.0 + 0.34 * max(1, len(templates)), draw)


def _cells(figure: Any, strength: np.ndarray, texts: Sequence[Sequence[str]], written: bool) -> Any:
    """A heat map of rectangles: the stronger in 0..1, the more opaque; one colour, so it works on any ground."""
    from matplotlib.patches import Rectangle

    axes = figure.add_subplot()
    height, width = strength.shape
    for y in range(height):
        for x in range(width):
            alpha = float(np.clip(strength[y, x], 0, 1)) ** 1.6  # spreads the upper half, where scores lie
            if alpha > 0.003:
                axes.add_patch(
                    Rectangle((x - 0.48, y - 0.47), 0.96, 0.94, color=Colour.ACCENT, alpha=alpha, linewidth=0)
                )
            if written and texts[y][x]:
                colour = Colour.PAPER if alpha > 0.68 else Colour.INK
                axes.text(x, y, texts[y][x], ha="center", va="center", fontsize=7.5, color=colour)
    axes.set_xlim(-0.5, max(width, 1) - 0.5)
    axes.set_ylim(max(height, 1) - 0.5, -0.5)
    axes.grid(visible=False)
    axes.spines[["bottom", "left"]].set_visible(False)
    axes.tick_params(length=0, labelsize=7.5)
    return axes


def _percent(value: float) -> str:
    return "" if np.isnan(value) else f"{100 * value:.0f}"


def _narrow(labels: Sequence[str]) -> bool:
    return max((len(name) for name in labels), default=0) <= 2


def _short(text: str, length: int) -> str:
    return visible(text, length)


def _slug(text: str) -> str:
    """A name that can be an id and a file name."""
    return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in text.lower()).split()) or "untitled"
