"""`openwit queries` as a user meets it."""

import json
from pathlib import Path

import pytest

from orchestration import plots
from orchestration.cli import main
from orchestration.report_data import Balance


def test_a_list_is_made_and_made_again_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "words.txt").write_text("n1\tred dog, hound\n")
    (tmp_path / "texts.txt").write_text("a cat and a dog\n" * 5)
    words = ["--words", str(tmp_path / "words.txt"), "--corpus", str(tmp_path / "texts.txt"), "--minimum-count", "5"]
    lists = []
    for name in ("one", "two"):
        assert main(["queries", str(tmp_path / name), *words, "--json"]) == 0
        told = json.loads(capsys.readouterr().out)
        assert told["queries"] == 100 + 2 + 4
        assert told["list"].endswith(f"{name}/queries.txt")
        lists.append((tmp_path / name / "queries.txt").read_bytes())
    assert lists[0] == lists[1]
    assert lists[0].decode().splitlines()[100:] == ["red dog", "hound", "a", "and", "cat", "dog"]


@pytest.mark.parametrize(
    ("words", "line"),
    [
        ([], "nothing to make a list from"),
        (["--corpus", "none.txt"], "'none.txt' is no file"),
        (["--words", "/"], "'/' is no file"),
        (["--corpus", "none.txt", "--language", "EN!"], "--language 'EN!'"),
    ],
)
def test_a_mistake_is_one_line(words: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["queries", str(tmp_path / "out"), *words]) == 2
    told = capsys.readouterr().err
    assert line in told
    assert len(told.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_the_balance_of_a_long_list_is_drawn_with_few_points() -> None:
    ranks = plots._ranks(500_000)
    assert (ranks[0], ranks[-1]) == (1, 500_000)
    assert len(ranks) <= plots.RANKS_SHOWN
    counts = [max(1, 500_000 // rank) for rank in range(1, 500_001)]
    plot = plots.balance_curve(Balance(counts, [min(count, 200) for count in counts], 200))
    assert len(plot.svg()) < 400_000
