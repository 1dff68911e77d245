"""Pictures of probes, calibration, suites and compute; see plot.py."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from orchestration.plot import SERIES, WIDTH_INCHES, Colour, Plot
from orchestration.plots_robustness import _short, _slug

MOST_NAMED = 10
"""Lines; of more a legend would hide the picture, and the description for screen readers has all of them."""
NAMED = " openai"
"""Of a hundred published models those of the paper are called by name, the others are dots."""


def penalty_curves(searches: Mapping[str, tuple[Sequence[Mapping[str, Any]], float]]) -> Plot:
    """task -> (every fit of its search, the chosen penalty): validation score over the penalty, the chosen one marked."""
    alt = "Search of the penalty: " + "; ".join(
        f"{task} {len(search)} fits, best {100 * max(row['validation'] for row in search):.1f} % on validation, chosen {chosen:.3g}"
        for task, (search, chosen) in searches.items()
    )

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for place, (task, (search, chosen)) in enumerate(searches.items()):
            rows = sorted(search, key=lambda row: row["penalty"])
            x, y = [row["penalty"] for row in rows], [100 * row["validation"] for row in rows]
            colour = SERIES[place % len(SERIES)]
            axes.plot(x, y, color=colour, marker="o", markersize=3, linewidth=1.2, label=_short(task, 24))
            at = min(range(len(x)), key=lambda index: abs(math.log(x[index] / chosen)))
            axes.plot(x[at], y[at], "o", color=colour, markersize=8, fillstyle="none")
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        axes.set_xlabel("penalty, the chosen one circled")
        axes.set_ylabel("validation, per cent")
        if len(searches) <= MOST_NAMED:
            axes.legend()

    return Plot("penalties", alt, WIDTH_INCHES, 2.8, draw)


def layer_curve(task: str, layers: Mapping[str, Mapping[str, float]], chosen: str | None = None) -> Plot:
    """Probe score over depth: rises and falls again in a model of pixels (arXiv: Chen et al. 2020, figure 2). `chosen` is the
    layer that did best on the validation part, the only one whose test value was not picked by looking at it."""
    names = sorted(layers, key=lambda name: int("".join(c for c in name if c.isdigit()) or 0))
    alt = f"Probe of each layer, {task}: {len(names)} layers"
    if chosen is not None and chosen in layers:
        parts = (
            f"{part} {100 * layers[chosen][part]:.1f} %" for part in ("validation", "test") if part in layers[chosen]
        )
        alt += f", {chosen} chosen by validation ({', '.join(parts)})"

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for place, part in enumerate(("test", "validation")):
            values = [layers[name].get(part) for name in names]
            if any(value is not None for value in values):
                if part == "test" and all("low" in layers[name] for name in names):
                    ends = ([100 * layers[name][end] for name in names] for end in ("low", "high"))
                    axes.fill_between(range(len(names)), *ends, color=Colour.ACCENT, alpha=0.15, linewidth=0)
                axes.plot(range(len(names)), [None if v is None else 100 * v for v in values], marker="o", markersize=3.5,
                          color=(Colour.ACCENT, Colour.GOLD)[place], label=part)  # fmt: skip
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set_xlabel("layer")
        axes.set_ylabel("per cent")
        axes.set_title(_short(f"{task}, by layer", 60))
        axes.legend()

    return Plot(f"layers-{_slug(task)}", alt, WIDTH_INCHES, 2.6, draw)


def shot_curves(
    task: str, values: Mapping[str, Mapping[str, float]], ends: Mapping[str, Mapping[str, tuple[float, float]]]
) -> Plot:
    """Score over labelled pictures per class, a line each (CLIP's figure 6); `ends` of its 95 % interval, by line and shots."""
    lines = {name: sorted((int(shots), value) for shots, value in found.items()) for name, found in values.items()}

    def said(name: str, shots: int, value: float) -> str:
        interval = ends.get(name, {}).get(str(shots))
        width = f" ({100 * interval[0]:.1f} to {100 * interval[1]:.1f})" if interval else ""
        return f"{shots} shots {100 * value:.1f} %{width}"

    alt = f"Few-shot with 95 % intervals, {task}: " + "; ".join(
        f"{name} {', '.join(said(name, shots, value) for shots, value in points)}" for name, points in lines.items()
    )

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for place, (name, points) in enumerate(lines.items()):
            x, y, colour = (
                [shots for shots, _ in points],
                [100 * value for _, value in points],
                SERIES[place % len(SERIES)],
            )
            axes.plot(x, y, marker="o", markersize=3.5, color=colour, label=name.replace("_", " "))
            for shots, (low, high) in ends.get(name, {}).items():
                axes.vlines(int(shots), 100 * low, 100 * high, color=colour, linewidth=4, alpha=0.25)
        shown = sorted({shots for points in lines.values() for shots, _ in points})
        axes.set_xscale("log")
        axes.set_xticks(shown, [str(shots) for shots in shown])
        axes.xaxis.set_minor_formatter(lambda value, _: "")
        axes.set_xlabel("labelled pictures per class")
        axes.set_ylabel("per cent, bars: 95 % intervals")
        axes.set_title(_short(task, 60))
        axes.legend()

    return Plot(f"shots-{_slug(task)}", alt, WIDTH_INCHES, 2.8, draw)


def reliability(protocol: str, calibrations: Mapping[str, Mapping[str, Any]]) -> Plot:
    """Accuracy over confidence in bins, a line per task; below the diagonal a model is too sure. Dots grow with pictures,
    bars are 95 % intervals."""
    alt = f"Reliability, {protocol}: " + "; ".join(
        f"{task} expected calibration error {100 * found['error']:.1f} points"
        + (f", {100 * found['error_with_temperature']:.1f} with temperature {found['temperature']:.3g}"
           if "error_with_temperature" in found else "")
        for task, found in calibrations.items()
    )  # fmt: skip

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        axes.plot([0, 100], [0, 100], color=Colour.MUTED, linewidth=1, linestyle=(0, (4, 3)))
        for place, (task, found) in enumerate(calibrations.items()):
            bins, colour = [each for each in found["bins"] if each["pictures"]], SERIES[place % len(SERIES)]
            total = sum(each["pictures"] for each in bins)
            x, y = [100 * each["confidence"] for each in bins], [100 * each["accuracy"] for each in bins]
            axes.plot(x, y, color=colour, linewidth=1, label=f"{_short(task, 24)}, {100 * found['error']:.1f}")
            ends = [[100 * each[f"accuracy_{end}"] for each in bins] for end in ("low", "high")]
            axes.vlines(x, *ends, color=colour, linewidth=2, alpha=0.25)
            axes.scatter(x, y, [6 + 60 * each["pictures"] / total for each in bins], color=colour, linewidths=0)
        axes.set_xlim(0, 101)
        axes.set_ylim(0, 101)
        axes.set_xlabel("confidence, per cent; behind a name its calibration error in points")
        axes.set_ylabel("right, per cent")
        axes.set_title(f"Reliability, {protocol}")
        if len(calibrations) <= MOST_NAMED:
            axes.legend()

    return Plot(f"reliability-{_slug(protocol)}", alt, WIDTH_INCHES, 3.4, draw)


def suite_radar(suite: str, values: Mapping[str, Mapping[str, float]]) -> Plot:
    """Each task of a suite is a spoke, each protocol a line; what was not measured is not there, and the title says how much
    was. `values`: protocol -> task -> fraction."""
    tasks = list(dict.fromkeys(task for found in values.values() for task in found))
    alt = f"{suite}: " + "; ".join(
        f"{protocol.replace('_', ' ')} {', '.join(f'{task} {100 * value:.1f} %' for task, value in found.items())}"
        for protocol, found in values.items()
    )

    def draw(figure: Any) -> None:
        axes = figure.add_subplot(projection="polar")
        turns = [2 * math.pi * place / len(tasks) for place in range(len(tasks))]
        for place, (protocol, found) in enumerate(values.items()):
            known = [(turn, 100 * found[task]) for turn, task in zip(turns, tasks, strict=True) if task in found]
            closed = [*known, known[0]] if len(known) == len(tasks) else known
            colour = SERIES[place % len(SERIES)]
            axes.plot(
                *zip(*closed, strict=True), color=colour, marker="o", markersize=3, label=protocol.replace("_", " ")
            )
            if len(known) == len(tasks):
                axes.fill(*zip(*closed, strict=True), color=colour, alpha=0.08)
        axes.set_theta_zero_location("N")
        axes.set_theta_direction(-1)
        axes.set_xticks(turns, [_short(task, 18) for task in tasks], fontsize=7)
        axes.set_ylim(0, 100)
        axes.set_yticks([25, 50, 75, 100], ["", "50", "", "100 %"], fontsize=7)
        figure.legend(loc="outside lower center", ncols=3)

    return Plot(f"suite-{_slug(suite)}", alt, WIDTH_INCHES, 4.4, draw)


def compute_plane(
    title: str, known: Sequence[tuple[str, float, float]], mine: tuple[float, float, float, float]
) -> Plot:
    """Mean error over the forward pass's GFLOPs per picture, both logarithmic (arXiv:2103.00020, figures 9 and 10); `mine` is
    GFLOPs, error and the ends of its interval."""
    alt = (
        f"{title}: error {100 * mine[1]:.1f} % at {mine[0]:.3g} GFLOPs per picture, beside {len(known)} published models"
        + (f" from {100 * min(e for *_, e in known):.1f} to {100 * max(e for *_, e in known):.1f} %" if known else "")
    )

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for name, gflops, error in known:
            axes.plot(gflops, 100 * error, "o", color=Colour.MUTED, markersize=4)
            axes.annotate(
                _short(name, 22), (gflops, 100 * error), xytext=(4, 3), textcoords="offset points", fontsize=6.5
            )
        axes.plot(
            [mine[0]] * 2, [100 * max(end, 1e-4) for end in mine[2:]], color=Colour.ACCENT, linewidth=3, alpha=0.35
        )
        axes.plot(mine[0], 100 * mine[1], "o", color=Colour.ACCENT, markersize=7)
        axes.annotate("this model", (mine[0], 100 * mine[1]), xytext=(6, 4), textcoords="offset points", fontsize=8)
        axes.set_xscale("log")
        axes.set_yscale("log")
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_major_formatter(lambda value, _: f"{value:g}")
            axis.set_minor_formatter(lambda value, _: f"{value:g}" if str(f"{value:g}")[0] in "25" else "")
        axes.tick_params(which="minor", labelsize=7)
        axes.set_xlabel("GFLOPs per picture")
        axes.set_ylabel("mean error, per cent")
        axes.set_title(_short(title, 70))
        axes.margins(0.12)

    return Plot(f"compute-{_slug(title)}", alt, WIDTH_INCHES, 3.4, draw)
