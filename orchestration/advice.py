"""What a frequent failure means and what helps: one line, once, while the run can still be mended.

img2dataset's users lose half their pictures to a name server or a clock and are told nothing by the tool (its issues #360,
#400, #417, #430, #456, #458: success rates from 0.1 to 60 %). A class of failures is one of fetch's words (met_dns, met_404,
...: pipeline telemetry) or, where there are none, the reason that the rows fell for.
"""

from collections.abc import Mapping

ENOUGH = 50
"""Rows before a share says anything."""
MET = "met_"

ADVICE: Mapping[str, tuple[float, str, str]] = {
    "dns": (0.3, "have no address", "the name server is overloaded or the list is old: run a caching resolver on this"
            " machine (unbound, knot-resolver) or lower curate.network.concurrency"),
    "tls": (0.3, "fail in TLS", "check this machine's clock and CA certificates (SSL_CERT_FILE)"),
    "refused": (0.3, "refuse or break the connection", "a proxy or firewall may stand between, or too many connections are"
                " open: lower curate.network.concurrency"),
    "timeout": (0.3, "answer too late", "the line may be full: lower curate.network.concurrency, or raise"
                " curate.network.total_seconds"),
    "slow": (0.3, "arrive too slowly", "the line may be full: lower curate.network.concurrency"),
    "403": (0.3, "are forbidden (403)", "sites do not know who asks: set curate.network.contact, lower"
            " curate.network.per_host_concurrency"),
    "429": (0.1, "are rate limited (429)", "lower curate.network.per_host_concurrency and run again: only those are tried"),
    "404": (0.5, "are gone (404)", "lists of links lose a part each year; a newer list or crawl gives more"),
    "5xx": (0.3, "meet a server error", "wait, lower curate.network.per_host_concurrency, run again: only those are tried"),
    "robots": (0.5, "are closed by robots.txt", "that is the owners' word; look for other sources"),
    "opt_out": (0.5, "are opted out of use for AI", "that is the owners' word; look for other sources"),
    "address": (0.1, "point to private or odd addresses", "correct the list; network.hosts allows a server of your own"),
    "text_language": (0.8, "are not in the recipe's language", "change curate.select.text, or choose other sources"),
    "no_query": (0.9, "match no query", "check that curate.select.queries is made for these texts"),
    "image_too_small": (0.6, "are too small", "lower curate.fetch.minimum_side_pixels if small pictures are wanted"),
    "not_an_image": (0.3, "are no pictures", "the links lead to pages: check the column or attribute they come from"),
    "near_evaluation": (0.3, "look like evaluation pictures", "is an evaluation set itself among the sources? else lower"
                        " the bounds of curate.decontaminate"),
}  # fmt: skip
"""word -> (share of rows from which on it is said, what they do, what helps)."""

CLASS_OF = {
    "name_not_resolved": "dns",
    "connection_failed": "refused",
    "too_slow": "slow",
    "not_found": "404",
    "robots_txt": "robots",
    "header_opt_out": "opt_out",
    "site_opt_out": "opt_out",
    "meta_opt_out": "opt_out",
    "address_refused": "address",
}
"""reason -> class, where nothing finer was counted."""


def classes(reasons: Mapping[str, int], telemetry: Mapping[str, int] | None = None) -> dict[str, int]:
    """Failures per class: what fetch counted as met, else the reasons; rows that fell later keep their reason."""
    met = {name[len(MET) :]: n for name, n in (telemetry or {}).items() if name.startswith(MET) and name != "met_ok"}
    if met:
        network = {*CLASS_OF, "http_error", "timeout", "too_many_redirects", "redirect_loop"}
        rest = {reason: n for reason, n in reasons.items() if reason not in network}
        return {**rest, **met}
    found: dict[str, int] = {}
    for reason, n in reasons.items():
        word = CLASS_OF.get(reason, reason)
        found[word] = found.get(word, 0) + n
    return found


def advice_for(
    what: str, rows: int, reasons: Mapping[str, int], telemetry: Mapping[str, int] | None = None
) -> list[str]:
    """Lines about `what` (a phase), the worst first; [] while all goes well or little is known."""
    if rows < ENOUGH:
        return []
    found = []
    for word, n in classes(reasons, telemetry).items():
        if word in ADVICE:
            share, said, helps = ADVICE[word]
            if n >= share * rows:
                found.append((n, f"{what}: {n / rows:.0%} {said}; {helps}"))
    return [line for _, line in sorted(found, reverse=True)]
