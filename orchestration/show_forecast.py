"""A forecast on the screen: a table of stages, and the totals below it."""

from orchestration import show
from orchestration.forecast import Forecast, Range
from orchestration.show import bytes_text


def print_forecast(found: Forecast) -> None:
    """Sources, stages, balance, totals, advice."""
    headings = ("source", "pairs read", "of all", "pairs in all")
    sign = "at least " if found.at_least else ""
    show.rows(
        headings,
        [
            (
                name,
                facts["read"],
                f"{facts['share_read']:.1%}",
                f"{'' if facts['exact'] else sign}{facts['expected']:,}",
            )
            for name, facts in found.candidates.items()
        ],
    )
    print()
    show.rows(
        ("stage", "pilot rows", "kept", "95 %", "pairs left", "on disk", "hours", "most frequent reasons"),
        [
            (
                stage.name,
                stage.sampled,
                f"{stage.kept.value:.1%}",
                "exact" if stage.kept.low == stage.kept.high else f"{stage.kept.low:.1%} - {stage.kept.high:.1%}",
                f"{stage.rows_kept.value:,.0f}",
                bytes_text(round(stage.bytes.value)),
                hours_text(stage.hours.value),
                ", ".join(f"{reason} {share:.1%}" for reason, share in stage.reasons.items()),
            )
            for stage in found.stages
        ],
    )
    print()
    facts = {
        "pairs": f"{sign}{_range(found.rows)}",
        "on disk": f"{sign}{bytes_text(round(found.bytes.value))} with every stage's own files",
        "time": f"{sign}{hours_text(found.hours.value)} with {found.workers} workers",
    }
    if "t" in found.balance:
        told = [f"t = {found.balance['t']:,}"]
        if "queries" in found.balance:
            told.append(f"{found.balance['queries_with_pairs']:,} of {found.balance['queries']:,} queries have pairs")
            told.append(f"{found.balance['queries_cut']:,} have more than t")
        facts["balance"] = ", ".join(told)
    show.facts(facts)
    largest = found.balance.get("largest", ())
    if largest:
        print()
        show.rows(("largest queries", "pairs", "after"), [(q["query"], q["before"], q["after"]) for q in largest])
    for line in (*found.advice, *found.notes):
        print(f"\nadvice: {line}" if line in found.advice else f"\n{line}")


def hours_text(hours: float) -> str:
    """4 s, 12 min, 3.4 h or 2.1 days."""
    if hours < 1 / 60:
        return f"{hours * 3600:.0f} s"
    if hours < 1:
        return f"{hours * 60:.0f} min"
    return f"{hours:.1f} h" if hours < 48 else f"{hours / 24:.1f} days"


def _range(rows: Range) -> str:
    if rows.low == rows.high:
        return f"{rows.value:,.0f}"
    return f"{rows.value:,.0f} (95 %: {rows.low:,.0f} to {rows.high:,.0f})"
