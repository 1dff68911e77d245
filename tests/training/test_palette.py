"""The palette: clusters of the data's colours, the same on every machine, or a file."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from pipeline.errors import ConfigError
from training.models.palette import fit_palette, read_palette
from training.models.quantise import nearest_colours


def clouds(count: int) -> np.ndarray:
    """Pixels around four colours."""
    draw = np.random.default_rng(0)
    middles = np.array([[20, 20, 20], [200, 30, 40], [30, 180, 60], [240, 240, 250]])
    return (middles[draw.integers(0, 4, count)] + draw.integers(-5, 6, (count, 3))).clip(0, 255).astype(np.uint8)


def test_clusters_are_the_clouds_dark_to_light_whatever_the_order_of_pixels() -> None:
    pixels = clouds(4000)
    palette = fit_palette(pixels, 4, seed=0)
    np.testing.assert_allclose(palette, [[20, 20, 20], [200, 30, 40], [30, 180, 60], [240, 240, 250]], atol=1)
    assert palette.dtype == np.float32
    np.testing.assert_array_equal(palette * 8, np.rint(palette * 8))
    np.testing.assert_array_equal(fit_palette(pixels[::-1], 4, seed=0), palette)


def test_centres_are_the_means_of_the_pixels_nearest_to_them() -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (3000, 3)).astype(np.uint8)
    palette = fit_palette(pixels, 8, seed=3)
    owner = nearest_colours(torch.from_numpy(pixels), torch.from_numpy(palette)).numpy()
    means = np.stack([pixels[owner == colour].mean(axis=0) for colour in range(8)])
    np.testing.assert_allclose(palette, means, atol=1.5)  # fifty rounds are near the end
    random = pixels[:8].astype(np.float32)

    def error(colours: np.ndarray) -> float:
        return float(((pixels[:, None].astype(float) - colours[None]) ** 2).sum(axis=2).min(axis=1).mean())

    assert error(palette) < 0.8 * error(random)


def test_fewer_colours_than_asked_for_are_all_taken_and_the_rest_is_never_used() -> None:
    pixels = np.array([[9, 9, 9], [9, 9, 9], [200, 0, 0], [0, 0, 255]], np.uint8)
    palette = fit_palette(pixels, 6, seed=0)
    assert palette.shape == (6, 3)
    assert {tuple(row) for row in palette.tolist()} == {(9, 9, 9), (200, 0, 0), (0, 0, 255)}
    assert nearest_colours(torch.from_numpy(pixels), torch.from_numpy(palette)).max() < 3


def test_a_palette_is_read_from_arrays_json_and_the_release_s_scale(tmp_path: Path) -> None:
    wanted = np.array([[0, 127.5, 255], [255, 0, 51]], np.float32)
    np.save(tmp_path / "a.npy", wanted / 127.5 - 1)
    (tmp_path / "b.json").write_text(json.dumps(wanted.tolist()))
    (tmp_path / "c.json").write_text(json.dumps({"clusters": (wanted / 127.5 - 1).tolist()}))
    for name in ("a.npy", "b.json", "c.json"):
        np.testing.assert_allclose(read_palette(str(tmp_path / name), 2), wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"[[1, 2, 3]]", "holds 1 x 3; this model reads 2 x 3"),
        (b"[[1, 2, 3], [4, 5, 600]]", "outside 0..255"),
        (b"[[0.1, 0.2, 0.3], [0.4, 0.5, 1.0]]", "from 0.1 to 1.*multiply values of 0..1 by 255"),
        (b"[[1, 2, 3], [4, 5]]", "is no palette"),
        (b"{}", "is no palette"),
        (b"no json", "is no palette"),
        (None, "is no palette"),
    ],
)
def test_a_file_that_is_no_palette_is_one_line(tmp_path: Path, content: bytes | None, message: str) -> None:
    path = tmp_path / "palette.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigError, match=message) as caught:
        read_palette(str(path), 2)
    assert "\n" not in str(caught.value)


def test_an_array_of_python_objects_is_never_unpickled(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([{"a": 1}], object), allow_pickle=True)
    with pytest.raises(ConfigError, match="is no palette"):
        read_palette(str(tmp_path / "x.npy"), 2)
