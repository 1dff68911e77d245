"""The fast way to join addresses gives what the plain one gives, for any words."""

import random

import pytest

from pipeline.web.urls import Base, UnusableURLError, address, canonical

ALPHABET = "abcXYZ019/.:?%#@&=+~_- é\\[]';,!*()\t"
BASES = (
    "http://a.example/dir/page.html?x=/y",
    "http://a.b.example/x//y/z",
    "http://a.b.example//",
    "https://b.c.example/",
    "http://127.0.0.1/x/y",
)


def outcome(join: object, *words: str) -> str:
    try:
        return str(join(*words))  # type: ignore[operator]
    except UnusableURLError:
        return "refused"


@pytest.mark.parametrize("seed", range(4))
def test_joining_equals_its_slow_twin(seed: int) -> None:
    draw = random.Random(seed)
    starts = (
        "",
        "",
        "/",
        "//",
        "../",
        "../../",
        "./",
        "http://a.b.example/",
        "https://",
        "http:",
        "data:",
        "h",
        "HTTP://A.example/",
    )
    for _ in range(3000):
        word = draw.choice(starts) + "".join(draw.choices(ALPHABET, k=draw.randint(0, 14)))
        base = draw.choice(BASES)
        assert outcome(Base(base).join, word) == outcome(canonical, word, base), (word, base)


@pytest.mark.parametrize(
    ("base", "word", "joined"),
    [
        (
            "http://a.example/dir/page",
            "fetch/https://b.example/p.jpg",
            "http://a.example/dir/fetch/https://b.example/p.jpg",
        ),
        ("http://a.example/web/http://b.example/dir/", "p.jpg", "http://a.example/web/http://b.example/dir/p.jpg"),
        ("http://a.example/x//y/page?q=/z/", "../p.jpg", "http://a.example/x//p.jpg"),
        ("http://a.example/x/page?q", "a//../p.jpg", "http://a.example/x/a/p.jpg"),
        ("http://a.example/x/page?q", "p.jpg;", "http://a.example/x/p.jpg;"),
        ("http://a.example/x/page?q", "?r", "http://a.example/x/page?r"),
        ("http://a.example/x/page?q", "#f", "http://a.example/x/page?q"),
        ("http://a.example/x/page?q", "HTTP:p.jpg", "http://a.example/x/p.jpg"),
        ("http://a.example/x/page?q", "https:b.example/p.jpg", "https://b.example/p.jpg"),
    ],
)
def test_relative_addresses_keep_every_segment(base: str, word: str, joined: str) -> None:
    assert canonical(word, base) == Base(base).join(word) == joined


def test_nothing_is_relative_to_what_is_no_address() -> None:
    with pytest.raises(UnusableURLError):
        canonical("p.jpg", "dir/page")


def test_long_addresses_and_odd_hosts_take_the_plain_way() -> None:
    base = Base("http://a.example/")
    for word in (
        "/" + "a" * 5000,
        "http://1.2.3.999/x",
        "http://0x7f.1/x",
        f"http://{'a' * 64}.example/x",
        "http://a.b.1/x",
    ):
        assert outcome(base.join, word) == outcome(canonical, word, base.url)


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("http://a.example/%7eu/%41%2f?%61=b", "a.example/~u/A%2F?a=b"),
        ("https://a.example/~u/A%2F?a=b", "a.example/~u/A%2F?a=b"),
        ("a.example/~u/A%2f?a=b#top", "a.example/~u/A%2F?a=b"),
        ("HTTP://A.example:80", "a.example/"),
        ("a.example:8080/x", "a.example:8080/x"),
        ("http://a.example/%25%37%zz", "a.example/%257%25zz"),
        ("file:my.data/00000.tar/4", "file:my.data/00000.tar/4"),
        ("p12", "p12"),
    ],
)
def test_an_address_is_one_for_every_spelling(url: str, named: str) -> None:
    assert address(url) == named
    assert address(address(url)) == named
