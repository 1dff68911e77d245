import numpy as np

from evaluation.models.directions import unit


def test_a_direction_is_found_whatever_the_length() -> None:
    random = np.random.default_rng(0)
    rows = random.normal(size=(7, 16)).astype(np.float32)
    whole = unit(rows)
    np.testing.assert_array_equal(whole, rows / np.linalg.norm(rows, axis=1, keepdims=True))
    for scale in (1e30, 1e-30, 1e19, 1e-22):
        np.testing.assert_allclose(unit(rows * np.float32(scale)), whole, atol=1e-6)
    np.testing.assert_allclose(unit(np.stack([rows, rows * np.float32(1e30)])), [whole, whole], atol=1e-6)


def test_what_has_no_direction_is_nan() -> None:
    rows = np.array([[0, 0], [np.inf, 1], [np.nan, 1], [3, 4]], np.float32)
    found = unit(rows)
    assert np.isnan(found[:3]).any(axis=1).all()
    np.testing.assert_allclose(found[3], [0.6, 0.8], atol=1e-7)
