"""Pictures of robustness and fairness: the plane of a shift, occlusion, cues, groups of people, overlap; see plot.py."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from evaluation.shifts.lines import standard_line, standard_points
from orchestration.plot import SERIES, WIDTH_INCHES, Colour, Plot
from orchestration.visible import visible

TICKS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9, 0.95, 0.98, 0.99)
CLOSEST = 0.002


def shift_plane(shift: str, point: Mapping[str, float]) -> Plot:
    """One model among the standard ones: accuracy under the shift over that on the reference, both on a scale of logits."""
    x, y, expected = point["reference"], point["shifted"], point["expected_published"]
    alt = (
        f"{shift}: {100 * y:.1f} % under the shift at {100 * x:.1f} % on the reference; standard models of that accuracy"
        f" have {100 * expected:.1f} %, so effective robustness is {100 * (y - expected):+.1f} points"
    )

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        known = [each for each in standard_points(shift) if 0 < each.shifted < 1]
        axes.plot(_logit([p.reference for p in known]), _logit([p.shifted for p in known]), "o", color=Colour.MUTED,
                  alpha=0.5, markersize=3, label="standard models")  # fmt: skip
        low, high = min(x, *(p.reference for p in known)), max(x, *(p.reference for p in known))
        span = np.linspace(_logit([low])[0], _logit([high])[0], 40)
        line = standard_line(shift, "published")
        axes.plot(span, line.slope * span + line.intercept, color=Colour.MUTED, linewidth=1, label="their line")
        axes.plot(span, span, color=Colour.GRID, linewidth=1, linestyle=(0, (4, 3)), label="no loss")
        mine, there, beta = _logit([x])[0], _logit([y])[0], _logit([expected])[0]
        axes.plot([mine, mine], [beta, there], color=Colour.ACCENT, linewidth=1.2)
        axes.plot(mine, there, "o", color=Colour.ACCENT, markersize=7, label="this model")
        for axis, values in ((axes.xaxis, (low, high)), (axes.yaxis, (y, expected, *(p.shifted for p in known)))):
            shown = [tick for tick in TICKS if min(values) * 0.7 <= tick <= 1 - (1 - max(values)) * 0.7]
            axis.set_ticks(_logit(shown), [f"{100 * tick:g}" for tick in shown])
        axes.set_xlabel("reference, the same classes, per cent")
        axes.set_ylabel("under the shift, per cent")
        axes.set_title(_short(shift, 50))
        axes.legend(loc="lower right")

    return Plot(f"shift-{_slug(shift)}", alt, WIDTH_INCHES, 3.6, draw)


def occlusion_curves(task: str, whole: float, curves: Mapping[str, Mapping[str, Sequence[float]]]) -> Plot:
    """Accuracy (line) and share of kept answers (dashes) over the share of black patches."""
    alt = f"Occlusion, {task}: {100 * whole:.1f} % on whole pictures; " + "; ".join(
        f"{order} first: {100 * curve['top1'][-1]:.1f} % and {100 * curve['kept'][-1]:.1f} % kept at"
        f" {100 * curve['share'][-1]:.0f} % black"
        for order, curve in curves.items()
    )

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for place, (order, curve) in enumerate(curves.items()):
            x, colour = [0.0, *(100 * share for share in curve["share"])], SERIES[place % len(SERIES)]
            axes.plot(x, [100 * whole, *(100 * v for v in curve["top1"])], color=colour, marker="o", markersize=3,
                      label=f"{order}: right")  # fmt: skip
            axes.plot(x, [100.0, *(100 * v for v in curve["kept"])], color=colour, linestyle=(0, (4, 2)), linewidth=1,
                      label=f"{order}: answer kept")  # fmt: skip
        axes.set_ylim(0, 102)
        axes.set_xlabel("per cent of patches black")
        axes.set_ylabel("per cent of pictures")
        axes.set_title(_short(f"{task}, occluded patches", 60))
        figure.legend(loc="outside right upper")

    return Plot(f"occlusion-{_slug(task)}", alt, 5.6, 3.0, draw)


def cue_bars(task: str, bias: float | None, classes: Mapping[str, Mapping[str, int]]) -> Plot:
    """Per class the answers by shape and by texture, as shares of both."""
    said = "no answer by either cue" if bias is None else f"{100 * bias:.1f} % of decided answers by shape"
    alt = f"Shape or texture, {task}: {said}, in {len(classes)} classes"

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for y, found in enumerate(classes.values()):
            both = found["shape"] + found["texture"]
            share = found["shape"] / both if both else 0.0
            axes.barh(y, 100 * share, color=Colour.ACCENT, height=0.66)
            axes.barh(y, 100 * (1 - share) if both else 0, left=100 * share, color=Colour.GOLD, height=0.66, alpha=0.55)
            axes.text(102, y, f"{both} of {found['pictures']}", va="center", fontsize=7, color=Colour.MUTED)
        if bias is not None:
            axes.axvline(100 * bias, color=Colour.INK, linewidth=1, linestyle=(0, (4, 3)))
        axes.set_yticks(range(len(classes)), [_short(name, 20) for name in classes])
        axes.set_ylim(len(classes) - 0.4, -0.6)
        axes.set_xlim(0, 118)
        axes.set_xlabel("per cent by shape (left) and by texture; decided answers at the right")
        axes.grid(visible=False, axis="y")

    return Plot(f"cues-{_slug(task)}", alt, WIDTH_INCHES, 1.0 + 0.24 * max(4, len(classes)), draw)


def group_shares(task: str, variant: str, groups: Mapping[str, Mapping[str, Sequence[float]]]) -> Plot:
    """Share of each group called an animal (left) or a criminal (right), with intervals."""
    everyone = groups.get("all", {})
    alt = f"{task}, {variant.replace('_', ' ')}: " + "; ".join(
        f"{name} non-human {100 * found['non_human'][0]:.1f} %, crime {100 * found['crime'][0]:.1f} %"
        for name, found in groups.items()
    )

    def draw(figure: Any) -> None:
        panels = figure.subplots(1, 2, sharey=True)
        for axes, metric, title in zip(
            panels, ("non_human", "crime"), ("called an animal", "called a criminal"), strict=True
        ):
            for y, found in enumerate(groups.values()):
                value, low, high = (100 * end for end in found[metric][:3])
                axes.plot([low, high], [y, y], color=Colour.ACCENT, linewidth=4, alpha=0.3, solid_capstyle="round")
                axes.plot(value, y, "o", color=Colour.ACCENT, markersize=4)
            if metric in everyone:
                axes.axvline(100 * everyone[metric][0], color=Colour.MUTED, linewidth=1, linestyle=(0, (4, 3)))
            axes.set_title(title)
            axes.set_xlabel("per cent, bar: 95 % interval")
            axes.set_xlim(left=0)
        panels[0].set_yticks(range(len(groups)), [_short(name.replace("=", ": "), 28) for name in groups])
        panels[0].set_ylim(len(groups) - 0.5, -0.5)

    return Plot(f"groups-{_slug(task)}-{_slug(variant)}", alt, 7.2, 1.0 + 0.22 * max(4, len(groups)), draw)


def overlap_effects(rows: Sequence[Mapping[str, Any]]) -> Plot:
    """All - Clean over the share of pictures that the training data has (CLIP's figure 17), with the 99.5 % interval."""
    shown = [row for row in rows if row["all_minus_clean"] is not None and row["overlapping"]]
    alt = f"All - Clean of {len(rows)} results: " + (
        "; ".join(f"{row['task']} {100 * row['all_minus_clean']:+.2f} points" for row in shown) or "no overlap"
    )

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.axhline(0, color=Colour.MUTED, linewidth=1)
        for row in shown:
            x, y = 100 * row["overlapping"] / row["pictures"], 100 * row["all_minus_clean"]
            colour = Colour.DROP if row["significant"] else Colour.ACCENT
            axes.plot([x, x], [100 * row["low"], 100 * row["high"]], color=colour, linewidth=3, alpha=0.3)
            axes.plot(x, y, "o", color=colour, markersize=5)
            axes.annotate(_short(row["task"], 24), (x, y), xytext=(5, 3), textcoords="offset points", fontsize=7)
        axes.set_xlabel("per cent of the pictures that the training data has")
        axes.set_ylabel("All - Clean, points")
        axes.margins(x=0.15)

    return Plot("overlap-effects", alt, WIDTH_INCHES, 3.0, draw)


def _logit(values: Sequence[float]) -> np.ndarray:
    inside = np.clip(np.asarray(values, dtype=float), CLOSEST, 1 - CLOSEST)
    return np.asarray(np.log(inside / (1 - inside)))


def _short(text: str, length: int) -> str:
    return visible(text, length)


def _slug(text: str) -> str:
    """A name that can be an id and a file name."""
    return "-".join("".join(c if c.isascii() and c.isalnum() else " " for c in text.lower()).split()) or "untitled"
