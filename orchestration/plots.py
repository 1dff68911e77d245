"""Pictures of curation and training, each a small function from data to a Plot; the same ones go to MLflow as artifacts.

Nothing is smoothed without the raw points behind it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from orchestration.plot import WIDTH_INCHES, Colour, Plot
from orchestration.report_data import Balance
from pipeline.execution.ledger import Fate

RANKS_SHOWN = 2000


def funnel(fates: Mapping[str, Mapping[str, Fate]]) -> Plot:
    """One bar per phase and unit: what stayed, and what fell, split by reason."""
    rows = [(phase, unit, fate) for phase, units in fates.items() for unit, fate in units.items()]
    alt = "Rows kept of rows in: " + "; ".join(f"{p} {f.kept:,} of {f.rows_in:,} {u}" for p, u, f in rows)

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        largest = max((fate.rows_in for _, _, fate in rows), default=1) or 1
        for y, (_, _, fate) in enumerate(rows):
            axes.barh(y, fate.kept, color=Colour.ACCENT, height=0.62)
            left = fate.kept
            ordered = sorted(fate.reasons.items(), key=lambda pair: (-pair[1], pair[0]))
            for shade, (reason, count) in enumerate(ordered):
                bar = axes.barh(y, count, left=left, height=0.62, color=Colour.DROP, alpha=(0.95, 0.7, 0.45)[shade % 3])
                if count > largest * 0.02 * len(reason):
                    axes.bar_label(bar, [reason], label_type="center", fontsize=7, color=Colour.PAPER)
                left += count
            label = f"{fate.kept:,} kept" if fate.kept == fate.rows_in else f"{fate.kept:,} kept of {fate.rows_in:,}"
            axes.text(left + largest * 0.012, y, label, va="center", fontsize=8, color=Colour.MUTED)
        axes.set_yticks(range(len(rows)), [f"{phase} · {unit}" for phase, unit, _ in rows])
        axes.set_xlim(0, largest * 1.28)
        axes.invert_yaxis()
        axes.grid(visible=False)
        axes.spines[["bottom", "left"]].set_visible(False)
        axes.tick_params(length=0)
        axes.set_xticks([])

    return Plot("funnel", alt, 7.6, 0.5 + 0.42 * max(1, len(rows)), draw)


def training_curve(steps: Sequence[Mapping[str, float]], field: str, title: str, colour: str = Colour.ACCENT) -> Plot:
    """`field` over training steps: every point, and their moving mean where there are enough of them."""
    points = [(row["step"], row[field]) for row in steps if row.get(field) is not None]
    x = np.array([step for step, _ in points], dtype=float)
    y = np.array([value for _, value in points], dtype=float)
    span = f" from {y[0]:.4g} to {y[-1]:.4g}" if len(y) else ", no points"
    alt = f"{title} over {len(y):,} logged training steps{span}"

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        smooth = _moving_mean(y, len(y) // 25) if field == "loss" else y
        if smooth is not y:
            axes.plot(x, y, color=colour, alpha=0.3, linewidth=0.8)
        axes.plot(x, smooth, color=colour, marker="o" if len(y) == 1 else "", markersize=4)
        axes.set_title(title)
        axes.set_xlabel("step")
        axes.margins(x=0.02)
        if len(y) and np.nanmin(y) >= 0:
            axes.set_ylim(bottom=0)
        if len(y) and field in ("loss", "logit_scale"):
            axes.annotate(f"{y[-1]:.3g}", (x[-1], smooth[-1]), xytext=(0, 6), textcoords="offset points", ha="right")

    return Plot(f"training-{field.replace('_', '-')}", alt, WIDTH_INCHES, 2.6, draw)


def while_training(rows: Sequence[Mapping[str, float]]) -> Plot:
    """Scores of the weights in the middle of the run over training steps, a line each."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != "step"))
    lines = {name: [(row["step"], row[name]) for row in rows if name in row] for name in names}
    said = "; ".join(f"{name} from {points[0][1]:.1%} to {points[-1][1]:.1%}" for name, points in lines.items())
    alt = f"Scores of {len(rows)} snapshots while training went on: {said}"

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        colours = (Colour.ACCENT, Colour.BLUE, Colour.PLUM, Colour.GOLD, Colour.DROP)
        for place, (name, points) in enumerate(lines.items()):
            style = ("-", "--", ":")[place // len(colours) % 3]
            x, y = zip(*points, strict=True)
            label = " ".join(name.split("/")[:2])
            axes.plot(x, y, style, color=colours[place % len(colours)], marker="o", markersize=3, label=label)
        axes.set_title("Scores while training")
        axes.set_xlabel("step")
        axes.set_ylim(0, 1)
        axes.margins(x=0.02)
        axes.legend(loc="lower right", fontsize=7)

    return Plot("while-training", alt, WIDTH_INCHES, 2.6, draw)


def _moving_mean(values: np.ndarray, half_width: int) -> np.ndarray:
    """Mean over up to 2 * half_width + 1 neighbours, fewer at the ends; the values themselves for half_width 0."""
    if half_width < 1:
        return values
    total = np.concatenate([[0.0], np.cumsum(values)])
    index = np.arange(len(values))
    low = np.maximum(index - half_width, 0)
    high = np.minimum(index + half_width + 1, len(values))
    return np.asarray((total[high] - total[low]) / (high - low))


def balance_curve(balance: Balance) -> Plot:
    """Pairs per query, sorted, before and after balancing at `limit` per query (the picture of MetaCLIP, figure 3)."""
    before, after = (sorted(counts, reverse=True) for counts in (balance.before, balance.after))
    alt = (
        f"Pairs per query before balancing (most {max(before, default=0):,}, total {sum(before):,}) "
        f"and after (most {max(after, default=0):,}, total {sum(after):,})"
    )

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        for counts, colour, when in ((before, Colour.DROP, "before"), (after, Colour.ACCENT, "after")):
            rank = _ranks(len(counts))
            shown = np.array(counts, dtype=float)[rank - 1]
            axes.step(rank, shown, where="mid", color=colour, label=f"{when}: {sum(counts):,} matches")
            axes.fill_between(rank, shown, step="mid", color=colour, alpha=0.12, linewidth=0)
        if len(before) > RANKS_SHOWN:
            axes.set_xscale("log")
            axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        if balance.limit:
            axes.axhline(balance.limit, color=Colour.MUTED, linestyle=(0, (4, 3)), linewidth=1)
            axes.annotate(
                f"t = {balance.limit:,}",
                (1, balance.limit),
                xycoords=("axes fraction", "data"),
                xytext=(-2, 3),
                textcoords="offset points",
                ha="right",
                fontsize=8,
            )
        axes.set_yscale("symlog", linthresh=1)
        axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
        axes.set_ylim(0, 3 * max([1, *before, *after]))
        axes.set_xlabel("query, most frequent first")
        axes.set_ylabel("pairs")
        axes.margins(x=0.01)
        axes.legend(loc="upper right")

    return Plot("balance", alt, WIDTH_INCHES, 2.9, draw)


def _ranks(count: int) -> np.ndarray:
    """The ranks 1 to `count`, or of very many some RANKS_SHOWN, evenly on a logarithmic axis."""
    if count <= RANKS_SHOWN:
        return np.arange(1, count + 1)
    return np.unique(np.round(np.geomspace(1, count, RANKS_SHOWN)).astype(int))


def size_histogram(
    sizes: Mapping[str, int], name: str = "sizes", what: str = "pictures", by: str = "original size"
) -> Plot:
    """Pictures per size class of the finished dataset; or `what` per class of anything else."""
    alt = f"{what.capitalize()} by {by}: " + ", ".join(f"{label}: {count:,}" for label, count in sizes.items())

    def draw(figure: Any) -> None:
        axes = figure.add_subplot()
        bars = axes.bar(range(len(sizes)), list(sizes.values()), color=Colour.BLUE, width=0.7)
        axes.bar_label(bars, [f"{count:,}" for count in sizes.values()], fontsize=7.5, padding=2, color=Colour.MUTED)
        turned = sum(len(name) for name in sizes) > 48
        axes.set_xticks(
            range(len(sizes)), list(sizes), rotation=30 if turned else 0, ha="right" if turned else "center"
        )
        axes.set_ylabel(what)
        axes.grid(visible=False, axis="x")
        axes.margins(y=0.12)

    return Plot(name, alt, WIDTH_INCHES, 2.9, draw)
