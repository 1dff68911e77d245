"""Plot: one picture drawn by matplotlib, as SVG for the report and as PNG for MLflow, always the same bytes.

Figures are drawn on a transparent ground in the few colours of `Colour`. Inside the report each of these becomes a CSS
variable of the page, so the same drawing is right in light and in dark mode; as a file of its own it keeps its colours.
matplotlib is imported when a picture is drawn, never before, and without pyplot, so there is no global figure to leak.
"""

import io
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from typing import Any


class Colour:
    """The palette; report.css defines the variable of each name for light and for dark mode."""

    INK = "#1d2530"
    MUTED = "#66707d"
    GRID = "#dedbd2"
    PAPER = "#fdfcf9"
    ACCENT = "#0d7268"
    DROP = "#b8432a"
    GOLD = "#b7791f"
    BLUE = "#2f5d9b"
    PLUM = "#7d4a8d"
    MOSS = "#5d7a2a"


VARIABLES = {value: f"--{name.lower()}" for name, value in vars(Colour).items() if not name.startswith("_")}
SERIES = (Colour.ACCENT, Colour.DROP, Colour.BLUE, Colour.GOLD, Colour.PLUM, Colour.MOSS, Colour.MUTED, Colour.INK)

WIDTH_INCHES = 5.2
"""Of every plot that stands in a grid, so that letters on one page have one size."""

STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine measures text alike
    "font.size": 9.0,
    "text.color": Colour.INK,
    "text.parse_math": False,  # a class called "$5" is not a formula
    "axes.edgecolor": Colour.MUTED,
    "axes.labelcolor": Colour.MUTED,
    "axes.facecolor": "none",
    "axes.linewidth": 0.8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10.0,
    "axes.titlelocation": "left",
    "grid.color": Colour.GRID,
    "grid.linewidth": 0.7,
    "xtick.color": Colour.MUTED,
    "ytick.color": Colour.MUTED,
    "lines.linewidth": 1.6,
    "legend.frameon": False,
    "legend.fontsize": 8.0,
    "figure.facecolor": "none",
    "figure.constrained_layout.use": True,
    "svg.fonttype": "none",  # text stays text: small, searchable, in the page's own typeface
    "svg.hashsalt": "openwit",
    "savefig.facecolor": "none",
}


@dataclass(frozen=True)
class Plot:
    """A picture that knows its `name`, its `alt` text and its size; nothing is drawn until `svg` or `png` is called."""

    name: str
    alt: str
    width_inches: float
    height_inches: float
    draw: Callable[[Any], None]

    def svg(self) -> bytes:
        """A file of its own, on the palette's paper."""
        return self._render("svg", Colour.PAPER)

    def png(self, dots_per_inch: int = 144) -> bytes:
        return self._render("png", Colour.PAPER, dots_per_inch)

    def inline(self) -> str:
        """An <svg> element to put into HTML: page colours, page typeface, ids of its own, no style sheet, no prolog."""
        text = self._render("svg", "none").decode()
        text = text[text.index("<svg") :]
        text = re.sub(r"<style.*?</style>|<metadata.*?</metadata>|<!--.*?-->", "", text, flags=re.DOTALL)
        # Two pictures on one page may not share an id.
        text = re.sub(r'(\bid="|url\(#|href="#)', rf"\g<1>{self.name}-", text)
        text = re.sub(r"font-family: [^;\"]+;? ?", "", re.sub(r"font: ?([\d.]+)px [^;\"]+", r"font-size: \1px", text))
        for colour, variable in VARIABLES.items():
            text = text.replace(colour, f"var({variable})")
        view_box = re.search(r'viewBox="([\d. ]+)"', text)
        box = view_box.group(1) if view_box else ""
        body = text[text.index(">") + 1 :]
        return (
            f'<svg class="plot" role="img" aria-label="{escape(self.alt, quote=True)}" viewBox="{box}"'
            f' xmlns:xlink="http://www.w3.org/1999/xlink" xmlns="http://www.w3.org/2000/svg">{body}'
        ).strip()

    def _render(self, form: str, ground: str, dots_per_inch: int = 72) -> bytes:
        from matplotlib import rc_context
        from matplotlib.figure import Figure

        # Dates and versions in metadata would give each run and each machine other bytes.
        metadata = (
            {"Creator": None, "Date": None, "Format": None, "Type": None} if form == "svg" else {"Software": None}
        )
        sink = io.BytesIO()
        with rc_context(STYLE):
            figure = Figure(figsize=(self.width_inches, self.height_inches))
            self.draw(figure)
            with warnings.catch_warnings():
                # A label in a script that the font lacks: right in a browser, boxes in the PNG, no reason to stop.
                warnings.filterwarnings("ignore", "Glyph .* missing from font", UserWarning)
                figure.savefig(sink, format=form, dpi=dots_per_inch, facecolor=ground, metadata=metadata)
        return sink.getvalue()
