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


@pytest.mark.parametrize("pictures", [200, 1000])
@pytest.mark.parametrize("too_sure", [0.0, 0.02, 0.1])
def test_noise_does_not_pass_for_an_error(pictures: int, too_sure: float) -> None:
    """200 test sets of models that are too sure by nothing, little and much: their true error is not below the interval."""
    random, below, above, draws = np.random.default_rng(6), 0, 0, 200
    for n in range(draws):
        confidence = random.beta(4, 2, pictures) * (1 - too_sure) + too_sure
        right = random.random(pictures) < confidence - too_sure
        found = calibration_error(confidence, right, 300, n)
        below, above = below + (found.low > too_sure + 1e-12), above + (found.high < too_sure)
    assert below / draws <= 0.08
    assert above / draws <= 0.06
    each_twice = calibration_error(
        np.repeat(confidence, 2), np.repeat(right, 2), 100, 0, clusters=np.repeat(np.arange(pictures), 2)
    )
    once = calibration_error(confidence, right, 100, 0)
    assert each_twice.low == pytest.approx(once.low, abs=0.01)
