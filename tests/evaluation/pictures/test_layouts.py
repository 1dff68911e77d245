"""Every reader on a miniature in the official layout: found, its splits, labels in order, and the right picture."""

from pathlib import Path

import numpy as np
import pytest
from miniatures import MINIATURES, colour, make

from evaluation.pictures.pictures import Absent, Pictures
from evaluation.pictures.table import LAYOUTS


def shown(pictures: Pictures, index: int) -> np.ndarray:
    return np.asarray(pictures.read(index).convert("RGB"), np.float64)


@pytest.mark.parametrize("name", MINIATURES)
def test_a_miniature_is_read_as_it_was_made(name: str, tmp_path: Path) -> None:
    made = make(name, tmp_path / "home")
    layout = LAYOUTS[made.layout]
    folder = str(tmp_path / "home")
    assert layout.found(folder)
    assert {split for split in made.splits if "/" not in split} - {"trainval"} <= set(layout.splits(folder))
    for split, wanted in made.splits.items():
        pictures = layout.open(folder, split)
        assert pictures.count == len(wanted)
        assert list(pictures.columns[made.column]) == [label for label, _ in wanted]
        assert pictures.classes == made.classes
        for column, values in made.columns.get(split, {}).items():
            assert list(pictures.columns[column]) == list(values), column
        for index, (_, number) in enumerate(wanted):
            pixels = shown(pictures, index)
            if made.grey:
                np.testing.assert_array_equal(pixels[5, :, 0], np.arange(pixels.shape[1]) * 4 + number)
            else:
                np.testing.assert_allclose(pixels.mean((0, 1)), colour(number), atol=3)
                assert np.ptp(pixels, axis=(0, 1)).max() <= 3
        again = layout.open(folder, split)
        assert again.identity == pictures.identity
        if pictures.stored is not None:
            assert pictures.stored(0) == again.stored(0)  # type: ignore[misc]
    with pytest.raises(Absent, match=r"has no (split )?'nonsense'"):
        layout.open(folder, "nonsense")


@pytest.mark.parametrize("name", MINIATURES)
def test_no_other_official_reader_takes_it_for_its_own(name: str, tmp_path: Path) -> None:
    made = make(name, tmp_path)
    takers = {layout.name for layout in LAYOUTS.values() if layout.found(str(tmp_path))}
    assert made.layout in takers


def test_an_empty_folder_is_absent_in_every_layout(tmp_path: Path) -> None:
    for layout in LAYOUTS.values():
        assert not layout.found(str(tmp_path))
        with pytest.raises(Absent, match="is not laid out as"):
            layout.open(str(tmp_path), "test")
