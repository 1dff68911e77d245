"""The order: windows of shuffled parts as a slow twin has them, mixing by weight to the last turn, any place without the others."""

import itertools

import numpy as np
import pytest

from pipeline.errors import ConfigError
from training.data.mixing import LONGEST_CYCLE, MixedStream, turns_of
from training.data.order import SampleStream, shuffled

SIZES = [7, 3, 12, 5, 1, 9, 4, 8]
ROWS = sum(SIZES)


def slow_epoch(sizes: list[int], seed: int, epoch: int, identity: str, window: int) -> list[int]:
    """All samples of an epoch, built from front to back: parts in their order, cut into windows, each shuffled."""
    firsts = [sum(sizes[:part]) for part in range(len(sizes))]
    parts = list(range(len(sizes)))
    if sum(sizes) > window:
        parts = shuffled(len(sizes), "parts", seed, epoch, identity).tolist()
    windows: list[list[int]] = [[]]
    for place, part in enumerate(parts):
        windows[-1].append(part)
        if sum(sizes[p] for p in windows[-1]) >= window and sum(sizes[p] for p in parts[place + 1 :]):
            windows.append([])
    order = []
    for number, inside in enumerate(windows):
        samples = [firsts[part] + row for part in sorted(inside) for row in range(sizes[part])]
        words = ("order", seed, epoch, identity) + ((number,) if number else ())
        order += [samples[place] for place in shuffled(len(samples), *words)]
    return order


@pytest.mark.parametrize("window", [1, 6, 10, 20, ROWS, 1000])
def test_the_two_level_shuffle_is_that_of_its_slow_twin_from_any_place(window: int) -> None:
    wanted = [sample for epoch in range(3) for sample in slow_epoch(SIZES, 4, epoch, "m", window)]
    for epoch in range(3):
        assert sorted(wanted[epoch * ROWS : (epoch + 1) * ROWS]) == list(range(ROWS))
    for start, count in ((0, 3 * ROWS), (5, 13), (ROWS - 1, 2), (2 * ROWS - 3, 20), (77, 1)):
        samples, epochs = SampleStream(ROWS, 4, "m", SIZES, window).at(start, count)
        assert samples.tolist() == wanted[start : start + count]
        assert epochs.tolist() == [(start + i) // ROWS for i in range(count)]


def test_a_window_reads_few_parts_and_says_which() -> None:
    stream = SampleStream(ROWS, 4, "m", SIZES, 10)
    ends = np.cumsum(SIZES)
    touched = [set(np.searchsorted(ends, stream.at(place, 1)[0], side="right").tolist()) for place in range(2 * ROWS)]
    for place in range(ROWS):
        assert touched[place] <= set(stream.parts_at(place, 1))
        assert len(stream.parts_at(place, 1)) <= 5
        after = set(stream.parts_at(place, 1))
        beyond = next(p for p in range(place, 2 * ROWS) if set(stream.parts_at(p, 1)) != after)
        assert touched[beyond] <= set(stream.parts_at(place, 2))


def test_one_part_and_no_parts_are_the_same_order() -> None:
    assert SampleStream(50, 1, "m").at(20, 60)[0].tolist() == SampleStream(50, 1, "m", [20, 30]).at(20, 60)[0].tolist()


def streams(seed: int = 3) -> list[SampleStream]:
    return [SampleStream(rows, seed, f"s{rows}") for rows in (40, 7, 21)]


def mixed(weights: list[float], seed: int = 3) -> MixedStream:
    return MixedStream(streams(seed), [0, 1, 2], weights, seed)


def test_mixing_gives_every_source_its_turns_and_each_its_own_stream() -> None:
    weights = [0.5, 0.2, 0.3]
    samples, epochs = mixed(weights).at(0, 400)
    firsts = [0, 40, 47, 68]
    for number, (stream, weight) in enumerate(zip(streams(), weights, strict=True)):
        mine = (samples >= firsts[number]) & (samples < firsts[number + 1])
        for cycle in range(40):
            assert mine[cycle * 10 : cycle * 10 + 10].sum() == 10 * weight
        wanted, wanted_epochs = stream.at(0, int(mine.sum()))
        assert (samples[mine] - firsts[number]).tolist() == wanted.tolist()
        assert epochs[mine].tolist() == wanted_epochs.tolist()


def test_mixing_can_begin_anywhere() -> None:
    whole = mixed([1, 2, 3]).at(0, 300)
    for start, count in ((0, 1), (5, 1), (6, 6), (13, 100), (299, 1)):
        part = mixed([1, 2, 3]).at(start, count)
        for got, wanted in zip(part, whole, strict=True):
            assert got.tolist() == wanted[start : start + count].tolist()
    assert mixed([1, 2, 3], seed=4).at(0, 60)[0].tolist() != whole[0][:60].tolist()


@pytest.mark.parametrize(
    ("weights", "turns"),
    [([1, 1], [1, 1]), ([0.1, 0.9], [1, 9]), ([1 / 3, 2 / 3], [1, 2]), ([2, 4, 6], [1, 2, 3]), ([0.75, 0.25], [3, 1])],
)
def test_the_cycle_is_the_shortest_that_is_exact(weights: list[float], turns: list[int]) -> None:
    assert turns_of(weights) == turns


def test_odd_weights_are_rounded_to_a_long_cycle() -> None:
    turns = turns_of([2**0.5, 3**0.5, 0.777777])
    total = 2**0.5 + 3**0.5 + 0.777777
    assert sum(turns) == LONGEST_CYCLE
    for turn, weight in zip(turns, [2**0.5, 3**0.5, 0.777777], strict=True):
        assert abs(turn - weight / total * LONGEST_CYCLE) < 1
    with pytest.raises(ConfigError, match=r"sources\[1\]\.weight 1e-09 is less than a 10,000th of all"):
        turns_of([1.0, 1e-9])


def test_windows_mix_samples_of_parts() -> None:
    """Neighbours in a window come from different parts, nearly as often as chance has it."""
    stream = SampleStream(6400, 0, "m", [100] * 64, 1600)
    parts = stream.at(0, 6400)[0] // 100
    same = np.mean([a == b for a, b in itertools.pairwise(parts.tolist())])
    assert abs(same - 1 / 16) < 0.02
