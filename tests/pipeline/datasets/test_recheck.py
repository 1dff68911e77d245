"""Recheck and takedown against a real server whose owner has changed their mind."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pipeline import storage
from pipeline.datasets.recheck import recheck
from pipeline.datasets.shards import iterate, write_dataset
from pipeline.datasets.takedown import takedown
from pipeline.errors import DataError
from pipeline.execution.executor import InProcess
from tests.pipeline.datasets.test_pack import picture
from tests.pipeline.sources.test_site import Site, html

IN = InProcess()
JPEG = {"Content-Type": "image/jpeg"}


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


def dataset(folder: Path, site: Site, count: int = 12) -> str:
    """Pairs on two hosts, all of them allowed when they were fetched; each stands on a page of its own."""
    out = str(folder / "pack")
    samples = []
    for number in range(count):
        host = "a.example" if number % 2 else "b.example"
        samples.append((f"http://{host}/{number}.jpg", f"thing {number}", picture(number)))
        site.pages[host, f"/{number}.jpg"] = (200, JPEG, picture(number))
    write_dataset(out, samples, 5)
    return out


def test_who_opted_out_since_is_found_with_rule_and_evidence(tmp_path: Path, site: Site) -> None:
    out = dataset(tmp_path, site)
    site.pages["a.example", "/robots.txt"] = (200, {"Content-Type": "text/plain"}, b"User-agent: *\nDisallow: /3")
    site.pages["b.example", "/2.jpg"] = (200, JPEG | {"X-Robots-Tag": "noai"}, picture(2))
    site.pages["b.example", "/4.jpg"] = (200, JPEG | {"tdm-reservation": "1"}, picture(4))
    site.pages["b.example", "/6.jpg"] = (404, {}, b"")
    site.pages["b.example", "/8.jpg"] = (503, {}, b"")
    found = recheck(site.network(), out, str(tmp_path / "answers"), IN)
    assert found.states == {"allowed": 7, "gone": 1, "opted_out": 3, "unknown": 1}
    assert found.reasons == {"header_opt_out": 2, "robots_txt": 1}
    said = {row["url"]: (row["reason"], row["evidence"]) for row in found.opted_out.to_pylist()}
    assert said == {
        "http://a.example/3.jpg": ("robots_txt", "robots.txt disallows /3.jpg"),
        "http://b.example/2.jpg": ("header_opt_out", "x-robots-tag: noai"),
        "http://b.example/4.jpg": ("header_opt_out", "tdm-reservation: 1"),
    }
    assert all(row["checked_at"].endswith("+00:00") for row in found.opted_out.to_pylist())
    assert storage.read_json(f"{found.folder}/recheck.json")["states"] == found.states
    done = takedown(out, found.rules(), str(tmp_path / "less"), IN)
    assert done.manifest is not None
    urls = {sample.url for sample in iterate(str(tmp_path / "less"), done.manifest)}
    assert len(urls) == 9
    assert not urls & set(said)


def test_pages_are_read_for_their_meta_tags_when_asked(tmp_path: Path, site: Site) -> None:
    out = str(tmp_path / "pack")
    write_dataset(out, [("http://a.example/page", "a page that is its own picture", picture(1))])
    site.pages["a.example", "/page"] = html('<meta name="robots" content="noimageai"><img src=x.jpg>')
    assert recheck(site.network(), out, str(tmp_path / "one"), IN).states == {"allowed": 1}
    found = recheck(site.network(), out, str(tmp_path / "two"), IN, pages=True)
    assert found.reasons == {"meta_opt_out": 1}
    assert found.opted_out.column("evidence").to_pylist() == ["robots meta tag: noimageai"]


def test_bodies_are_not_read_and_a_finished_recheck_asks_nobody_again(tmp_path: Path, site: Site) -> None:
    out = dataset(tmp_path, site)
    recheck(site.network(), out, str(tmp_path / "answers"), IN)
    asked = dict(site.asked)
    assert asked["a.example", "/robots.txt"] == asked["a.example", "/1.jpg"] == 1
    again = recheck(site.network(), out, str(tmp_path / "answers"), IN)
    assert dict(site.asked) == asked
    assert again.states == {"allowed": 12}


def test_a_recheck_that_was_stopped_goes_on(tmp_path: Path, site: Site, monkeypatch: Any) -> None:
    from pipeline.datasets import recheck as module

    out = dataset(tmp_path, site)
    monkeypatch.setattr(module, "ROWS_PER_ITEM", 3)
    work = module._ask
    calls: list[str] = []

    def breaks(network: Any, pages: bool, path: str) -> Any:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return work(network, pages, path)

    monkeypatch.setattr(module, "_ask", breaks)
    with pytest.raises(KeyboardInterrupt):
        recheck(site.network(), out, str(tmp_path / "answers"), IN)
    before = dict(site.asked)
    found = recheck(site.network(), out, str(tmp_path / "answers"), IN)
    assert found.states == {"allowed": 12}
    pictures = {key: n for key, n in site.asked.items() if key[1].endswith(".jpg")}
    assert set(pictures.values()) == {1}
    assert any(key in before for key in pictures)


def test_an_outage_is_nobodys_answer(tmp_path: Path, site: Site) -> None:
    out = dataset(tmp_path, site)
    for key in list(site.pages):
        site.pages[key] = (503, {}, b"")
    with pytest.raises(DataError, match="no owner could be reached"):
        recheck(site.network(), out, str(tmp_path / "answers"), IN)
    for number in range(12):
        site.pages["a.example" if number % 2 else "b.example", f"/{number}.jpg"] = (200, JPEG, b"x")
    assert recheck(site.network(), out, str(tmp_path / "answers"), IN).states == {"allowed": 12}
