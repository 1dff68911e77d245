"""Rules of a whole site: tdmrep.json, ai.txt, and how long and how widely what was read counts."""

import asyncio
import json
import re
import time

import pytest
from rude_web import Web, plain

from pipeline.web.answer import Fetched, Verdict, Wish
from pipeline.web.site_files import SiteFileCache, SiteFiles
from pipeline.web.site_rules import SiteRules, TdmRules, fits
from pipeline.web.together import fetch_all
from pipeline.web.web_config import NetworkConfig


@pytest.mark.parametrize(
    ("pattern", "path", "expected"),
    [
        ("/", "/a.jpg", True),
        ("/images/", "/images/a.jpg", True),
        ("/images/", "/image/a.jpg", False),
        ("/*.jpg$", "/x/a.jpg", True),
        ("/*.jpg$", "/x/a.jpg?v=1", False),
        ("/*.jpg", "/x/a.jpg?v=1", True),
        ("/a*b*c", "/a-b-c-d", True),
        ("/a*b*c", "/a-c-b", False),
        ("/a$", "/a", True),
        ("/a$", "/ab", False),
        ("*", "/anything", True),
        ("", "/anything", True),
        ("/*a*a$", "/a", False),
    ],
)
def test_patterns(pattern: str, path: str, expected: bool) -> None:
    assert fits(pattern, path) is expected
    obvious = "".join(".*" if sign == "*" else re.escape(sign) for sign in pattern.removesuffix("$"))
    assert (re.match(obvious + ("$" if pattern.endswith("$") else ""), path) is not None) is expected


def test_a_pattern_of_stars_costs_no_time() -> None:
    started = time.monotonic()
    fits("/" + "*a" * 900 + "b$", "/" + "a" * 4000)
    assert time.monotonic() - started < 0.5


@pytest.mark.parametrize(
    "body", [b"", b"[", b"[" * 100_000, b"\xff\xfe", b"null", b'[{"location": 1}, 7, {"tdm-reservation": 1}]', b"{}"]
)
def test_what_is_no_rule_is_ignored(body: bytes) -> None:
    assert TdmRules.parse(body).refusal("/x") is None


def test_the_first_rule_that_fits_counts() -> None:
    rules = TdmRules.parse(
        b'[{"location": "/free/*", "tdm-reservation": 0},'
        b' {"location": "/", "tdm-reservation": 1, "tdm-policy": "https://x"}]'
    )
    assert rules.refusal("/free/a.jpg") is None
    assert rules.refusal("/other/a.jpg") == "tdmrep.json reserves /"


@pytest.mark.parametrize(
    "location", ["/caf\u00e9/", "/caf%c3%a9/", "/caf%C3%A9/*", " /caf\u00e9/ ", "https://a.example/caf\u00e9/"]
)
def test_a_location_is_one_however_it_is_escaped(location: str) -> None:
    rules = TdmRules.parse(json.dumps([{"location": location, "tdm-reservation": 1}]).encode())
    assert rules.refusal("/caf%C3%A9/a%20b.jpg") is not None
    assert rules.refusal("/cafe/a.jpg") is None


def test_a_reserved_picture_is_never_asked_for(web: Web) -> None:
    web.answers["/.well-known/tdmrep.json"] = plain(b'[{"location": "/mine/", "tdm-reservation": 1}]')
    web.answers |= {"/mine/x": plain(b"mine"), "/x": plain(b"ok"), "/ai.txt": plain(b"User-agent: *\nDisallow: /y\n")}
    web.answers["/y"] = plain(b"y")
    got = fetch_all(web.config(), [f"http://a.example/{path}" for path in ("mine/x", "x", "y")])
    assert [(answer.reason, answer.evidence) for answer in got] == [
        ("site_opt_out", "tdmrep.json reserves /mine/"),
        (None, None),
        (None, None),
    ]
    assert web.asked["a.example", "/mine/x"] == 0
    assert web.asked["a.example", "/ai.txt"] == 0
    wish = web.config(opt_out_directives=("noai",), read_ai_txt=True)
    got = fetch_all(wish, [f"http://a.example/{path}" for path in ("mine/x", "x", "y")])
    assert [(answer.reason, answer.evidence) for answer in got][2] == ("site_opt_out", "ai.txt disallows /y")
    assert got[0].body == b"mine"
    assert web.asked["a.example", "/.well-known/tdmrep.json"] == 1


def cache(answers: dict[str, Verdict | bytes], asked: list[str], patient: bool = False) -> SiteFileCache:
    async def read(url: str, wish: Wish) -> tuple[Fetched, Verdict]:
        asked.append(url)
        answer = answers.get(url, Verdict(404, reason="not_found"))
        if isinstance(answer, bytes):
            return Fetched(url, url, 200, body=answer), Verdict(200)
        return Fetched(url, url, answer.status, reason=answer.reason, evidence=answer.evidence), answer

    return SiteFileCache(NetworkConfig(robots_hours=1), read, patient)


def test_files_of_an_earlier_run_count_until_they_are_old() -> None:
    asked: list[str] = []

    async def work() -> None:
        files = cache({}, asked)
        rule = b"User-agent: *\nDisallow: /\n"
        files.give(SiteFiles("http://a", time.time() - 60, rule))
        files.give(SiteFiles("http://b", time.time() - 4000, rule))
        a, b = await files.rules("http://a"), await files.rules("http://b")
        assert isinstance(a, SiteRules)
        assert isinstance(b, SiteRules)
        assert a.refusal("http://a/x") == ("robots_txt", "robots.txt disallows /x")
        assert b.refusal("http://b/x") is None
        assert list(files.read_files) == ["http://b"]

    asyncio.run(work())
    assert asked == ["http://b/robots.txt", "http://b/.well-known/tdmrep.json"]


def test_a_host_that_cannot_be_reached_is_asked_again_the_next_time() -> None:
    asked: list[str] = []

    async def work() -> None:
        answers: dict[str, Verdict | bytes] = {
            "http://a/robots.txt": Verdict(reason="timeout", evidence="over 1 s", again=True)
        }
        files = cache(answers, asked)
        first = await files.rules("http://a")
        assert isinstance(first, Verdict)
        assert (first.reason, first.whole_host, first.again) == ("timeout", True, True)
        answers["http://a/robots.txt"] = b""
        assert isinstance(await files.rules("http://a"), SiteRules)

    asyncio.run(work())
    assert asked.count("http://a/robots.txt") == 2
