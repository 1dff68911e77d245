"""The guarded fetch against a real server that behaves badly in every way we know."""

import asyncio
import gzip
import socket
import struct
import time
import zlib
from collections.abc import Callable, Sequence
from typing import Any

import pyarrow as pa
import pytest
from rude_web import Web, plain

from pipeline.web.body import BrokenError, TooLargeError, decoded, retry_after_seconds
from pipeline.web.network import Fetched, Network
from pipeline.web.robots import RobotsRules
from pipeline.web.together import fetch_all, read_robots
from pipeline.web.web_config import NetworkConfig


def test_a_page_arrives_with_the_name_kept_and_an_honest_user_agent(web: Web) -> None:
    web.answers["/x?y=1"] = plain(b"hello", Content_Type="text/plain")
    got = web.get("/x?y=1")
    assert (got.reason, got.body, got.status, got.attempts, got.redirects) == (None, b"hello", 200, 1, 0)
    assert got.headers["content-type"] == "text/plain"
    sent = web.headers["/x?y=1"]
    assert sent["host"] == "a.example"
    assert sent["user-agent"] == "openwit/0.1 (+https://openwit.example/bot)"
    assert sent["accept-encoding"] == "identity"


def test_odd_urls_are_repaired_on_the_wire(web: Web) -> None:
    web.answers["/stra%C3%9Fe%20x"] = plain(b"ok")
    got = web.get("http://MÜNCHEN.example/a/../straße x#frag")
    assert (got.reason, got.body) == (None, b"ok")
    assert web.headers["/stra%C3%9Fe%20x"]["host"] == "xn--mnchen-3ya.example"


def test_equal_urls_are_fetched_once_and_results_keep_their_order(web: Web) -> None:
    web.answers |= {f"/{n}": plain(str(n).encode()) for n in range(5)}
    urls = [f"http://a.example/{n}" for n in (3, 1, 3, 4, 0, 1)]
    assert [got.body for got in fetch_all(web.config(), urls)] == [b"3", b"1", b"3", b"4", b"0", b"1"]
    assert web.asked["a.example", "/3"] == 1


def test_fetching_works_where_an_event_loop_runs_already(web: Web) -> None:
    web.answers["/x"] = plain(b"x")

    async def notebook() -> bytes:
        return web.get("/x").body

    assert asyncio.run(notebook()) == b"x"


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("404 No", "not_found"),
        ("410 Gone", "not_found"),
        ("403 No", "http_error"),
        ("204 Empty", "http_error"),
        ("300 Choose", "http_error"),
    ],
)
def test_an_answer_that_will_stay_is_not_asked_for_again(web: Web, status: str, reason: str) -> None:
    web.answers["/x"] = plain(b"", status)
    got = web.get("/x")
    assert (got.reason, got.evidence, got.attempts) == (reason, f"status {status[:3]}", 1)
    assert web.asked["a.example", "/x"] == 1


def test_a_500_followed_by_a_200_is_recovered(web: Web) -> None:
    web.answers["/x"] = [plain(b"", "500 Oops"), plain(b"fine")]
    got = web.get("/x")
    assert (got.reason, got.body, got.attempts) == (None, b"fine", 2)


def test_a_server_that_fails_every_time_is_left_after_the_retries(web: Web) -> None:
    web.answers["/x"] = plain(b"", "503 Busy")
    got = web.get("/x", retries=3)
    assert (got.reason, got.evidence, got.attempts, web.asked["a.example", "/x"]) == ("http_error", "status 503", 4, 4)


def test_retry_after_is_honoured_and_whoever_asks_for_more_than_we_wait_is_left_alone(web: Web) -> None:
    web.answers["/x"] = [plain(b"", "429 Slow down", Retry_After="1"), plain(b"fine")]
    started = time.monotonic()
    assert web.get("/x").body == b"fine"
    assert 1.0 <= time.monotonic() - started < 5
    web.answers["/y"] = [plain(b"", "429 Slow down", Retry_After="3600"), plain(b"fine")]
    started = time.monotonic()
    got = web.get("/y", max_retry_wait_seconds=0.1)
    assert (got.reason, got.attempts, web.asked["a.example", "/y"]) == ("http_error", 1, 1)
    assert time.monotonic() - started < 5


def test_retry_after_is_a_number_or_a_date_or_ignored() -> None:
    assert retry_after_seconds("7") == 7
    assert retry_after_seconds("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert (retry_after_seconds("Wed, 21 Oct 2099 07:28:00 GMT") or 0) > 1e8
    for odd in (None, "", "soon", "-1", "²", "9" * 400, "Wed, 99 Foo"):
        assert (retry_after_seconds(odd) or 0) < 1e9 + 1


# --- addresses ----------------------------------------------------------------------------------------------------------


def test_a_name_at_a_private_address_is_refused_unless_the_recipe_names_it(web: Web) -> None:
    for url in ("http://localhost/", "http://127.0.0.1/", "http://[::1]/", "http://[::ffff:127.0.0.1]/"):
        assert web.get(url).reason == "address_refused", url
    assert web.get("http://a.example/").reason == "not_found"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:{port}/secret",
        "http://127.0.0.1/",
        "http://localhost/",
        "http://[::1]/",
        "//127.1/",
        "file:///etc/passwd",
    ],
)
def test_a_redirect_to_loopback_is_refused(web: Web, status: int, target: str) -> None:
    web.answers["/secret"] = plain(b"secret")
    web.answers["/x"] = plain(b"", f"{status} Moved", Location=target.format(port=web.port))
    got = web.get("/x", allowed_ports=(80, 443, web.port))
    assert (got.reason, got.body) == ("address_refused", b"")
    assert not [path for _, path in web.asked if path == "/secret"]


def resolving(*answers: Sequence[str]) -> tuple[Callable[[str, int], Any], list[str]]:
    """A resolver that gives `answers` one after the other, the last for ever, and the list of names it was asked."""
    asked: list[str] = []

    async def resolve(host: str, port: int) -> Sequence[str]:
        asked.append(host)
        return answers[min(len(asked), len(answers)) - 1]

    return resolve, asked


def fetch_with(config: NetworkConfig, resolve: Any, url: str) -> Fetched:
    async def work() -> Fetched:
        async with Network(config, resolve) as network:
            return await network.get(url)

    return asyncio.run(work())


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["8.8.8.8", "127.0.0.1"],
        ["8.8.8.8", "::1"],
        ["2001:4860:4860::8888", "10.0.0.1"],
        ["64:ff9b::7f00:1"],
        ["::ffff:169.254.169.254"],
        ["169.254.169.254"],
        ["not-an-address"],
    ],
)
def test_a_name_with_one_private_address_among_its_answers_is_refused(web: Web, answers: list[str]) -> None:
    resolve, _ = resolving(answers)
    assert fetch_with(web.config(), resolve, "http://rebind.example/").reason == "address_refused"
    assert not web.asked


def test_a_name_that_changes_its_answer_to_loopback_gains_nothing(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    """DNS rebinding: public when judged, loopback when connected to. The socket must go to the judged address."""
    opened: list[str] = []

    def recording(network: Network, info: Any) -> socket.socket:
        opened.append(info[4][0])
        raise ConnectionRefusedError(111, "tests do not leave this machine")

    monkeypatch.setattr(Network, "_open_socket", recording)
    resolve, asked = resolving(["8.8.8.8"], ["127.0.0.1"])
    got = fetch_with(web.config(), resolve, "http://rebind.example/")
    assert got.reason in ("connection_failed", "address_refused")
    assert set(opened) == {"8.8.8.8"}
    assert not web.asked
    assert 1 <= len(asked) <= 2


def test_no_socket_opens_to_a_private_address_even_past_the_resolver(web: Web) -> None:
    network = Network(web.config())
    for address in (("127.0.0.1", 80), ("::1", 80, 0, 0), ("10.0.0.1", 443), ("127.0.0.1", web.port + 1)):
        with pytest.raises(Exception, match=" is "):
            network._open_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", address))
    network._open_socket((socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", web.port))).close()


def test_proxies_of_the_environment_are_ignored(web: Web, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9/")
    web.answers["/x"] = plain(b"direct")
    assert web.get("/x").body == b"direct"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "ftp://a.example/",
        "http://u:p@a.example/",
        "http://a.example:22/",
        "nonsense",
        "http://",
        "http://[::1",
        "http://0x7f.1/",
    ],
)
def test_what_may_not_be_asked_for_never_leaves_the_machine(web: Web, url: str) -> None:
    assert fetch_all(web.config(), [url])[0].reason == "address_refused"
    assert not web.asked


def test_a_name_without_address_and_a_closed_port_are_told_apart(web: Web) -> None:
    async def nowhere(host: str, port: int) -> Sequence[str]:
        raise socket.gaierror(socket.EAI_NONAME, "unknown")

    assert fetch_with(web.config(), nowhere, "http://gone.example/").reason == "name_not_resolved"
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        down = {"down.example": f"127.0.0.1:{unused.getsockname()[1]}"}
        got = fetch_all(web.config(hosts=down), [f"http://down.example/{n}" for n in range(3)])
    assert {answer.reason for answer in got} == {"connection_failed"}


# --- redirects ----------------------------------------------------------------------------------------------------------


def test_redirects_are_followed_across_hosts_and_counted(web: Web) -> None:
    web.answers["/1"] = plain(b"", "301 Moved", Location="/2")
    web.answers["/2"] = plain(b"", "302 Moved", Location="//b.example/3")
    web.answers["/3"] = plain(b"there")
    got = web.get("/1")
    assert (got.body, got.final_url, got.redirects) == (b"there", "http://b.example/3", 2)
    assert web.asked["b.example", "/robots.txt"] == 1


def test_a_redirect_loop_and_a_long_chain_have_their_own_words(web: Web) -> None:
    web.answers["/l1"] = plain(b"", "302 Moved", Location="/l2")
    web.answers["/l2"] = plain(b"", "302 Moved", Location="/l1")
    web.answers["/self"] = plain(b"", "302 Moved", Location="/self#again")
    for n in range(9):
        web.answers[f"/c{n}"] = plain(b"", "302 Moved", Location=f"/c{n + 1}")
    web.answers["/c9"] = plain(b"end")
    assert web.get("/l1").reason == "redirect_loop"
    assert web.get("/self").reason == "redirect_loop"
    assert web.get("/c0").reason == "too_many_redirects"
    assert web.get("/c4").body == b"end"
    assert web.get("/c0", max_redirects=9).body == b"end"


def test_odd_locations_are_repaired_or_refused(web: Web) -> None:
    web.answers["/1"] = b"HTTP/1.1 302 Moved\r\nLocation: /caf\xe9 x\r\nContent-Length: 0\r\n\r\n"
    web.answers["/caf%E9%20x"] = plain(b"ok")
    web.answers["/2"] = plain(b"", "302 Moved", Location="")
    web.answers["/3"] = plain(b"", "302 Moved")
    assert web.get("/1").body == b"ok"
    assert web.get("/2").reason == "redirect_loop"
    assert web.get("/3").reason == "http_error"


# --- limits -------------------------------------------------------------------------------------------------------------


def test_a_300_megabyte_body_is_cut_at_the_limit(web: Web) -> None:
    sent = 0

    def endless(out: Any, headers: dict[str, str]) -> None:
        nonlocal sent
        out.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n")
        for _ in range(300):
            out.write(b"x" * 1_000_000)
            sent += 1_000_000

    web.answers["/x"] = endless
    got = web.get("/x", max_bytes=1_000_000)
    assert (got.reason, got.evidence, got.body) == ("too_large", "over 1000000 bytes", b"")
    time.sleep(0.2)
    assert sent < 30_000_000


def test_a_body_announced_too_large_is_not_read_and_one_at_the_limit_is(web: Web) -> None:
    web.answers["/x"] = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n"
    assert web.get("/x").reason == "too_large"
    web.answers["/y"] = plain(b"x" * 1000)
    assert web.get("/y", max_bytes=1000).reason is None
    assert web.get("/y", max_bytes=999).reason == "too_large"


def test_a_slow_drip_is_given_up_and_not_tried_again(web: Web) -> None:
    def drip(out: Any, headers: dict[str, str]) -> None:
        out.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n")
        for _ in range(200):
            out.write(b"x")
            out.flush()
            time.sleep(0.05)

    web.answers["/x"] = drip
    started = time.monotonic()
    got = web.get("/x", grace_seconds=0.5)
    assert (got.reason, got.evidence, got.attempts) == ("too_slow", "under 1000 bytes/s", 1)
    assert time.monotonic() - started < 5


def test_a_body_that_stops_is_too_slow_and_a_server_that_never_answers_a_timeout(web: Web) -> None:
    def stops(out: Any, headers: dict[str, str]) -> None:
        out.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc")
        time.sleep(3)

    web.answers["/stops"] = stops
    web.answers["/silent"] = lambda out, headers: time.sleep(1.5)
    assert web.get("/stops", grace_seconds=0.3).reason == "too_slow"
    got = web.get("/silent", total_seconds=0.5, retries=1)
    assert (got.reason, got.attempts) == ("timeout", 2)


def test_a_host_that_falls_silent_is_rested_and_given_up_and_no_other(web: Web) -> None:
    web.answers["/robots.txt"] = plain(b"", "404 Not Found")
    for number in range(40):
        web.answers[f"/{number}"] = plain(b"here")
        web.answers[f"/silent/{number}"] = lambda out, headers: time.sleep(4)
    urls = [f"http://a.example/silent/{number}" for number in range(40)] + [f"http://b.example/{n}" for n in range(40)]
    config = web.config(total_seconds=0.8, retries=2, host_rest_seconds=0.1, retry_wait_seconds=0.01)
    started = time.monotonic()
    answers = fetch_all(config, urls)
    assert time.monotonic() - started < 8
    assert {answer.reason for answer in answers[40:]} == {None}
    assert {answer.reason for answer in answers[:40]} <= {"timeout", "host_unreachable"}
    assert sum(answer.reason == "host_unreachable" for answer in answers) >= 30
    assert answers[39].evidence == "given up after timeout: over 0.8 s"
    assert sum(n for (_, path), n in web.asked.items() if path.startswith("/silent/")) <= 30


def test_a_stall_shorter_than_the_grace_is_forgiven(web: Web) -> None:
    def late(out: Any, headers: dict[str, str]) -> None:
        out.write(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        out.flush()
        time.sleep(0.3)
        out.write(b"def")

    web.answers["/x"] = late
    assert web.get("/x", grace_seconds=2.0).body == b"abcdef"


@pytest.mark.parametrize(
    "head",
    [
        b"X-Long: " + b"a" * 1_000_000,
        b"\r\n".join(b"X-%d: y" % n for n in range(100_000)),
        b"X-Nul: \x00",
        b"no colon here",
        b"Content-Length: abc",
        b"Content-Length: -1",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5",
    ],
)
def test_a_bomb_of_headers_or_nonsense_is_an_http_error(web: Web, head: bytes) -> None:
    web.answers["/x"] = b"HTTP/1.1 200 OK\r\n" + head + b"\r\n\r\nhello"
    started = time.monotonic()
    assert web.get("/x").reason in ("http_error", "connection_failed")
    assert time.monotonic() - started < 5


def test_what_is_not_http_and_what_breaks_off_have_reasons(web: Web) -> None:
    def reset(out: Any, headers: dict[str, str]) -> None:
        out.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        out.flush()
        out._sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        out._sock.shutdown(socket.SHUT_RDWR)
        raise OSError

    def close(out: Any, headers: dict[str, str]) -> None:
        raise OSError

    web.answers |= {"/ssh": b"SSH-2.0-OpenSSH_9.0\r\n", "/reset": reset, "/close": close}
    assert web.get("/ssh").reason == "http_error"
    assert (web.get("/reset").reason, web.get("/reset").attempts) == ("connection_failed", 3)
    assert web.get("/close").reason == "connection_failed"


def test_gzip_that_nobody_asked_for_is_undone_within_the_limit(web: Web) -> None:
    web.answers["/x"] = plain(gzip.compress(b"hello"), Content_Encoding="gzip")
    web.answers["/bomb"] = plain(gzip.compress(b"\0" * 50_000_000), Content_Encoding="gzip")
    web.answers["/cut"] = plain(gzip.compress(b"hello")[:-9], Content_Encoding="gzip")
    web.answers["/br"] = plain(b"xx", Content_Encoding="br")
    assert web.get("/x").body == b"hello"
    assert web.get("/bomb", max_bytes=1_000_000).reason == "too_large"
    assert web.get("/cut").reason == "damaged_body"
    assert web.get("/br").reason == "damaged_body"


def test_content_codings_equal_their_plain_form() -> None:
    text = bytes(range(256)) * 100
    bare = zlib.compressobj(wbits=-15)
    for encoding, body in [
        ("", text),
        ("identity", text),
        ("gzip", gzip.compress(text)),
        ("deflate", zlib.compress(text)),
        ("deflate", bare.compress(text) + bare.flush()),
        ("gzip, x-gzip", gzip.compress(gzip.compress(text))),
        ("br", pa.compress(text, "brotli", asbytes=True)),
        ("zstd", pa.compress(text, "zstd", asbytes=True)),
        ("gzip, br", pa.compress(gzip.compress(text), "brotli", asbytes=True)),
    ]:
        assert decoded(body, encoding, len(text)) == text
    with pytest.raises(TooLargeError):
        decoded(gzip.compress(text), "gzip", len(text) - 1)
    for encoding, codec in (("br", "brotli"), ("zstd", "zstd")):
        bomb = pa.compress(bytes(50_000_000), codec, asbytes=True)
        with pytest.raises(TooLargeError):
            decoded(bomb, encoding, 1_000_000)
        assert decoded(bomb[:-2], encoding, 1_000_000, cut=True) == bytes(1_000_000)
        for damaged in (b"", b"x", bomb[:-2], b"\0\0" + bomb):
            with pytest.raises(BrokenError):
                decoded(damaged, encoding, 100_000_000)
    for encoding, body in [("gzip", b""), ("gzip", b"x"), ("deflate", b""), ("compress", b"x")]:
        with pytest.raises(BrokenError):
            decoded(body, encoding, 100)


# --- wishes of the owner ------------------------------------------------------------------------------------------------


def test_robots_txt_is_asked_for_once_and_obeyed(web: Web) -> None:
    web.answers["/robots.txt"] = plain(b"User-agent: openwit\nDisallow: /private\n")
    web.answers |= {f"/{n}": plain(b"ok") for n in range(20)}
    got = fetch_all(web.config(), ["http://a.example/private/x", *(f"http://a.example/{n}" for n in range(20))])
    assert (got[0].reason, got[0].evidence) == ("robots_txt", "robots.txt disallows /private/x")
    assert {answer.reason for answer in got[1:]} == {None}
    assert web.asked["a.example", "/robots.txt"] == 1
    assert web.asked["a.example", "/private/x"] == 0


def test_a_redirect_into_a_disallowed_path_stops_there(web: Web) -> None:
    web.answers["/robots.txt"] = plain(b"User-agent: *\nDisallow: /private\n")
    web.answers["/x"] = plain(b"", "302 Moved", Location="/a/%2e%2e/private/x")
    assert web.get("/x").reason == "robots_txt"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (plain(b"", "404 No"), None),
        (plain(b"", "403 No"), None),
        (plain(b"", "500 Oops"), "robots_txt"),
        (b"HTTP/1.1 204 No Content\r\n\r\n", None),
        (plain(b"", "302 Moved", Location="/robots.txt"), None),
        (plain(b"", "302 Moved", Location="http://127.0.0.1/"), "robots_txt"),
        (plain(b"", "302 Moved", Location="http://b.example/elsewhere"), "robots_txt"),
        (plain(b"<html>a page</html>"), None),
        (plain(b"User-agent: *\nDisallow: /x\n" + b"# pad\n" * 200_000), "robots_txt"),
    ],
)
def test_a_robots_txt_that_is_odd_means_what_rfc_9309_says(web: Web, answer: bytes, reason: str | None) -> None:
    web.answers |= {"/robots.txt": answer, "/elsewhere": plain(b"User-agent: *\nDisallow: /\n"), "/x": plain(b"ok")}
    assert web.get("/x").reason == reason


def test_crawl_delay_spaces_requests_up_to_the_cap(web: Web) -> None:
    web.answers["/robots.txt"] = plain(b"User-agent: *\nCrawl-delay: 100\n")
    web.answers |= {f"/{n}": plain(b"ok") for n in range(4)}
    started = time.monotonic()
    got = fetch_all(web.config(max_crawl_delay_seconds=0.2), [f"http://a.example/{n}" for n in range(4)])
    assert {answer.reason for answer in got} == {None}
    assert 0.6 <= time.monotonic() - started < 5


def test_one_host_gets_only_so_many_requests_at_once(web: Web) -> None:
    def steady(out: Any, headers: dict[str, str]) -> None:
        time.sleep(0.03)
        out.write(plain(b"ok"))

    web.answers |= {f"/{n}": steady for n in range(20)}
    config = web.config(per_host_concurrency=3)
    fetch_all(config, [f"http://{host}.example/{n}" for n in range(20) for host in "ab"])
    assert 1 < web.most_open["a.example"] <= 3
    assert 1 < web.most_open["b.example"] <= 3


def test_an_opt_out_header_withholds_the_body_and_is_the_evidence(web: Web) -> None:
    web.answers["/x"] = plain(b"mine", X_Robots_Tag="noai, noimageai")
    web.answers["/others"] = plain(b"fine", X_Robots_Tag="googlebot: noai")
    web.answers["/date"] = plain(b"mine", X_Robots_Tag="unavailable_after: 25 Jun 2010 15:00:00 GMT, noai")
    web.answers["/tdm"] = plain(b"mine", TDM_Reservation="1")
    web.answers["/twice"] = (
        b"HTTP/1.1 200 OK\r\nX-Robots-Tag: googlebot: x\r\nX-Robots-Tag: noai\r\nContent-Length: 0\r\n\r\n"
    )
    got = web.get("/x")
    assert (got.reason, got.evidence, got.body) == ("header_opt_out", "x-robots-tag: noai, noimageai", b"")
    assert web.get("/others").body == b"fine"
    for path in ("/date", "/tdm", "/twice"):
        assert web.get(path).reason == "header_opt_out", path
    assert web.get("/x", opt_out_directives=("noml",)).body == b"mine"


def test_a_body_of_another_type_is_not_read(web: Web) -> None:
    web.answers["/x"] = plain(b"%PDF", Content_Type="application/pdf")
    got = fetch_all(web.config(), ["http://a.example/x"], types=("text/html",), accept="text/html")[0]
    assert (got.reason, got.body) == (None, b"")
    assert web.headers["/x"]["accept"] == "text/html"


def test_rules_of_hosts_can_be_read_for_their_sitemaps(web: Web) -> None:
    web.answers["/robots.txt"] = plain(b"Sitemap: http://a.example/map.xml\n")
    rules = read_robots(
        web.config(hosts={"a.example": f"127.0.0.1:{web.port}"}), ["http://a.example/", "http://localhost/"]
    )
    assert rules[0].sitemaps == ("http://a.example/map.xml",)
    assert rules[1] == RobotsRules("openwit")


# --- config -------------------------------------------------------------------------------------------------------------


def test_identity_leaves_out_addresses_and_pace(web: Web) -> None:
    one = web.config()
    other = web.config(hosts=dict.fromkeys(one.hosts, "127.0.0.1:1"), concurrency=1, per_host_concurrency=1)
    assert one.identity() == other.identity()
    assert one.identity() != web.config(max_bytes=5).identity()
    assert web.config(contact="me@a.example").identity() == web.config().identity()
    assert one.identity()["hosts"] == ["a.example", "b.example", "xn--mnchen-3ya.example"]


@pytest.mark.parametrize(
    "change",
    [
        {"hosts": {"a": "nowhere"}},
        {"hosts": {"a": "127.0.0.1"}},
        {"hosts": {"a": "127.0.0.1:99999"}},
        {"user_agent": "a\r\nb"},
        {"contact": "x\ny"},
        {"total_seconds": 0},
        {"unknown": 1},
    ],
)
def test_a_wrong_setting_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError):
        NetworkConfig(**change)
