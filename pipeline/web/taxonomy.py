"""One word for what a fetch met, finer than the reason a row falls for: what the live view and the journal count."""

from pipeline.web.answer import UNREACHED, Reason

OPT_OUTS = ("robots_txt", "header_opt_out", "meta_opt_out", "site_opt_out")
"""Reasons by which a page or picture falls since its owner says so, or since a robots.txt that cannot be read forbids all."""

_WORDS: dict[Reason, str] = {
    "name_not_resolved": "dns",
    "too_slow": "slow",
    "robots_txt": "robots",
    "header_opt_out": "opt_out",
    "site_opt_out": "opt_out",
    "address_refused": "address",
    "too_many_redirects": "redirects",
    "redirect_loop": "redirects",
}


def met(reason: Reason | None, status: int, evidence: str | None) -> str:
    """ok, dns, tls, refused, timeout, slow, 403, 404, 429, 5xx, other_status, not_http, robots, opt_out, ..."""
    if reason is None:
        return "ok"
    if reason == "connection_failed":
        return "tls" if evidence == "TLS failed" else "refused"
    if reason in ("not_found", "http_error"):
        if status in (403, 404, 410, 429):
            return str(status)
        if status >= 500:
            return "5xx"
        return "other_status" if status and status != 200 else "not_http"
    return _WORDS.get(reason, reason)


def is_passing(reason: Reason | None, status: int, evidence: str | None) -> bool:
    """Whether trying again much later may end otherwise: nobody answered, or the server was not itself."""
    if reason in (*UNREACHED, "too_slow"):
        return True
    if reason == "http_error":
        return status in (408, 425, 429) or status >= 500
    return reason == "robots_txt" and "cannot be read" in (evidence or "")
