"""X-Robots-Tag headers and robots meta tags: what is asked of us, and of others."""

import pytest

from pipeline.web.directives import first_opt_out, first_value, forbids_following, header_directives, meta_directives

NOW = "Sat, 21 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("lines", "wanted"),
    [
        (["noai"], ("noai",)),
        (["NoAI, NoImageAI"], ("noai", "noimageai")),
        (["googlebot: noai"], ()),
        (["googlebot: noai, noimageai"], ()),
        (["openwit: noai"], ("noai",)),
        (["OpenWIT: noai"], ("noai",)),
        (["openwit/0.1: noai"], ("noai",)),
        (["*: noimageai"], ("noimageai",)),
        (["googlebot: noindex, openwit: noai, nofollow"], ("noai", "nofollow")),
        (["googlebot: noindex", "noai"], ("noai",)),
        (["unavailable_after: 25 Jun 2010 15:00:00 GMT, noai"], ("unavailable_after", "noindex", "noai")),
        (["unavailable_after: Friday, 25-Jun-10 15:00:00 GMT, noai"], ("unavailable_after", "noindex", "noai")),
        (["max-image-preview: large, noml"], ("max-image-preview", "noml")),
        (["otherbot: unavailable_after: 1 Jan 2030 00:00:00 GMT, noai"], ()),
        (["openwit: max-snippet:-1, noai"], ("max-snippet", "noai")),
        ([""], ()),
        ([" , ,, "], ()),
        (["noai: "], ("noai",)),
        (["noindex; noai"], ("noindex", "noai")),
        (["noindex noai"], ("noindex", "noai")),
        (["googlebot: noindex; nofollow", "openwit: noai"], ("noai",)),
        (["googlebot: noindex noai"], ()),
        (["openwit: unavailable_after: 2010-06-25; noai"], ("unavailable_after", "noindex", "noai")),
        (["googlebot: unavailable_after: 25 Jun 2010 15:00:00 GMT"], ()),
        ([":"], ("",)),
        (["é: noai"], ("é",)),
    ],
)
def test_header_directives_concern_us_or_others(lines: list[str], wanted: tuple[str, ...]) -> None:
    assert header_directives(lines, "openwit", NOW) == wanted


def test_meta_tags_named_robots_or_like_us_count() -> None:
    tags = [("ROBOTS", "NoImageAI, nofollow"), ("openwit", "noml"), ("googlebot", "noai"), ("tdm-reservation", "1")]
    assert meta_directives(tags, "openwit") == ("noimageai", "nofollow", "noml", "tdm-reservation")


def test_meta_tags_as_people_write_them() -> None:
    for tags, wanted in {
        (("robots", "noindex; noai"),): ("noindex", "noai"),
        (("robots", "index"), ("Robots", "NOAI"), ("robots", "")): ("index", "noai"),
        (("robots", "noindex noimageai"),): ("noindex", "noimageai"),
        (("robots", "max-image-preview: none, max-snippet:-1"),): ("max-image-preview", "max-snippet"),
        (("X-Robots-Tag", "googlebot: noindex, openwit: noai"),): ("noai",),
        (("robots", "unavailable_after: Sat, 21 Nov 2026 10:00:00 GMT, follow"),): (
            "unavailable_after",
            "noindex",
            "follow",
        ),
    }.items():
        assert meta_directives(tags, "openwit", NOW) == wanted


@pytest.mark.parametrize(
    ("until", "over"),
    [
        ("21-Nov-2026 11:59:59 UTC", True),
        ("21 Nov 2026", True),
        ("2026-11-21T13:00:00+02:00", True),
        ("Sat Nov 21 2026 11:00:00", True),
        ("2026-11-21T12:00:01Z", False),
        ("21 Nov 2026 11:59:59 PST", False),
        ("soon", False),
        ("", False),
        ("31 Feb 2020 25:00:00 +9999", False),
        ("9" * 10_000, False),
    ],
)
def test_what_may_be_used_until_a_time_is_judged_by_the_answers_own_date(until: str, over: bool) -> None:
    assert ("noindex" in header_directives([f"unavailable_after: {until}"], "openwit", NOW)) is over
    assert "noindex" not in header_directives([f"unavailable_after: {until}"], "openwit")


@pytest.mark.parametrize(
    "field", ["text/html; charset=x", " Text/HTML ", "text/html, text/html", "text/html\ntext/plain"]
)
def test_of_a_header_that_stands_twice_the_first_counts(field: str) -> None:
    assert first_value(field) == "text/html"


def test_opt_out_and_nofollow_are_different_wishes() -> None:
    assert first_opt_out(("nofollow", "noai"), ("noai", "noml")) == "noai"
    assert first_opt_out(("nofollow",), ("noai",)) is None
    assert forbids_following(("none",))
    assert not forbids_following(("noai",))
