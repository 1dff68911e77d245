"""The data card as one HTML page: the report's style, its plots, small pictures inline; it loads nothing and runs nothing."""

import base64
from collections.abc import Mapping
from typing import Any

from orchestration import plots
from orchestration.card_facts import CardFacts
from orchestration.card_sections import chain, funnel, sections
from orchestration.contact_sheet import thumbnail
from orchestration.pages import templates
from orchestration.plot import Plot
from orchestration.visible import visible
from pipeline.execution.ledger import Fate


def page(facts: CardFacts) -> str:
    """Equal facts give equal text."""
    from markupsafe import Markup

    drawn = [Markup(plot.inline()) for plot in _plots(facts)]
    kept, dropped = (
        [(_data_uri(image), visible(caption, 140)) for image, caption in items] for items in (facts.kept, facts.dropped)
    )
    template = templates().get_template("data_card.html.jinja")
    return template.render(
        facts=facts, sections=sections(facts), funnel=funnel(facts), plots=drawn, kept=kept, dropped=dropped
    )


def _plots(facts: CardFacts) -> list[Plot]:
    fates = {phase: {unit: _fate(fate) for unit, fate in facts.counts[phase].items()} for phase in chain(facts)}
    found = [plots.funnel(fates)] if fates else []
    if facts.sides:
        found.append(plots.size_histogram(facts.sides, by="shorter side of the original"))
    if facts.lengths:
        found.append(plots.size_histogram(facts.lengths, "lengths", "captions", "length in characters"))
    return found


def _fate(counts: Mapping[str, Any]) -> Fate:
    return Fate(int(counts["rows_in"]), int(counts["kept"]), dict(counts["reasons"]))


def _data_uri(image: bytes) -> str | None:
    """Made anew from the pixels, so nothing of a stranger's file reaches the page."""
    small = thumbnail(image, 128)
    return None if small is None else "data:image/jpeg;base64," + base64.b64encode(small).decode("ascii")
