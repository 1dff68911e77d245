"""robots.txt: what is asked of us, and of others, in whatever encoding."""

import gzip
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from pipeline.web.body import BrokenError, TooLargeError, decoded, retry_after_seconds
from pipeline.web.robots import MAX_ROBOTS_BYTES, RobotsRules

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"


def test_rules_for_our_name_win_over_those_for_all() -> None:
    rules = RobotsRules.parse(
        b"User-agent: *\nDisallow: /\n\nUser-agent: openwit\nDisallow: /private\nCrawl-delay: 2.5\n"
        b"Sitemap: http://a.example/map.xml\n",
        "openwit",
    )
    assert rules.refusal("http://a.example/x") is None
    assert rules.refusal("http://a.example/private/x?y") == "robots.txt disallows /private/x?y"
    assert rules.crawl_delay_seconds == 2.5
    assert rules.sitemaps == ("http://a.example/map.xml",)


def test_rules_for_our_name_with_a_version_are_ours() -> None:
    body = b"User-agent: *\nAllow: /\n\nuser-agent :  OpenWit/0.1 # them\nDisallow: /\n\nUser-agent: openwittier/1\nAllow: /\n"
    assert RobotsRules.parse(body, "openwit").refusal("http://a.example/x") is not None
    assert RobotsRules.parse(body, "openwittier").refusal("http://a.example/x") is None
    assert RobotsRules.parse(body, "other").refusal("http://a.example/x") is None


def test_no_file_allows_all_and_a_forbidden_host_nothing() -> None:
    assert RobotsRules("openwit").refusal("http://a.example/") is None
    assert RobotsRules("openwit", forbidden="status 503").refusal("http://a.example/") == "status 503"


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\xff\xfe\x00garbage\x00",
        b"<html><body>not found</body></html>",
        b"Disallow: /\n",
        b"User-agent: *\nCrawl-delay: soon\nDisallow: /a\n",
        b"User-agent: *\nCrawl-delay: -5\n",
        b"User-agent: *\nDisallow: /%zz\nAllow: \xc3\xa4\n",
        b"\xef\xbb\xbfUser-agent: *\nDisallow: /bom\n",
        b"User-agent: *\rDisallow: /cr\r",
        b"User-agent: *\n" + b"Disallow: /x\n" * 100_000,
        b"User-agent: " + b"a" * 600_000,
        b"Sitemap: \nSitemap: ftp://x\nUser-agent\n:::\n",
    ],
)
def test_odd_files_are_read_without_complaint(body: bytes) -> None:
    rules = RobotsRules.parse(body, "openwit")
    rules.refusal("http://a.example/x/y?z")
    assert rules.crawl_delay_seconds >= 0
    assert isinstance(rules.sitemaps, tuple)


RULES = "User-agent: *\r\nDisallow: /caf\xe9\nUser-agent: openwit\nDisallow: /ours\nDisallow: /zo\xeb\n"


@pytest.mark.parametrize(
    "body",
    [
        RULES.encode("utf-8-sig"),
        RULES.encode("utf-16"),
        RULES.encode("utf-16-le"),
        RULES.encode("utf-16-be"),
        b"\xfe\xff" + RULES.encode("utf-16-be") + b"\0",
        RULES.encode().replace(b"openwit", b"open\0wit").replace(b"\n", b"\n\0"),
        RULES.replace("\n", "\r").encode(),
    ],
)
def test_no_encoding_hides_a_rule(body: bytes) -> None:
    rules = RobotsRules.parse(body, "openwit")
    assert rules.refusal("http://a.example/ours")
    assert rules.refusal("http://a.example/zo%C3%AB")
    assert rules.refusal("http://a.example/caf%C3%A9") is None  # the group of all others
    assert RobotsRules.parse(body, "other").refusal("http://a.example/caf%C3%A9")


def test_a_rule_full_of_wildcards_costs_no_time() -> None:
    rules = RobotsRules.parse(b"User-agent: *\nDisallow: /" + b"a*" * 40 + b"b$\n", "openwit")
    started = time.monotonic()
    assert rules.refusal("http://a.example/" + "a" * 3000) is None
    assert time.monotonic() - started < 2


def test_only_the_head_of_an_endless_file_is_read() -> None:
    late = b"User-agent: *\n" + b"# filler\n" * (MAX_ROBOTS_BYTES // 9) + b"Disallow: /late\n"
    assert RobotsRules.parse(late, "openwit").refusal("http://a.example/late") is None


def test_a_rule_that_the_limit_cuts_is_none() -> None:
    for mark in ("\n", "\r\n"):
        head = f"User-agent: *{mark}Disallow: /first{mark}"
        rule = "Disallow: /secret/room"
        for cut in range(len("Disallow:"), len(rule)):
            filler = "#" * (MAX_ROBOTS_BYTES - len(head) - len(mark) - cut)
            rules = RobotsRules.parse(f"{head}{filler}{mark}{rule}{mark}".encode(), "openwit")
            assert rules.refusal("http://a.example/first")
            assert rules.refusal("http://a.example/s") is None


@pytest.mark.shared
def test_real_robots_files_of_600_sites_are_read() -> None:
    folder = SHARED / "robots-protego" / "tests" / "test_data"
    if not folder.is_dir():
        pytest.skip("needs ../shared/data/robots-protego")
    files = sorted(folder.iterdir())
    for file in files:
        rules = RobotsRules.parse(file.read_bytes(), "openwit")
        rules.refusal(f"http://{file.name}/some/page?with=query")
        assert rules.crawl_delay_seconds >= 0
    assert len(files) >= 500


def test_a_long_compressed_file_is_read_as_far_as_the_limit() -> None:
    plain = b"User-agent: *\nDisallow: /x\n" + b"# filler\n" * MAX_ROBOTS_BYTES
    for body in (gzip.compress(plain), gzip.compress(plain)[:-100], gzip.compress(plain[:1000])[:-8]):
        read = decoded(body, "gzip", MAX_ROBOTS_BYTES, cut=True)
        assert len(read) <= MAX_ROBOTS_BYTES
        assert RobotsRules.parse(read, "openwit").refusal("http://a.example/x")
        with pytest.raises((TooLargeError, BrokenError)):
            decoded(body, "gzip", MAX_ROBOTS_BYTES)


@pytest.mark.parametrize("zone", ["UTC", "Asia/Tokyo", "America/Los_Angeles"])
@pytest.mark.parametrize("form", ["%a, %d %b %Y %H:%M:%S GMT", "%a %b %d %H:%M:%S %Y"])
def test_dates_of_retry_after_are_in_utc_wherever_we_are(monkeypatch: pytest.MonkeyPatch, zone: str, form: str) -> None:
    monkeypatch.setenv("TZ", zone)
    time.tzset()
    try:
        until = (datetime.now(timezone.utc) + timedelta(seconds=100)).strftime(form)
        assert 90 < (retry_after_seconds(until) or 0) < 101
    finally:
        monkeypatch.undo()
        time.tzset()
