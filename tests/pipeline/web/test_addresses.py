"""Addresses a crawler must never connect to, in every spelling that has fooled one, and URLs as found in the wild."""

import ipaddress

import pytest

from pipeline.web.addresses import refusal, url_refusal
from pipeline.web.urls import UnusableURLError, canonical, host_of, origin_of, port_of

# The classes of facts gathered for this project: one address of each that must not be reached.
PRIVATE_V4 = [
    "0.0.0.0",
    "0.1.2.3",
    "10.0.0.1",
    "10.255.255.255",
    "100.64.0.1",
    "100.100.100.200",
    "100.127.255.254",
    "127.0.0.1",
    "127.255.255.254",
    "168.63.129.16",
    "169.254.0.1",
    "169.254.169.254",
    "169.254.170.2",
    "172.16.0.1",
    "172.31.255.255",
    "192.0.0.8",
    "192.0.0.192",
    "192.0.2.1",
    "192.88.99.1",
    "192.168.0.1",
    "192.168.255.255",
    "198.18.0.1",
    "198.19.255.255",
    "198.51.100.7",
    "203.0.113.9",
    "224.0.0.1",
    "239.255.255.255",
    "240.0.0.1",
    "255.255.255.255",
]
PRIVATE_V6 = [
    "::",
    "::1",
    "::7f00:1",
    "::808:808",
    "100::1",
    "64:ff9b:1::1",
    "64:ff9b:1::808:808",
    "2001:db8::1",
    "2001:10::1",
    "2001:2::1",
    "3fff::1",
    "5f00::1",
    "fc00::1",
    "fd00:ec2::254",
    "fd12:3456:789a::1",
    "fe80::1",
    "fe80::a9fe:a9fe",
    "febf::1",
    "fec0::1",
    "feff::1",
    "ff00::1",
    "ff02::1",
    "ff0e::1",
    "4000::1",
    "8000::1",
    "e000::1",
    "0:1::1",
    "200::1",
]
PUBLIC = [
    "1.1.1.1",
    "8.8.8.8",
    "9.9.9.9",
    "93.184.215.14",
    "100.63.255.255",
    "100.128.0.1",
    "126.255.255.255",
    "128.0.0.1",
    "172.15.255.255",
    "172.32.0.1",
    "192.167.255.255",
    "192.169.0.1",
    "198.17.255.255",
    "198.20.0.1",
    "223.255.255.255",
    "2001:4860:4860::8888",
    "2606:4700:4700::1111",
    "2a00:1450:4001:82f::200e",
    "64:ff9b::808:808",
    "2002:808:808::1",
    "::ffff:8.8.8.8",
    "2620:fe::fe",
]


def wrapped(v4: str) -> dict[str, str]:
    """The IPv6 forms that carry an IPv4 address."""
    number = int(ipaddress.IPv4Address(v4))
    form = ipaddress.IPv6Address
    return {
        "mapped": str(form((0xFFFF << 32) | number)),
        "translated": str(form((0xFFFF << 48) | number)),
        "compatible": str(form(number)),
        "nat64": str(form((0x64FF9B << 96) | number)),
        "local nat64": str(form((0x64FF9B0001 << 80) | number)),
        "6to4": str(form((0x2002 << 112) | (number << 80) | 1)),
        "teredo client": str(form((0x20010000 << 96) | (0x08080808 << 64) | (number ^ 0xFFFFFFFF))),
        "teredo server": str(form((0x20010000 << 96) | (number << 64) | (0x08080808 ^ 0xFFFFFFFF))),
        "isatap": str(form((0x2A00 << 112) | (0x5EFE << 32) | number)),
    }


@pytest.mark.parametrize("address", PRIVATE_V4 + PRIVATE_V6)
def test_an_address_that_is_not_of_the_open_internet_is_refused(address: str) -> None:
    assert refusal(address) is not None


@pytest.mark.parametrize("v4", PRIVATE_V4)
def test_a_refused_v4_address_stays_refused_inside_every_v6_wrapper(v4: str) -> None:
    assert {name: refusal(form) for name, form in wrapped(v4).items() if refusal(form) is None} == {}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_pass_also_next_to_the_borders_of_private_ranges(address: str) -> None:
    assert refusal(address) is None


def test_everything_python_calls_not_global_is_refused_too() -> None:
    for second in range(256):
        for first in (0, 10, 100, 127, 169, 172, 192, 198, 203, 224, 240, 255):
            address = ipaddress.ip_address(f"{first}.{second}.2.1")
            if not address.is_global:
                assert refusal(str(address)) is not None, address


def test_the_forms_that_fool_is_global_are_refused() -> None:
    fooled = "192.0.0.8 224.0.0.1 ff02::1 fec0::1 192.88.99.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe 64:ff9b:1::1"
    for address in [*fooled.split(), "2002:7f00:1::", "2002:a9fe:a9fe::1", "::7f00:1"]:
        assert refusal(address) is not None, address


@pytest.mark.parametrize("text", ["", "localhost", "127.1", "fe80::1%eth0", "::1%lo", "1.2.3.4.5", "a" * 1000])
def test_what_is_no_plain_address_is_refused(text: str) -> None:
    assert refusal(text) is not None


ODD_HOSTS = [
    "127.1",
    "127.0.1",
    "0",
    "0x7f000001",
    "0x7f.0.0.1",
    "0X7F000001",
    "2130706433",
    "017700000001",
    "0177.0.0.1",
    "0177.0.0.01",
    "127.0.0.1.5",
    "1.2.3",
    "127.000.000.001",
    "256.1.1.1",
    "0x",
    "00000000",
    "3232235521",
    "425.510.425.510",
    "127.0.0.0x1",
    "①②⑦.①",
    "127。1",
    "１２７.１",
    "999999999999",
]


@pytest.mark.parametrize("host", ODD_HOSTS)
def test_odd_spellings_of_ipv4_addresses_are_refused_before_any_resolver_reads_them(host: str) -> None:
    with pytest.raises(UnusableURLError):
        canonical(f"http://{host}/")


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/",
        "http://127.0.0.1./",
        "http://①②⑦.⓪.⓪.①/",
        "http://127。0。0。1/",
        "http://%31%32%37.0.0.1/",
        "http:\\\\127.0.0.1\\x",
        "http:/127.0.0.1/",
        "http:127.0.0.1",
        "HTTP://127.0.0.1:80/",
        "\x00 http://127.0.0.1/\n",
        "ht\ntp://127.0.0.1/",
        "http://[::1]/",
        "http://[0:0:0:0:0:0:0:1]:80/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::FFFF:7F00:1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://169.254.169.254/latest/meta-data/",
        "http://[fd00:ec2::254]/",
        "https://0.0.0.0/",
        "http://192.168.1.1:443/",
    ],
)
def test_a_url_with_a_literal_private_address_is_refused_however_it_is_written(url: str) -> None:
    assert url_refusal(canonical(url), None, (80, 443), ()) is not None


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "gopher://127.0.0.1:70/_x",
        "data:text/html,x",
        "ftp://example.org/",
        "jar:http://example.org!/x",
        "javascript:alert(1)",
        "//example.org/",
        "/path",
        "",
        "http://",
        "http:///",
        "http://good.example@127.0.0.1/",
        "http://127.0.0.1@good.example/",
        "http://u:p@example.org/",
        "http://exa mple.org/",
        "http://exam\x00ple.org/",
        "http://example.org:0/",
        "http://example.org:99999/",
        "http://example.org:8a/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://[::1]x/",
        "http://a..b/",
        "http://.a/",
        "http://" + "a" * 64 + ".org/",
        "http://example.org/" + "x" * 5000,
        "http://xn--\u00fc/",
        "http://ex%00ample.org/",
        "http://example.org%2f@127.0.0.1/",
        "http://a<b.org/",
    ],
)
def test_what_is_no_usable_http_url_is_refused(url: str) -> None:
    with pytest.raises(UnusableURLError):
        canonical(url)


@pytest.mark.parametrize(
    ("url", "base", "wanted"),
    [
        ("HTTP://Example.ORG:80", None, "http://example.org/"),
        ("https://example.org:443/a?b#c", None, "https://example.org/a?b"),
        ("http://example.org:443/", None, "http://example.org:443/"),
        ("http://example.org./x", None, "http://example.org/x"),
        (" http://example.org/a b.jpg ", None, "http://example.org/a%20b.jpg"),
        ("http://münchen.example/straße?ö=1", None, "http://xn--mnchen-3ya.example/stra%C3%9Fe?%C3%B6=1"),
        ("http://例え.テスト/画像.png", None, "http://xn--r8jz45g.xn--zckzah/%E7%94%BB%E5%83%8F.png"),
        ("http://example.org/100%.jpg", None, "http://example.org/100%25.jpg"),
        ("http://example.org/a%2Fb%zz", None, "http://example.org/a%2Fb%25zz"),
        ("http://example.org/a/./b/../c", None, "http://example.org/a/c"),
        ("http://example.org/a/%2e%2E/secret/..", None, "http://example.org/"),
        ("http://example.org/../../x", None, "http://example.org/x"),
        ("http:\\\\example.org\\a\\b", None, "http://example.org/a/b"),
        ("http://example.org/x?a=\\b", None, "http://example.org/x?a=%5Cb"),
        ("http://example.org/a\r\nHost: evil", None, "http://example.org/aHost:%20evil"),
        ("http://example.org/\ud800x", None, "http://example.org/%EF%BF%BDx"),
        ("http://example.org/\udce9", None, "http://example.org/%E9"),
        ("http://under_score.example/", None, "http://under_score.example/"),
        ("../b.png", "http://example.org/x/y/z.html", "http://example.org/x/b.png"),
        ("//cdn.example/p.png", "https://example.org/", "https://cdn.example/p.png"),
        ("?q=1", "http://example.org/a/b", "http://example.org/a/b?q=1"),
        ("", "http://example.org/a/b", "http://example.org/a/b"),
        ("\\\\cdn.example\\p", "http://example.org/", "http://cdn.example/p"),
        ("img/a,b(1).png", "http://example.org/", "http://example.org/img/a,b(1).png"),
    ],
)
def test_urls_are_brought_to_one_form_as_browsers_do(url: str, base: str | None, wanted: str) -> None:
    found = canonical(url, base)
    assert found == wanted
    assert canonical(found) == found


def test_the_parts_of_a_canonical_url() -> None:
    url = canonical("https://[2606:4700::1111]:444/a?b")
    assert (host_of(url), port_of(url), origin_of(url)) == ("2606:4700::1111", 444, "https://[2606:4700::1111]:444")
    assert port_of(canonical("https://a.example")) == 443


def test_ports_and_downgrades_are_refused_by_url() -> None:
    assert url_refusal("http://a.example:22/", None, (80, 443), ()) == "port 22 is not allowed"
    assert url_refusal("http://a.example:8080/", None, (80, 443, 8080), ()) is None
    assert url_refusal("http://a.example/", "https://a.example/", (80, 443), ()) == "redirect from https to http"
    assert url_refusal("https://a.example/", "http://a.example/", (80, 443), ()) is None


def test_there_are_at_least_150_tricky_forms() -> None:
    assert len(PRIVATE_V4) * 10 + len(PRIVATE_V6) + len(ODD_HOSTS) >= 150
