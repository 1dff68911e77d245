"""The data card of a finished dataset: data_card.md, data_card.html and data_card.png beside its manifest.

It says what a user of the data must know: how many pairs and of what kind, where they come from, under which licences,
who opted out, what was dropped and why, and how near it is to evaluation sets. No part of the dataset's id.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from orchestration.card_facts import CardFacts, gather_facts
from orchestration.card_page import page
from orchestration.card_sections import funnel, sections
from orchestration.contact_sheet import contact_sheet
from orchestration.visible import visible
from pipeline import storage

NAMES = {"markdown": "data_card.md", "html": "data_card.html", "picture": "data_card.png"}


def write(folder: str) -> dict[str, Any]:
    """Write the card of the dataset at `folder`; returns where its files are."""
    facts = gather_facts(folder)
    paths = {kind: storage.join(folder, name) for kind, name in NAMES.items()}
    sheet = contact_sheet(list(facts.kept), columns=8, title=facts.headline())
    storage.write_bytes(paths["picture"], sheet)
    storage.write_bytes(paths["markdown"], markdown(facts).encode("utf-8", "replace"))
    storage.write_bytes(paths["html"], page(facts).encode("utf-8", "replace"))
    return {"dataset": folder, "manifest_id": facts.manifest_id, **paths}


def markdown(facts: CardFacts) -> str:
    """The card as text."""
    parts = [
        f"# Data card of dataset {facts.manifest_id[:12]}",
        "",
        facts.headline() + ".",
        "",
        f"- manifest: `{facts.manifest_id}`",
        f"- code version: `{facts.code_version}`",
        f"- made from: {', '.join(f'`{parent[:12]}`' for parent in facts.parents) or 'nothing that is known'}",
        "",
        f"![Pairs of the dataset]({NAMES['picture']})",
        "",
        "## What was dropped, and why",
        "",
        *_table(("phase", "unit", "what", "rows", "meaning"), funnel(facts)),
    ]
    for title, sentence, headings, rows in sections(facts):
        parts += ["", f"## {title}", "", sentence, "", *(_table(headings, rows) if rows else ["None."])]
    return "\n".join(parts) + "\n"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    lines = [f"| {' | '.join(headings)} |", f"|{'---|' * len(headings)}"]
    return lines + [f"| {' | '.join(_cell(word) for word in row)} |" for row in rows]


def _cell(word: str) -> str:
    """Text from the web in a Markdown cell: on one line, and nothing in it is markup."""
    clean = visible(word, 160)
    for mark in "\\`*_[]<>|":
        clean = clean.replace(mark, f"\\{mark}")
    return clean
