"""What the lanes of a worker share: how many rows may wait to be written."""

from pathlib import Path

import pytest
from rude_web import Web

from pipeline import storage
from pipeline.fetching import fetch_worker
from pipeline.fetching.fetch_config import FetchConfig
from pipeline.web.web_config import NetworkConfig
from tests.pipeline.fetching.test_fetch import Runs, jpeg


def test_a_kill_costs_few_rows_however_many_lanes_are_open(
    tmp_path: Path, web: Web, monkeypatch: pytest.MonkeyPatch
) -> None:
    urls = [f"http://{'abcdefgh'[number % 8]}.example/{number}.jpg" for number in range(40)]
    web.answers |= {f"/{number}.jpg": jpeg(number) for number in range(40)}
    undisturbed = Runs(web, tmp_path / "plain")(urls, lanes=1)
    monkeypatch.setattr(fetch_worker, "ROWS_WAITING", 4)
    result = Runs(web, tmp_path / "often")(urls, lanes=1)
    written = sorted((tmp_path / "often").rglob("journal/**/*.parquet"))
    assert {storage.read_table(str(path), ["url"]).num_rows for path in written} == {4}
    assert len(written) == 10
    assert result.id == undisturbed.id


def test_the_fullest_lane_is_written_first() -> None:
    class Some:
        def __init__(self, waiting: int) -> None:
            self.waiting = waiting

        def flush(self) -> None:
            self.waiting = 0

    worker = fetch_worker.Worker(FetchConfig(), NetworkConfig())
    lanes = [Some(fetch_worker.ROWS_WAITING // 3) for _ in range(3)]
    worker._lanes = set(lanes)  # type: ignore[arg-type]
    worker.write_fullest()
    assert all(lane.waiting for lane in lanes)
    lanes[1].waiting += 1
    worker.write_fullest()
    assert [bool(lane.waiting) for lane in lanes] == [True, False, True]
