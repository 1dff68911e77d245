"""Recheck and takedown against a real server whose owner has changed their mind."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from pipeline import storage
from pipeline.datasets import recheck as module
from pipeline.datasets.recheck import recheck
from pipeline.datasets.shards import iterate, read_index, write_dataset
from pipeline.datasets.takedown import takedown
from pipeline.errors import ConfigError, DataError
from pipeline.execution.executor import InProcess
from pipeline.sample import candidates, pair_uid
from pipeline.selection import select_passes
from pipeline.selection.text_config import TextConfig
from pipeline.web.web_config import NetworkConfig
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


def test_what_opted_out_stays_out_whatever_text_it_has_next_time(tmp_path: Path, site: Site) -> None:
    out = dataset(tmp_path, site)
    site.pages["b.example", "/2.jpg"] = (200, JPEG | {"X-Robots-Tag": "noai"}, picture(2))
    found = recheck(site.network(), out, str(tmp_path / "answers"), IN)
    takedown(out, found.rules(), str(tmp_path / "less"), IN)
    urls = [f"http://{'a' if n % 2 else 'b'}.example/{n}.jpg" for n in range(12)]
    rows = candidates({"url": url, "text": f"other words of {n}", "text_origin": "alt"} for n, url in enumerate(urls))
    storage.write_table(str(tmp_path / "rows.parquet"), rows)
    wish = TextConfig(languages=())
    made = select_passes.text(
        wish, str(tmp_path / "less" / "tombstones.txt"), 1, (), (0, str(tmp_path / "rows.parquet"))
    )
    assert made.fates["pairs"].reasons == {"taken_down": 1}
    assert made.tables["dropped"].column("url").to_pylist() == ["http://b.example/2.jpg"]


def test_a_pair_is_kept_out_by_the_uid_that_a_dataset_gave_it(tmp_path: Path) -> None:
    """Text rules change texts, and uids with them: the list names the pair as the dataset did."""
    row = {"url": "http://a.example/1.jpg", "text": "write to me@example.org for this red boat", "text_origin": "alt"}
    storage.write_table(str(tmp_path / "rows.parquet"), candidates([row]))
    wish, source = TextConfig(languages=(), mask_personal_data=True), (0, str(tmp_path / "rows.parquet"))
    masked = pair_uid(row["url"], "write to <email> for this red boat")
    (tmp_path / "tombstones.txt").write_text(f"uid {masked}\n")
    assert select_passes.text(wish, None, 1, (), source).fates["pairs"].kept == 1
    fate = select_passes.text(wish, str(tmp_path / "tombstones.txt"), 1, (), source).fates["pairs"]
    assert fate.reasons == {"taken_down": 1}


def test_pages_are_read_for_their_meta_tags_when_asked(tmp_path: Path, site: Site) -> None:
    out = str(tmp_path / "pack")
    write_dataset(out, [("http://a.example/page", "a page that is its own picture", picture(1))])
    site.pages["a.example", "/page"] = html('<meta name="robots" content="noimageai"><img src=x.jpg>')
    assert recheck(site.network(), out, str(tmp_path / "one"), IN).states == {"allowed": 1}
    found = recheck(site.network(), out, str(tmp_path / "two"), IN, pages=True)
    assert found.reasons == {"meta_opt_out": 1}
    assert found.opted_out.column("evidence").to_pylist() == ["robots meta tag: noimageai"]


def test_pages_whose_pictures_have_several_texts_are_understood(tmp_path: Path, site: Site) -> None:
    out = str(tmp_path / "pack")
    write_dataset(out, [(f"http://a.example/{n}", f"page {n}", picture(n)) for n in range(3)])
    described = (
        '<meta name="robots" content="{}"><figure><img src=x.jpg alt=A title=B><figcaption>C</figcaption></figure>'
    )
    site.pages["a.example", "/0"] = html(described.format("noai"))
    site.pages["a.example", "/1"] = html(described.format("all"))
    site.pages["a.example", "/2"] = html("<b>" * 20_000 + described.format("noai"))
    found = recheck(site.network(), out, str(tmp_path / "answers"), IN, pages=True)
    assert found.states == {"allowed": 1, "opted_out": 1, "unknown": 1}
    assert found.reasons == {"meta_opt_out": 1}


def test_bodies_are_not_read_and_a_finished_recheck_asks_nobody_again(tmp_path: Path, site: Site) -> None:
    out = dataset(tmp_path, site)
    recheck(site.network(), out, str(tmp_path / "answers"), IN)
    asked = dict(site.asked)
    assert asked["a.example", "/robots.txt"] == asked["a.example", "/1.jpg"] == 1
    again = recheck(site.network(), out, str(tmp_path / "answers"), IN)
    assert dict(site.asked) == asked
    assert again.states == {"allowed": 12}


def test_a_recheck_that_was_stopped_goes_on(tmp_path: Path, site: Site, monkeypatch: Any) -> None:
    out = dataset(tmp_path, site)
    monkeypatch.setattr(module, "ROWS_PER_ITEM", 3)
    work = module.ask
    calls: list[str] = []

    def breaks(network: Any, budget: int | None, path: str) -> Any:
        calls.append(path)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return work(network, budget, path)

    monkeypatch.setattr(module, "ask", breaks)
    with pytest.raises(KeyboardInterrupt):
        recheck(site.network(), out, str(tmp_path / "answers"), IN)
    before = dict(site.asked)
    found = recheck(site.network(), out, str(tmp_path / "answers"), IN)
    assert found.states == {"allowed": 12}
    pictures = {key: n for key, n in site.asked.items() if key[1].endswith(".jpg")}
    assert set(pictures.values()) == {1}
    assert any(key in before for key in pictures)


def test_what_is_unchanged_since_the_last_recheck_is_not_sent_again(tmp_path: Path, site: Site) -> None:
    out = str(tmp_path / "pack")
    pairs = [("http://a.example/page", "a page that is its own picture", picture(0))]
    write_dataset(out, pairs + [(f"http://a.example/{n}.jpg", f"thing {n}", picture(n)) for n in range(1, 5)])
    site.pages["a.example", "/page"] = html("<img src=x.jpg>", ETag='"p1"')
    for number in range(1, 5):
        mark = {"ETag": f'W/"{number}"'} if number % 2 else {"Last-Modified": "Sat, 21 Nov 2026 10:00:00 GMT"}
        site.pages["a.example", f"/{number}.jpg"] = (200, JPEG | mark, picture(number))
    site.pages["a.example", "/4.jpg"] = (200, JPEG | {"ETag": "no quotes", "Last-Modified": "x" * 999}, picture(4))
    first = recheck(site.network(), out, str(tmp_path / "one"), IN, pages=True)
    assert first.states == {"allowed": 5}
    assert not site.unchanged
    # Since then: a header on an unchanged picture, a new page, a robots.txt; one picture had no usable validator.
    site.pages["a.example", "/1.jpg"] = (200, JPEG | {"ETag": 'W/"1"', "X-Robots-Tag": "noai"}, picture(1))
    site.pages["a.example", "/page"] = html("<meta name=robots content=noai>", ETag='"p2"')
    site.pages["a.example", "/robots.txt"] = (200, {}, b"User-agent: *\nDisallow: /3")
    second = recheck(site.network(), out, str(tmp_path / "two"), IN, pages=True, since=str(tmp_path / "one"))
    assert dict(site.unchanged) == {("a.example", "/1.jpg"): 1, ("a.example", "/2.jpg"): 1}
    said = {row["url"]: row["evidence"] for row in second.opted_out.to_pylist()}
    assert said == {
        "http://a.example/1.jpg": "x-robots-tag: noai",
        "http://a.example/3.jpg": "robots.txt disallows /3.jpg",
        "http://a.example/page": "robots meta tag: noai",
    }
    # What opted out is asked for anew, and what was unchanged keeps its validator.
    recheck(site.network(), out, str(tmp_path / "three"), IN, pages=True, since=str(tmp_path / "two"))
    assert dict(site.unchanged) == {("a.example", "/1.jpg"): 1, ("a.example", "/2.jpg"): 2}
    with pytest.raises(ConfigError, match="holds no answers of a recheck"):
        recheck(site.network(), out, str(tmp_path / "four"), IN, since=str(tmp_path))
    with pytest.raises(ConfigError, match="give another folder with --out"):
        recheck(site.network(), out, str(tmp_path / "one"), IN, since=str(tmp_path / "one"))


def test_a_pair_that_stands_twice_is_two_samples(tmp_path: Path, site: Site) -> None:
    out = str(tmp_path / "pack")
    write_dataset(
        out, [("http://a.example/1.jpg", "one", picture(1))] * 3 + [("http://a.example/2.jpg", "two", picture(2))]
    )
    site.pages["a.example", "/1.jpg"] = (200, JPEG | {"X-Robots-Tag": "noai"}, b"x")
    found = recheck(site.network(), out, str(tmp_path / "answers"), IN)
    assert found.states == {"gone": 1, "opted_out": 3}
    assert len(set(found.opted_out.column("key").to_pylist())) == 3
    assert site.asked["a.example", "/1.jpg"] == 1


def test_a_host_is_asked_no_more_than_its_budget_and_next_time_for_the_others(tmp_path: Path, site: Site) -> None:
    out = dataset(tmp_path, site)  # six pictures on each of two hosts
    site.pages["a.example", "/1.jpg"] = (200, JPEG | {"X-Robots-Tag": "noai"}, picture(1))
    site.pages["b.example", "/.well-known/tdmrep.json"] = (200, {}, b'[{"location": "/8.jpg", "tdm-reservation": 1}]')
    since: str | None = None
    for turn, states in enumerate(
        (
            {"allowed": 3, "not_asked": 7, "opted_out": 2},
            {"allowed": 4, "not_asked": 6, "opted_out": 2},
            {"allowed": 4, "not_asked": 6, "opted_out": 2},
        )
    ):
        now = str(tmp_path / str(turn))
        found = recheck(site.network(), out, now, IN, since=since, requests_per_host=2)
        assert found.states == states
        assert {row["url"][-5:] for row in found.opted_out.to_pylist()} == {"1.jpg", "8.jpg"}
        since = now
    asked = {key: count for key, count in site.asked.items() if key[1].endswith(".jpg")}
    # In turn, and none twice before all were asked; /8.jpg is refused by its site's file, so b.example's turn comes again.
    assert asked.pop(("b.example", "/0.jpg")) == 2
    assert set(asked.values()) == {1}
    assert len(asked) == 10


def test_a_page_is_asked_for_once_whatever_its_pictures_hosts(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def on_one_page(folder: str, shard: Any, columns: list[str]) -> Any:
        rows = read_index(folder, shard, columns)
        place = rows.schema.get_field_index("page_url")
        return rows.set_column(place, "page_url", pa.array(["http://a.example/page"] * rows.num_rows))

    monkeypatch.setattr(module, "read_index", on_one_page)
    out = str(tmp_path / "pack")
    pictures = [(f"http://{host}.example/{n}.jpg", f"{host} {n}", picture(n)) for n, host in enumerate("abab")]
    write_dataset(out, pictures)
    for url, _, _ in pictures:
        site.pages[url[7:16], url[16:]] = (200, JPEG, b"x")
    site.pages["a.example", "/page"] = html("<meta name=robots content=noai>")
    found = recheck(site.network(), out, str(tmp_path / "answers"), IN, pages=True)
    assert found.states == {"opted_out": 4}
    assert {row["asked"] for row in found.opted_out.to_pylist()} == {"http://a.example/page"}
    assert site.asked["a.example", "/page"] == 1


@pytest.mark.parametrize(("kept", "said"), [(["a.example"], "add --recipe RECIPE"), ([], "is the network up")])
def test_a_dataset_of_hosts_with_addresses_needs_its_recipe(tmp_path: Path, kept: list[str], said: str) -> None:
    out = str(tmp_path / "pack")
    made = write_dataset(out, [("http://127.0.0.1:1/picture.jpg", "a thing", picture(0))], 5)
    replace(made, config={**made.config, "network": {"hosts": kept}}).save(out)
    with pytest.raises(DataError, match=f"no owner could be reached; .*{said}"):
        recheck(NetworkConfig(), out, str(tmp_path / "answers"), IN)


def test_an_outage_is_nobodys_answer(tmp_path: Path, site: Site) -> None:
    out = dataset(tmp_path, site)
    for key in list(site.pages):
        site.pages[key] = (503, {}, b"")
    with pytest.raises(DataError, match="no owner could be reached"):
        recheck(site.network(), out, str(tmp_path / "answers"), IN)
    for number in range(12):
        site.pages["a.example" if number % 2 else "b.example", f"/{number}.jpg"] = (200, JPEG, b"x")
    assert recheck(site.network(), out, str(tmp_path / "answers"), IN).states == {"allowed": 12}
