"""The dispatcher alone, with a web that is a function: fairness, places, retries, pace, the circuit breaker."""

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

import pytest

from pipeline.fetching import dispatch
from pipeline.fetching.dispatch import Dispatcher, Job, Result
from pipeline.web.answer import Fetched, Reason, Verdict
from pipeline.web.web_config import NetworkConfig

Answer = Callable[[str, int], Awaitable[Verdict]]


def run(
    urls: Sequence[str],
    answer: Answer,
    interval: float = 0.0,
    lanes: Mapping[str, int] | None = None,
    **network: float,
) -> tuple[dict[str, Result], list[tuple[str, float]], int]:
    """({url: its last result}, [(url, seconds) of each attempt's start], most attempts open at once)."""
    results: dict[str, Result] = {}
    starts: list[tuple[str, float]] = []
    now_open, most_open, tries = 0, 0, Counter[str]()
    config = NetworkConfig(**{"retry_wait_seconds": 0.01, "host_rest_seconds": 0.02, **network})

    async def work() -> None:
        done = asyncio.Event()
        began = time.monotonic()

        async def attempt(url: str) -> tuple[Fetched, Verdict]:
            nonlocal now_open, most_open
            starts.append((url, time.monotonic() - began))
            tries[url] += 1
            now_open += 1
            most_open = max(most_open, now_open)
            verdict = await answer(url, tries[url])
            now_open -= 1
            return Fetched(url, url, verdict.status, reason=verdict.reason, evidence=verdict.evidence), verdict

        def told(job: Job, result: Result) -> None:
            if result.wait_seconds is None:
                assert job.url not in results, "settled twice"
                results[job.url] = result
                if len(results) == len(urls):
                    done.set()

        dispatcher = Dispatcher(config, attempt, lambda host: interval)
        for url in urls:
            host = url.split("/")[0]
            dispatcher.add(host, Job(url, told), lane=(lanes or {}).get(host, 0))
        dispatcher.pump()
        await asyncio.wait_for(done.wait(), 20)
        await dispatcher.close()

    asyncio.run(work())
    return results, starts, most_open


def urls_of(host: str, count: int) -> list[str]:
    return [f"{host}/{number}" for number in range(count)]


async def good(url: str, tries: int) -> Verdict:
    await asyncio.sleep(0.002)
    return Verdict(200)


def down(reason: Reason, *, whole_host: bool = False) -> Verdict:
    return Verdict(reason=reason, evidence="why", again=True, whole_host=whole_host)


def test_hosts_take_turns_and_show_themselves_with_one_request() -> None:
    urls = [*urls_of("a", 20), *urls_of("b", 3), *urls_of("c", 1)]
    results, starts, most = run(urls, good, concurrency=2)
    assert len(results) == 24
    assert [url.split("/")[0] for url, _ in starts[:3]] == ["a", "b", "c"]
    assert most <= 2
    _, starts, most = run(urls_of("a", 20), good, per_host_concurrency=4)
    assert starts[1][1] >= 0.002  # the second after the first had answered
    assert most == 4


def test_hosts_not_heard_of_go_first_then_older_lanes() -> None:
    urls = [*urls_of("young", 4), *urls_of("old", 3), *urls_of("other", 3)]
    _, starts, _ = run(urls, good, lanes={"old": 1, "other": 1, "young": 2}, concurrency=1)
    hosts = [url.split("/")[0] for url, _ in starts]
    assert hosts[:3] == ["young", "old", "other"]  # each may be silent, and then takes longest
    assert hosts[3:] == ["old", "other", "old", "other", "young", "young", "young"]


def test_only_what_can_succeed_is_tried_again_and_only_so_often() -> None:
    async def answer(url: str, tries: int) -> Verdict:
        busy = Verdict(503, reason="http_error", again=True)
        return {"a/good": Verdict(200), "a/gone": Verdict(404, reason="not_found"), "a/busy": busy}.get(
            url, busy if tries < 3 else Verdict(200)
        )

    results, _, _ = run(["a/good", "a/gone", "a/busy", "a/late"], answer, retries=2)
    assert {url: (r.fetched.reason, r.fetched.attempts) for url, r in results.items()} == {
        "a/good": (None, 1),
        "a/gone": ("not_found", 1),
        "a/busy": ("http_error", 3),
        "a/late": (None, 3),
    }


def test_retry_after_rests_the_whole_host_and_no_other() -> None:
    async def answer(url: str, tries: int) -> Verdict:
        if url == "a/0" and tries == 1:
            return Verdict(429, reason="http_error", again=True, wait_seconds=0.3)
        return Verdict(200)

    results, starts, _ = run([*urls_of("a", 4), *urls_of("b", 4)], answer)
    assert {r.fetched.reason for r in results.values()} == {None}
    assert all(at >= 0.3 for url, at in starts if url.startswith("a") and (url, at) != starts[0])
    assert all(at < 0.25 for url, at in starts if url.startswith("b"))


def test_a_host_that_asks_for_more_patience_than_we_have_is_left_alone() -> None:
    async def answer(url: str, tries: int) -> Verdict:
        if url.startswith("a"):
            return Verdict(429, reason="http_error", evidence="status 429", again=True, wait_seconds=3600.0)
        return Verdict(200)

    results, starts, _ = run([*urls_of("a", 4), *urls_of("b", 2)], answer, max_retry_wait_seconds=30)
    assert [url for url, _ in starts if url.startswith("a")] == ["a/0"]
    fallen = [result for url, result in results.items() if url.startswith("a")]
    assert {(r.fetched.reason, r.passing) for r in fallen} == {("host_unreachable", True)}  # a later round may ask
    assert all("Retry-After over 30 s" in str(r.fetched.evidence) for r in fallen)
    assert {r.fetched.reason for url, r in results.items() if url.startswith("b")} == {None}


def test_an_interval_spaces_the_requests_to_a_host() -> None:
    _, starts, _ = run([*urls_of("a", 5), *urls_of("b", 5)], good, interval=0.05)
    for host in "ab":
        times = [at for url, at in starts if url.startswith(host)]
        assert all(later - earlier >= 0.045 for earlier, later in itertools.pairwise(times))
    assert starts[-1][1] < 0.4  # both at the same time


def test_a_dead_host_costs_a_few_probes_and_takes_all_its_urls_with_it() -> None:
    async def answer(url: str, tries: int) -> Verdict:
        return down("timeout", whole_host=True) if url.startswith("dead") else await good(url, tries)

    results, starts, _ = run([*urls_of("dead", 300), *urls_of("b", 30)], answer, retries=2)
    assert Counter(r.fetched.reason for r in results.values()) == {"host_unreachable": 300, None: 30}
    assert sum(url.startswith("dead") for url, _ in starts) == 3
    assert results["dead/7"].fetched.evidence == "given up after timeout: why"


def test_a_host_that_fails_in_a_row_is_rested_and_used_again_when_it_answers() -> None:
    count = 0

    async def answer(url: str, tries: int) -> Verdict:
        nonlocal count
        count += 1
        await asyncio.sleep(0.001)
        return Verdict(200) if count == 1 or count > 12 else down("connection_failed")

    results, starts, _ = run(urls_of("a", 40), answer, retries=6, host_failures=3, host_rest_seconds=0.03)
    assert {r.fetched.reason for r in results.values()} == {None}
    gaps = [later - earlier for (_, earlier), (_, later) in itertools.pairwise(starts)]
    assert max(gaps) >= 0.03


def test_a_single_bad_url_of_a_good_host_keeps_its_own_reason() -> None:
    async def answer(url: str, tries: int) -> Verdict:
        return down("connection_failed") if url == "a/3" else await good(url, tries)

    results, _, _ = run(urls_of("a", 30), answer, retries=1)
    assert results["a/3"].fetched.reason == "connection_failed"
    assert Counter(r.fetched.reason for r in results.values()) == {"connection_failed": 1, None: 29}


def test_slow_requests_give_their_places_away(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatch, "PATIENCE_SECONDS", 0.1)

    async def answer(url: str, tries: int) -> Verdict:
        await asyncio.sleep(2.5 if url.startswith("slow") else 0.001)
        return Verdict(200)

    slow = [f"slow{number}/x" for number in range(4)]
    results, starts, _ = run([*slow, *urls_of("b", 200)], answer, concurrency=4)
    assert len(results) == 204
    assert max(at for url, at in starts) < 2.4  # all others were begun while the four places' first users still slept
