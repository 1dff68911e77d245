"""An inspection as tables."""

from collections.abc import Mapping
from typing import Any

from orchestration import show
from orchestration.inspection import Inspection
from orchestration.planted import comparisons


def _told(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Facts as a person reads them: sizes in words, ids of inputs shortened. --json has them whole."""
    told = dict(facts)
    if "bytes" in told:
        told["bytes"] = show.bytes_text(told["bytes"])
    if "made_from" in told:
        told["made_from"] = ", ".join(f"{name} {id[:12]}" for name, id in told["made_from"].items()) or "nothing"
        told.pop("parents", None)
    elif "parents" in told:
        told["parents"] = ", ".join(id[:12] for id in told["parents"]) or "none"
    return told


def _holds(part: Inspection) -> str:
    facts = part.facts
    rows = facts.get("rows", facts.get("kept_rows"))
    words = [f"{rows:,} rows" if rows is not None else "", f"{len(part.scores)} scores" if part.scores else ""]
    return ", ".join(word for word in words if word) or part.kind


def print_inspection(found: Inspection) -> None:
    """As tables, parts below their root."""
    show.facts({"kind": found.kind, "folder": found.path, **_told(found.facts)})
    if found.counts:
        print()
        show.funnel_table(found.counts, found.planted or None)
    if found.planted_equal is not None:
        print()
        rows = list(comparisons(found.planted, found.counts, found.recovered))
        repaired = [row for row in rows if row[0].startswith("recovered ")]
        if repaired:
            show.rows(["got over", "planted", "counted"], [(name.split(" ", 1)[1], *rest) for name, *rest in repaired])
        wrong = sum(wanted != counted for _, wanted, counted in rows)
        print(
            f"planted = counted for all {len(rows)} kinds" if not wrong else f"planted and counted DIFFER for {wrong}"
        )
    if found.scores:
        print()
        show.score_table(found.scores)
    if found.parts:
        print()
        headings = ("step", "seconds", "id", "holds", "folder")
        lines = [
            (
                part.facts["step"],
                part.facts["seconds"],
                part.facts["id"][:12],
                _holds(part),
                part.path.rpartition("/")[2],
            )
            for part in found.parts
        ]
        show.rows(headings, lines)
        # A dataset tells the drop reasons of every phase before it.
        datasets = any(part.kind == "dataset" for part in found.parts)
        for part in found.parts:
            if part.kind in ("dataset", "scores") or (part.kind == "phase" and not datasets):
                print()
                print_inspection(part)
    if found.contact_sheet:
        print(f"\ncontact sheet: {found.contact_sheet}")
