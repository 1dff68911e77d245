import numpy as np
import pytest

from evaluation.statistics.calibration import calibration_error, fit_temperature, probabilities, reliability


def answers(temperature: float = 1.0, pictures: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Logits of a model that is right as often as it says at this temperature."""
    random = np.random.default_rng(0)
    logits = random.normal(size=(pictures, 5)) * 2
    labels = (probabilities(logits).cumsum(axis=1) < random.random((pictures, 1))).sum(axis=1)
    return logits * temperature, labels


def test_the_error_equals_its_definition_and_a_sure_answer_is_counted() -> None:
    logits, labels = answers(3.0, 500)
    logits[0] = [9e3, 0, 0, 0, 0]  # a confidence of exactly 1
    probability = probabilities(logits)
    confidence, right = probability.max(axis=1), probability.argmax(axis=1) == labels
    total = 0.0
    for n in range(15):
        here = (confidence >= n / 15) & ((confidence < (n + 1) / 15) | (n == 14))
        if here.any():
            total += here.mean() * abs(confidence[here].mean() - right[here].mean())
    error = calibration_error(confidence, right, 300, 0)
    assert error.value == pytest.approx(total, abs=1e-12)
    assert error.low <= error.value <= error.high
    bins = reliability(confidence, right)
    assert sum(each.pictures for each in bins) == 500
    assert confidence[0] == 1
    weighted = sum(each.pictures * abs(each.confidence - each.accuracy) for each in bins if each.pictures)
    assert weighted / 500 == pytest.approx(total)


def test_the_temperature_that_was_put_in_is_found_and_mends_the_error() -> None:
    for true in (0.3, 1.0, 4.0):
        logits, labels = answers(true)
        found = fit_temperature(logits[:2000], labels[:2000])
        assert found == pytest.approx(true, rel=0.1)
        right = logits[2000:].argmax(axis=1) == labels[2000:]
        before, after = (
            calibration_error(probabilities(logits[2000:] / scale).max(axis=1), right, 100, 0) for scale in (1, found)
        )
        assert after.value < 0.04
        assert true == 1 or before.value > 2 * after.value


def test_an_interval_of_the_error_holds_the_error_of_ten_times_the_pictures() -> None:
    logits, labels = answers(2.0, 20_000)
    confidence, right = probabilities(logits).max(axis=1), logits.argmax(axis=1) == labels
    whole = calibration_error(confidence, right, 100, 0).value
    parts = [calibration_error(confidence[n : n + 2000], right[n : n + 2000], 300, 0) for n in range(0, 20_000, 2000)]
    assert sum(part.low <= whole <= part.high for part in parts) >= 8
