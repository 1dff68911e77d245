"""The tables of a data card, computed from its facts: the Markdown and the page only arrange them."""

from collections import Counter
from collections.abc import Mapping, Sequence

from orchestration import overlap_view
from orchestration.card_facts import TOP, CardFacts
from orchestration.reasons import MEANING
from pipeline.web.taxonomy import OPT_OUTS

Section = tuple[str, str, Sequence[str], Sequence[Sequence[str]]]
"""Title, a sentence, headings, rows."""


def sections(facts: CardFacts) -> list[Section]:
    """Every table of the card; one without rows says so in its sentence."""
    measured = f"Counted in {facts.measured:,} of {facts.rows:,} pairs."
    said = f"Told by the samples. {measured}"
    if facts.identified:
        said = f"Identified by py3langid in {facts.identified:,} captions; short captions are where it is least sure."
    none_said = facts.measured - sum(facts.licences.values())
    licences = Counter(facts.licences) + Counter({"none stated on the page": none_said})
    overlap = [(f"marked, {name}", "kept", f"{n:,}") for name, n in facts.overlap.most_common()]
    return [
        ("Languages", said, ("language", "captions", "share"), _shares(facts.languages)),
        (
            "Licences",
            "As JSON-LD or a sitemap state them for the picture, else the page with rel=license; a licence is the owner's"
            f" word, not a legal check. {measured}",
            ("licence", "pairs", "share"),
            _shares(licences),
        ),
        (
            "Domains",
            f"Hosts of the picture URLs, {len(facts.domains):,} in all. {measured}",
            ("host", "pairs", "share"),
            _shares(facts.domains),
        ),
        ("Crawls", measured, ("crawl", "pairs", "share"), _shares(facts.crawls)),
        ("Texts", f"Where the captions come from. {measured}", ("origin", "pairs", "share"), _shares(facts.origins)),
        (
            "Opt-outs",
            "Pages and pictures left out because their owners say so (robots.txt, X-Robots-Tag and TDM reservation"
            " headers, robots meta tags, tdmrep.json, ai.txt), or taken down since. robots_txt also counts sites whose"
            " robots.txt could not be read (its server answered with an error): nothing is fetched then (RFC 9309).",
            ("phase", "unit", "reason", "rows"),
            _counted(facts.reasons((*OPT_OUTS, "taken_down"))),
        ),
        (
            "Duplicates",
            "Dropped for being there already.",
            ("phase", "unit", "reason", "rows"),
            _counted(facts.reasons(("near_caption", "near_embedding"), containing="duplicate")),
        ),
        (
            "Overlap with evaluation sets",
            "Pictures near one of an evaluation set: dropped, or kept and marked.",
            ("what", "where", "rows"),
            [(reason, phase, f"{n:,}") for phase, _, reason, n in facts.reasons(("near_evaluation",))] + overlap,
        ),
        (
            "Copies of evaluation pictures that are found",
            " ".join(
                [
                    "Of copies planted under usual changes, at the threshold that was measured for each set.",
                    *(line.partition(": ")[2] + "." for line in overlap_view.low(facts.thresholds)),
                ]
            ),
            overlap_view.HEADINGS,
            overlap_view.cells(facts.thresholds),
        ),
        ("Original sizes", f"Shorter side. {measured}", ("side", "pictures", "share"), _in_order(facts.sides)),
        ("Caption lengths", f"Characters. {measured}", ("characters", "captions", "share"), _in_order(facts.lengths)),
        ("Formats and repairs", measured, ("what", "pictures", "share"), _shares(facts.formats + facts.repairs)),
        (
            "Scores",
            measured,
            ("score", "5th percentile", "median", "95th percentile"),
            [(name, *(f"{value:.4f}" for value in found)) for name, found in facts.scores.items()],
        ),
    ]


LATE = ("select", "fetch", "score", "deduplicate", "decontaminate", "pack", "takedown", "reshard")


def chain(facts: CardFacts) -> list[str]:
    """The phases in the order of the chain: sources, whatever a recipe calls them, come first."""
    places = {name: place for place, name in enumerate(LATE)}
    return sorted(facts.counts, key=lambda name: (places.get(name.partition("_again")[0], -1), name))


def funnel(facts: CardFacts) -> list[tuple[str, str, str, str, str]]:
    """(phase, unit, what, rows, meaning): rows in, kept and dropped by reason."""
    lines = []
    for phase in chain(facts):
        for unit, fate in facts.counts[phase].items():
            lines.append((phase, unit, "in", f"{fate['rows_in']:,}", ""))
            ordered = sorted(fate["reasons"].items(), key=lambda pair: (-pair[1], pair[0]))
            lines += [(phase, unit, reason, f"{count:,}", MEANING.get(reason, "")) for reason, count in ordered]
            lines.append((phase, unit, "kept", f"{fate['kept']:,}", ""))
    return lines


def _shares(counts: Mapping[str, int]) -> list[tuple[str, str, str]]:
    counted = Counter(counts)
    whole = sum(counted.values()) or 1
    ordered = sorted(counted.items(), key=lambda pair: (-pair[1], pair[0]))
    lines = [(name, f"{n:,}", f"{n / whole:.1%}") for name, n in ordered[:TOP] if n]
    rest = sum(n for _, n in ordered[TOP:])
    return lines + ([(f"{len(ordered) - TOP:,} others", f"{rest:,}", f"{rest / whole:.1%}")] if rest else [])


def _in_order(counts: Mapping[str, int]) -> list[tuple[str, str, str]]:
    whole = sum(counts.values()) or 1
    return [(name, f"{n:,}", f"{n / whole:.1%}") for name, n in counts.items()]


def _counted(rows: Sequence[tuple[str, str, str, int]]) -> list[tuple[str, str, str, str]]:
    return [(phase, unit, reason, f"{count:,}") for phase, unit, reason, count in rows]
