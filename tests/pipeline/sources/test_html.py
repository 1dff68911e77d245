"""What a page says: pictures and their words, links, robots wishes; and that no page, however odd, stops us."""

import gzip
import json
import time
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from pipeline.sources.html import parse_page, parse_pages, parse_sitemap

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"
PAGE = "http://a.example/dir/page.html"


def parse(body: str | bytes, **header: Any) -> dict[str, Any]:
    wish = {"url": PAGE, "text_from": ["alt", "figcaption", "title"], "product": "openwit"} | header
    result, blobs = parse_page(wish, body.encode() if isinstance(body, str) else body)
    assert blobs == []
    json.dumps(result).encode()
    return result


def pictures(body: str, **header: Any) -> list[tuple[str, str, str]]:
    return [(image["url"], image["text"], image["origin"]) for image in parse(body, **header)["images"]]


@pytest.mark.parametrize(
    ("tag", "url"),
    [
        ('<img src="p.jpg">', "http://a.example/dir/p.jpg"),
        ('<img src="/p.jpg#x">', "http://a.example/p.jpg"),
        ('<img src="//cdn.example/p q.jpg">', "http://cdn.example/p%20q.jpg"),
        ('<img src="data:image/gif;base64,R0" data-src="p.jpg">', "http://a.example/dir/p.jpg"),
        ('<img src="blank.gif" data-original="p.jpg">', "http://a.example/dir/p.jpg"),
        ('<img data-lazy-src="p.jpg">', "http://a.example/dir/p.jpg"),
        ('<img src="p.jpg" data-lazy="true">', "http://a.example/dir/p.jpg"),
        (
            '<img src="p.jpg" data-original="1" data-src="{&quot;large&quot;: &quot;l.jpg&quot;}">',
            "http://a.example/dir/p.jpg",
        ),
        (
            '<img src="p_300x.jpg" data-src="p_{width}x.jpg" data-widths="[180, 360]">',
            "http://a.example/dir/p_300x.jpg",
        ),
        ('<img src="blank.gif" data-src="thumb?id=3">', "http://a.example/dir/thumb?id=3"),
        ('<img src="s.jpg" srcset="l.jpg\n1280w,m.jpg\n640w">', "http://a.example/dir/l.jpg"),
        ('<img src="s.jpg" srcset="m.jpg 640w, l.jpg 1280w, s.jpg 320w">', "http://a.example/dir/l.jpg"),
        ('<img src="s.jpg" srcset="l.jpg 2x, m.jpg 1.5x, s.jpg">', "http://a.example/dir/l.jpg"),
        ('<img src="s.jpg" srcset="m.jpg">', "http://a.example/dir/s.jpg"),
        ('<img src="s.jpg" srcset="data:image/gif;base64,R0lG 3x, l.jpg 2x">', "http://a.example/dir/l.jpg"),
        ('<img src="s.jpg" srcset="data:image/gif;base64,R0lG 900w">', "http://a.example/dir/s.jpg"),
        ('<img srcset="only.jpg">', "http://a.example/dir/only.jpg"),
        ('<img src="s.jpg" srcset="a,b.jpg 100w,c.jpg 50w">', "http://a.example/dir/a,b.jpg"),
        ('<img src="s.jpg" srcset=",,, ,">', "http://a.example/dir/s.jpg"),
        ('<img data-srcset="l.jpg 900w, s.jpg 100w" src="blank.gif">', "http://a.example/dir/l.jpg"),
        (
            '<picture><source srcset="l.webp 900w" type="image/webp"><img src="s.jpg"></picture>',
            "http://a.example/dir/l.webp",
        ),
        (
            '<picture><source srcset="l.avif 900w" type="image/avif"><img src="s.jpg"></picture>',
            "http://a.example/dir/s.jpg",
        ),
        ('<picture><source srcset="l.jpg"><img></picture>', "http://a.example/dir/l.jpg"),
        (
            '<picture><source media="(min-width: 600px)" srcset="m.jpg"><source media="(min-width:1200px)" srcset="l.jpg">'
            '<img src="s.jpg"></picture>',
            "http://a.example/dir/l.jpg",
        ),
        ('<img src="p.jpg', None),
        ('<img src="s.jpg" srcset="l.jpg 1e3w, m.jpg -5w">', "http://a.example/dir/s.jpg"),
        ('<img alt="x">', None),
        ('<img src="">', None),
        ('<img src="  ">', None),
        ('<img src="javascript:alert(1)">', None),
        ('<img src="blob:http://a.example/1">', None),
        ('<img src="http://u:p@a.example/x">', None),
        ('<IMG SRC="P.JPG">', "http://a.example/dir/P.JPG"),
    ],
)
def test_the_largest_form_of_a_picture_is_found(tag: str, url: str | None) -> None:
    assert [found for found, _, _ in pictures(f"<body>{tag}</body>")] == ([url] if url else [])


def test_the_first_text_that_is_not_empty_wins_and_says_where_it_was() -> None:
    figure = "<figure><img src=p.jpg {}><figcaption> A <b>cell</b>,\n seen &amp; drawn </figcaption></figure>"
    url = "http://a.example/dir/p.jpg"
    assert pictures(figure.format('alt=" alt\t text "')) == [(url, "alt text", "alt")]
    assert pictures(figure.format('alt=" " title="T"')) == [(url, "A cell, seen & drawn", "figcaption")]
    assert pictures(figure.format('alt title="T"'), text_from=["title", "alt"]) == [(url, "T", "title")]
    assert pictures(figure.format('aria-label="L"'), text_from=["aria-label"]) == [(url, "L", "aria-label")]
    assert pictures("<img src=p.jpg>") == [(url, "", "")]
    assert pictures("<img src=p.jpg><figure><figcaption>other</figcaption></figure>") == [(url, "", "")]
    blocks = "<figure><div><img src=p.jpg></div><figcaption><p>one</p><p>two</p></figcaption></figure>"
    assert pictures(blocks) == [(url, "one two", "figcaption")]


def test_base_moves_every_relative_address() -> None:
    said = parse('<head><base href="http://b.example/x/"></head><img src=p.jpg><a href=q>')
    assert said["base"] == "http://b.example/x/"
    assert said["images"][0]["url"] == "http://b.example/x/p.jpg"
    assert said["links"] == ["http://b.example/x/q"]
    for odd in ("javascript:x", "", "http://", "data:,"):
        assert parse(f'<base href="{odd}"><img src=p.jpg>')["base"] == PAGE


def test_links_are_http_without_fragments_or_nofollow_each_once() -> None:
    body = (
        '<a href="b#1">1</a><a href="b#2">2</a><a href="#top">3</a><a href="mailto:x@a.example">4</a><a href="">5</a>'
        '<a href="c" rel="noopener NoFollow">6</a><a href="https://o.example">7</a><area href="d"><a>8</a><a href="javascript:x">'
    )
    assert parse(body)["links"] == ["http://a.example/dir/b", "http://a.example/dir/d", "https://o.example/"]


@pytest.mark.parametrize(
    ("content", "links"),
    [("0; url=en/", ["http://a.example/dir/en/"]), ("5;URL='/x?a=1;b'", ["http://a.example/x?a=1;b"]), ("0,next", ["http://a.example/dir/next"]),
     ("300", []), ("0;", []), ("0; url=", []), ("0; url=javascript:go()", [])],
)  # fmt: skip
def test_where_a_page_sends_its_readers_is_a_link(content: str, links: list[str]) -> None:
    assert parse(f'<meta http-equiv="Refresh" content="{content}">')["links"] == links
    assert parse(f'<meta name=robots content=nofollow><meta http-equiv=refresh content="{content}">')["links"] == []


def test_robots_wishes_are_read_and_nofollow_hides_the_links() -> None:
    body = '<meta name="Robots" content="NoImageAI"><meta name="googlebot" content="noai"><a href="b">'
    assert parse(body)["robots"] == ["noimageai"]
    assert parse(body)["links"] == ["http://a.example/dir/b"]
    assert parse('<meta name=openwit content="noai, nofollow"><a href="b">')["links"] == []
    assert parse('<meta content="none" name=robots><a href="b">')["links"] == []
    assert parse('<meta name=robots content="index"><meta name=robots content="noindex; noai">')["robots"] == [
        "index",
        "noindex",
        "noai",
    ]
    until = '<meta http-equiv="X-Robots-Tag" content="unavailable_after: 2026-01-01">'
    assert "noindex" in parse(until, date="Sat, 21 Nov 2026 12:00:00 GMT")["robots"]
    assert parse(until, date="Fri, 21 Nov 2025 12:00:00 GMT")["robots"] == ["unavailable_after"]


@pytest.mark.parametrize(
    ("body", "content_type", "text"),
    [
        ("grüße".encode(), "", "grüße"),
        ("grüße".encode("latin-1"), "text/html; charset=ISO-8859-1", "grüße"),
        ("grüße".encode("cp1252"), "", "grüße"),
        ("“x”".encode("cp1252"), 'text/html; charset="latin1"', "“x”"),
        ("日本".encode("shift_jis"), "text/html; charset=Shift_JIS", "日本"),
        ("日本".encode("euc_jp"), "text/html;charset=euc-jp", "日本"),
        ("привет".encode("koi8-r"), "text/html; charset=koi8-r", "привет"),
        ("朱镕基".encode("gbk"), "text/html; charset=gb2312", "朱镕基"),
        ("写真①髙島".encode("cp932"), "text/html; charset=x-sjis", "写真①髙島"),
        ("똠방각하".encode("cp949"), "text/html; charset=EUC-KR", "똠방각하"),
        ("香港啲嘢".encode("big5hkscs"), "text/html; charset=Big5", "香港啲嘢"),
        ("รูปแมว".encode("cp874"), "text/html; charset=TIS-620", "รูปแมว"),
        ("רכבת".encode("iso8859-8"), "text/html; charset=iso-8859-8-i", "רכבת"),
        ("şehir".encode("cp1254"), "text/html; charset=ISO-8859-9", "şehir"),
        ("grüße".encode(), "text/html; charset=unicode_escape", "grüße"),
        ("grüße".encode(), "text/html; charset=no-such-thing", "grüße"),
        ("grüße".encode(), "text/html; charset=\x00", "grüße"),
    ],
)
def test_the_charset_is_found_as_browsers_do(body: bytes, content_type: str, text: str) -> None:
    page = b'<img src=p alt="' + body + b'">'
    assert parse(page, content_type=content_type)["images"][0]["text"] == text


def test_byte_order_marks_and_meta_charsets_count() -> None:
    assert parse('<img src=p alt="ß">'.encode("utf-16"))["images"][0]["text"] == "ß"
    assert (
        parse(b"\xef\xbb\xbf<img src=p alt=\xc3\x9f>", content_type="text/html; charset=latin1")["images"][0]["text"]
        == "ß"
    )
    assert parse(b"<meta charset=latin1><img src=p alt=\xdf>")["images"][0]["text"] == "ß"
    assert (
        parse('<?xml version="1.0" encoding="cp1251"?><img src=p alt=П>'.encode("cp1251"))["images"][0]["text"] == "П"
    )
    assert parse("<meta charset=utf-16><img src=p alt=ß>".encode())["images"][0]["text"] == "ß"
    assert (
        parse(b"<meta http-equiv=x content='text/html; charset=cp1251'><img src=p alt=\xcf>")["images"][0]["text"]
        == "П"
    )


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\x00" * 1000,
        bytes(range(256)) * 100,
        b"<" * 100_000,
        b"<div>" * 20_000,
        b"<img src=p alt='" + b"a" * 1_000_000 + b"'>",
        b"<img srcset='" + b"a, " * 100_000 + b"'>",
        b"<img srcset='" + b"a" * 200_000 + b"'>",
        b"<img srcset='" + b" " * 200_000 + b"'>",
        b"<img src=p alt='&#xD800;&#0;&#x110000;&bogus;'>",
        b"<!--" * 50_000,
        b"<meta " * 50_000,
        b"<figure>" * 3000 + b"<img src=p><figcaption>x",
        b"<a href='http://\xff\xfe/'>",
        b"<svg><img src=x><math><img src=y></svg>",
        b"<template><img src=t></template><noscript><img src=n></noscript>",
    ],
)
def test_no_page_however_odd_raises(body: bytes) -> None:
    parse(body)
    parse_sitemap({"url": PAGE}, body)


@pytest.mark.shared
def test_naughty_strings_as_alt_titles_and_addresses_are_survived() -> None:
    file = SHARED / "naughty-strings" / "blns.json"
    if not file.is_file():
        pytest.skip("needs ../shared/data/naughty-strings")
    for word in json.loads(file.read_text("utf-8")):
        parse(f'<img src=p alt="{word}"><img src="{word}"><a href="{word}">{word}</a><base href="{word}">')


def test_a_sitemap_names_pages_and_an_index_other_sitemaps() -> None:
    pages = (
        '<?xml version="1.0"?><urlset><url><loc> http://a.example/x?a=1&amp;b=2 </loc><image:image><image:loc>http://a.example/p.jpg'
        "</image:loc></image:image></url><url><loc><![CDATA[http://a.example/y]]></loc></url><url><loc>file:///etc</loc></url></urlset>"
    )
    said, _ = parse_sitemap({"url": PAGE}, pages.encode())
    picture = {"page": "http://a.example/x?a=1&b=2", "url": "http://a.example/p.jpg", "texts": []}
    assert said == {
        "pages": ["http://a.example/x?a=1&b=2", "http://a.example/y"],
        "sitemaps": [],
        "fault": None,
        "images": [picture],
    }
    index = "<sitemapindex><sitemap><loc>http://a.example/s1.xml</loc></sitemap></sitemapindex>"
    assert parse_sitemap({"url": PAGE}, gzip.compress(index.encode()))[0]["sitemaps"] == ["http://a.example/s1.xml"]
    assert parse_sitemap({"url": PAGE}, b"http://a.example/1\nhttp://a.example/2\n")[0]["pages"] == [
        "http://a.example/1",
        "http://a.example/2",
    ]


def test_a_sitemap_of_damaged_gzip_is_read_as_far_as_it_is_whole() -> None:
    lines = [
        f"<url><loc>http://a.example/{sha256(str(n).encode()).hexdigest()}</loc></url>".encode() for n in range(12_000)
    ]
    whole = gzip.compress(b"<urlset>" + b"".join(lines))
    for damaged in (whole[: len(whole) // 2], whole[:-8], whole[: len(whole) // 2] + b"\xff" * 999, b"\x1f\x8b\xff"):
        pages = parse_sitemap({"url": PAGE}, damaged)[0]["pages"]
        assert all(page.startswith("http://a.example/") for page in pages)
    assert len(parse_sitemap({"url": PAGE}, whole[:-8])[0]["pages"]) == 12_000
    assert 3000 < len(parse_sitemap({"url": PAGE}, whole[: len(whole) // 2])[0]["pages"]) < 12_000
    two = gzip.compress(b"<urlset>" + lines[0]) + gzip.compress(lines[1])
    assert len(parse_sitemap({"url": PAGE}, two)[0]["pages"]) == 2
    bomb = gzip.compress(b"<urlset>" + b" " * 200_000_000)
    assert parse_sitemap({"url": PAGE}, bomb)[0]["pages"] == []


def test_an_entity_bomb_in_a_sitemap_is_not_expanded() -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "http://a.example/">' + "".join(
        f'<!ENTITY {chr(98 + n)} "&{chr(97 + n)};&{chr(97 + n)};">' for n in range(24)
    )
    said, _ = parse_sitemap({"url": PAGE}, f"{bomb}]><urlset><url><loc>&z;</loc></url></urlset>".encode())
    assert len(json.dumps(said)) < 200


def texts(body: str, **header: Any) -> dict[str, list[tuple[str, str]]]:
    return {image["url"]: [tuple(each) for each in image["texts"]] for image in parse(body, **header)["images"]}


A = "http://a.example/dir/a.jpg"


def test_every_text_of_a_picture_is_kept_with_its_origin() -> None:
    body = (
        '<p id=x>by</p><b id=y>name</b><figure><img src=a.jpg alt=" one " title=two aria-label=three aria-labelledby="x y">'
        "<figcaption>four</figcaption></figure>"
    )
    wanted = [
        ("one", "alt"),
        ("two", "title"),
        ("three", "aria-label"),
        ("by name", "aria-labelledby"),
        ("four", "figcaption"),
    ]
    assert texts(body)[A] == wanted


def test_shared_pictures_add_words_to_those_on_the_page_or_stand_alone() -> None:
    head = (
        '<meta property="og:title" content="The page"><meta property="og:image" content="a.jpg">'
        '<meta property="og:image:alt" content="shared words"><meta property="og:image" content="/b.jpg">'
        '<meta name="twitter:image" content="/b.jpg"><meta name="twitter:image:alt" content="tweeted">'
    )
    found = texts(f"{head}<img src=a.jpg alt=own>")
    assert found[A] == [("own", "alt"), ("shared words", "og:image:alt"), ("The page", "og:title")]
    assert found["http://a.example/b.jpg"] == [("The page", "og:title"), ("tweeted", "twitter:image:alt")]
    chosen = parse(head, text_from=["twitter:image:alt", "og:title"])["images"]
    assert [(each["text"], each["origin"]) for each in chosen] == [
        ("The page", "og:title"),
        ("tweeted", "twitter:image:alt"),
    ]


def test_a_meta_tag_counts_under_each_of_its_names() -> None:
    head = (
        '<meta name="image" property="og:image" content="a.jpg"><meta name="t" property="og:title" content="The page">'
    )
    assert texts(head) == {A: [("The page", "og:title")]}
    both = (
        '<meta name="twitter:image" property="og:image" content="a.jpg"><meta property="og:title" content="The page">'
    )
    assert texts(both) == {A: [("The page", "og:title")]}
    assert parse('<meta name="x" http-equiv="X-Robots-Tag" content="noai">')["robots"] == ["noai"]


def test_linked_data_names_pictures() -> None:
    data = {
        "@graph": [
            {"@type": "ImageObject", "contentUrl": "a.jpg", "caption": "a caption", "name": "a name"},
            {"@type": ["Thing", "ImageObject"], "url": "b.jpg"},
            {"@type": "Product", "name": "a lamp", "image": ["c.jpg", {"@type": "ImageObject", "url": "d.jpg"}]},
        ]
    }
    found = texts(f'<script type="application/ld+json">{json.dumps(data)}</script>')
    assert {url.rsplit("/", 1)[-1]: [text for text, _ in said] for url, said in found.items()} == {
        "a.jpg": ["a caption", "a name"], "b.jpg": [], "c.jpg": ["a lamp"], "d.jpg": ["a lamp"],
    }  # fmt: skip
    for odd in (
        "{",
        "[" * 100_000,
        '{"@type": 5, "image": 7}',
        '{"image": {"url": []}}',
        "null",
        '"x"',
        '{"@type":"ImageObject","url":3}',
    ):
        assert texts(f'<script type="application/ld+json">{odd}</script>') == {}


def test_pictures_for_pages_without_scripts_add_words_and_are_not_doubled() -> None:
    lazy = '<img data-src=a.jpg src=blank.gif><noscript><img src=a.jpg alt="said"></noscript>'
    assert texts(lazy) == {A: [("said", "alt")]}
    assert texts("<noscript><img src=a.jpg alt=only></noscript>") == {A: [("only", "alt")]}
    assert [url for url, _, _ in pictures("<img src=a.jpg alt=1><img src=a.jpg alt=2>")] == [A, A]


def test_the_heading_above_and_the_licence_are_told() -> None:
    body = "<img src=a.jpg><h1>The <b>first</b></h1><p><img src=b.jpg></p><h2> </h2><img src=c.jpg><a rel='License x' href=/cc>"
    said = parse(body)
    assert [image["heading"] for image in said["images"]] == [None, "The first", "The first"]
    assert said["licence"] == "http://a.example/cc"
    assert parse("<a rel=nolicense href=/cc>")["licence"] is None


def test_a_picture_has_the_licence_that_json_ld_states_for_it() -> None:
    odd = ({"@id": "/by-sa"}, ["/by-sa"], {"@type": "CreativeWork", "url": "http://a.example/by-sa"}, "/by-sa")
    for licence in odd:
        data = {"@type": "ImageObject", "contentUrl": "/a.png", "caption": "a fox", "license": licence}
        said = parse(
            f"<a rel=license href=/cc></a><img src=/a.png alt=fox><img src=/b.png alt=owl>"
            f'<script type="application/ld+json">{json.dumps(data)}</script>'
        )
        assert [image.get("licence") for image in said["images"]] == ["http://a.example/by-sa", None]
        assert said["licence"] == "http://a.example/cc"


def test_pictures_beyond_the_limit_are_counted() -> None:
    said = parse("<img src=a>" * 10_007)
    assert (len(said["images"]), said["beyond"]) == (10_000, 7)


def test_pictures_without_a_usable_address_are_told_with_the_reason_and_their_words() -> None:
    said = parse(
        "<img src=data:image/gif;base64,x alt=spacer><img src='http://[::1' title=odd><img alt=nothing><img src=' '>"
        "<img src=data:x data-src=real.jpg alt=lazy><img src=ftp://a.example/x><noscript><img src=data:y></noscript>"
    )
    assert [image["url"] for image in said["images"]] == ["http://a.example/dir/real.jpg"]
    assert [list(each) for each in said["unusable"]] == [
        ["scheme data", "spacer"],
        ["malformed host", "odd"],
        ["scheme ftp", ""],
    ]


def test_many_pages_in_one_call_equal_each_alone() -> None:
    bodies = [b"<img src=a.jpg alt=x>", b"", b"<meta name=robots content=noai>", b"\xff" * 100]
    headers = [
        {"url": f"http://a.example/{n}", "text_from": ["alt"], "product": "openwit", "bytes": len(body)}
        for n, body in enumerate(bodies)
    ]
    said, _ = parse_pages({"pages": headers}, b"".join(bodies))
    assert said["pages"] == [parse_page(header, body)[0] for header, body in zip(headers, bodies, strict=True)]


def test_captions_of_a_sitemap_are_read() -> None:
    words = "<image:caption><![CDATA[a <b> cat]]></image:caption><image:title>T &amp; U</image:title>"
    image = f"<image:image><image:loc>/p.jpg</image:loc>{words}"
    body = f"<urlset><url><loc>http://a.example/x</loc>{image}</image:image></url><url>{image}</image:image></url></urlset>"
    said, _ = parse_sitemap({"url": PAGE}, body.encode())
    told = [["a <b> cat", "sitemap:caption"], ["T & U", "sitemap:title"]]
    assert said["images"] == [{"page": "http://a.example/x", "url": "http://a.example/p.jpg", "texts": told}]


def test_a_page_made_to_stop_parsers_is_told_from_one_with_many_tags() -> None:
    deep = b"<div>" * 200_000 + b'<img src=a.jpg alt="x">'
    started = time.monotonic()
    assert parse_page({"url": "http://a.example/", "text_from": ["alt"]}, deep)[0] == {
        "too_deep": "tags nested deeper than 10,000"
    }
    assert time.monotonic() - started < 5
    wide = b"<p>a<li>b<div></div>" * 20_000 + b'<img src=a.jpg alt="x">'
    assert len(parse_page({"url": "http://a.example/", "text_from": ["alt"]}, wide)[0]["images"]) == 1


def test_sitemaps_of_other_prefixes_and_charsets_are_read() -> None:
    spaces = 'xmlns:s="http://www.sitemaps.org/schemas/sitemap/0.9" xmlns:i="http://www.google.com/schemas/sitemap-image/1.1"'
    body = (
        f'<?xml version="1.0" encoding="ISO-8859-1"?><s:urlset {spaces}><s:url><s:loc>/p</s:loc><i:image><i:loc>/i.png</i:loc>'
        "<i:caption><![CDATA[Caf\xe9 [1]]]></i:caption></i:image></s:url></s:urlset>"
    )
    for data in (body.encode("latin-1"), body.replace("ISO-8859-1", "utf-16").encode("utf-16")):
        said, _ = parse_sitemap({"url": "http://a.example/sitemap.xml"}, data)
        assert said["pages"] == ["http://a.example/p"]
        assert [image["texts"] for image in said["images"]] == [[["Caf\xe9 [1]", "sitemap:caption"]]]


def test_linked_data_as_shops_and_blogs_write_it() -> None:
    things = """[{"@type": "http://schema.org/ImageObject", "contentUrl": "1.png", "name": "full type"},
        {"@type": ["ImageObject"], "url": ["2.png", "x.png"], "caption": {"@value": "in an object"}},
        {"@type": "Product", "name": "Chair &amp; table", "image": {"url": "3.png"}},
        {"@type": "Product", "name": {"@value": "Lamp"}, "image": [{"@id": "#lamp"}, "4.png"]}]"""
    for kind, wrapped in (
        ("application/ld+json", things),
        ("application/ld+json; charset=utf-8", f"<!--\n{things}\n-->"),
        ("application/ld+json", f"//<![CDATA[\n{things}\n//]]>"),
    ):
        said, _ = parse_page(
            {"url": "http://a.example/", "text_from": ["json-ld"]}, f'<script type="{kind}">{wrapped}</script>'.encode()
        )
        assert [(image["url"][17:], image["text"]) for image in said["images"]] == [
            ("1.png", "full type"),
            ("2.png", "in an object"),
            ("3.png", "Chair & table"),
            ("4.png", "Lamp"),
        ]


def test_a_caption_belongs_to_the_innermost_figure_that_has_one() -> None:
    body = (
        "<figure><a href=x><img src=a.jpg></a><figure><div><img src=b.jpg></div></figure><figure><figcaption>inner</figcaption>"
        "<img src=c.jpg></figure><figcaption>outer <img src=sign.png></figcaption></figure><img src=d.jpg>"
    )
    said = {url.rsplit("/", 1)[-1]: text for url, text, _ in pictures(body)}
    assert said == {"a.jpg": "outer", "b.jpg": "outer", "c.jpg": "inner", "sign.png": "", "d.jpg": ""}
    # A caption of a figure inside says nothing of the picture outside.
    assert [text for _, text, _ in pictures("<figure><img src=a.jpg><figure><figcaption>x</figcaption></figure>")] == [
        ""
    ]
    started = time.monotonic()
    nested = (
        "<figure>" * 4000 + "<figcaption>c</figcaption><img src=a.jpg>" + "</figure><figcaption>d</figcaption>" * 4000
    )
    assert pictures(nested)[0][1] == "c"
    assert pictures("<div>" * 9000 + "<img src=a.jpg>" * 9000)[0][1] == ""
    shared = f"<figure><figcaption id=c>{'x ' * 1_000_000}</figcaption>" + "<img src=a.jpg aria-labelledby=c>" * 3000
    assert [len(text) for text, _ in texts(shared)[A]] == [4999, 4999]
    twins = "<noscript><img src=a.jpg></noscript><div><img data-src=b.jpg>" * 4900
    assert len(parse(f"<body>{twins}")["images"]) > 4000
    assert time.monotonic() - started < 20


def test_pictures_of_amp_pages_and_picture_buttons() -> None:
    amp = (
        '<amp-img src=s.jpg srcset="a.jpg 640w, s.jpg 320w" alt="a cat"><noscript><img src=s.jpg alt="a cat"></noscript>'
        '<amp-img fallback src=f.jpg alt="the cat"></amp-img></amp-img>'
    )
    assert texts(amp) == {A: [("a cat", "alt"), ("the cat", "alt")]}
    anim = "<figure><amp-anim src=a.jpg><amp-img placeholder src=p.png></amp-img></amp-anim><figcaption>runs</figcaption></figure>"
    assert texts(anim) == {A: [("runs", "figcaption")]}
    button = (
        '<input type=IMAGE src=a.jpg alt="Search" value=no><input type=text src=b.jpg alt=no><input src=c.jpg alt=no>'
    )
    assert texts(button) == {A: [("Search", "alt")]}
    assert parse("<amp-img alt=x><input type=image alt=y>")["images"] == []


@pytest.mark.parametrize(
    ("body", "wanted"),
    [
        # The lazy one has the words, the other the address.
        ('<img src="data:image/gif;base64,x" alt="cat"><noscript><img src=a.jpg alt=""></noscript>', {"a.jpg": ["cat"]}),
        ('<noscript><img src=a.jpg></noscript> <img class=lazy alt="cat">', {"a.jpg": ["cat"]}),
        ("<a href=x><img class=lazy title=cat></a><!-- x --><noscript><a><img src=a.jpg></a></noscript>", {"a.jpg": ["cat"]}),
        ("<img src=dot.gif data-lazy=true alt=cat><noscript><img src=a.jpg></noscript>", {"a.jpg": ["cat"]}),
        ('<img src=s.jpg data-src="p_{width}.jpg" alt=cat><noscript><img src=a.jpg></noscript>', {"a.jpg": ["cat"]}),
        # Two addresses of one picture are one pair.
        ("<img data-src=l.jpg src=dot.gif alt=cat><noscript><img src=a.jpg alt=cat></noscript>", {"l.jpg": ["cat"]}),
        ("<img src=dot.gif alt=cat><noscript><img src=a.jpg alt=cat></noscript>", {"a.jpg": ["cat"]}),
        ("<noscript><img src=a.jpg alt=cat></noscript><img src=a.jpg alt=cat>", {"a.jpg": ["cat"]}),
        # A row of them, the noscript first or last.
        (
            "<noscript><img src=a.jpg alt=1></noscript><img data-src=A.jpg alt=1><noscript><img src=b.jpg alt=2></noscript>"
            "<img data-src=B.jpg alt=2>",
            {"A.jpg": ["1"], "B.jpg": ["2"]},
        ),
        # Neither is the other: tracking pixels, other words, two in one noscript, no way to tell to which it belongs.
        (
            '<img class=lazy alt="cat"><noscript><img src=t.gif width=1 height=1></noscript>',
            {"t.gif": []},
        ),
        ("<img src=a.jpg alt=cat><noscript><img src=t.gif alt=></noscript>", {"a.jpg": ["cat"], "t.gif": []}),
        ("<img data-src=a.jpg alt=cat><noscript><img src=b.jpg alt=dog></noscript>", {"a.jpg": ["cat"], "b.jpg": ["dog"]}),
        ("<img alt=cat><noscript><img src=a.jpg><img src=b.jpg></noscript>", {"a.jpg": [], "b.jpg": []}),
        ("<img class=lazy alt=cat><noscript><img src=a.jpg></noscript><img class=lazy alt=dog>", {"a.jpg": []}),
        ("<img class=lazy alt=cat> words <noscript><img src=a.jpg></noscript>", {"a.jpg": []}),
    ],
)  # fmt: skip
def test_lazy_pictures_and_their_twins_in_noscript(body: str, wanted: dict[str, list[str]]) -> None:
    body = f"<body>{body}"
    found = texts(body)
    assert {url.rsplit("/", 1)[-1]: [text for text, _ in said] for url, said in found.items()} == wanted
    assert len(parse(body)["images"]) == len(wanted)
