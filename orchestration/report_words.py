"""Numbers as a report says them."""

from evaluation.report import Score
from orchestration.report_scores import is_fraction


def count_text(number: int) -> str:
    return f"{number:,}"


def percent_text(fraction: float, digits: int = 1) -> str:
    return f"{100 * fraction:.{digits}f}\u202f%"


def score_text(score: Score, value: float) -> str:
    """`value` in the form that this score is read in."""
    return percent_text(value) if is_fraction(score) else f"{value:.4g}"


def duration_text(seconds: float) -> str:
    """ "8 min 12 s"; tenths below ten seconds."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size_text(number: float) -> str:
    for unit in ("B", "KiB", "MiB", "GiB"):
        if number < 1024:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.1f} {unit}"
        number /= 1024
    return f"{number:.1f} TiB"
