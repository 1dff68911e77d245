"""TrainConfig and the learning rate that follows from it."""

import itertools

import pytest
from pydantic import ValidationError

from training.config import TrainConfig
from training.optim.schedule import learning_rate


def test_the_defaults_are_the_paper_s() -> None:
    config = TrainConfig()
    assert (config.model, config.global_batch_size, config.epochs) == ("clip-vit-b-32", 32_768, 32)
    assert (config.learning_rate, config.weight_decay, config.warmup_steps) == (5e-4, 0.2, 2000)
    assert (config.optimizer.beta1, config.optimizer.beta2, config.optimizer.epsilon, config.max_gradient_norm) == (
        0.9,
        0.98,
        1e-6,
        0,
    )


def test_each_field_says_what_it_is() -> None:
    assert [name for name, field in TrainConfig.model_fields.items() if not field.description and name != "model"] == []


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"model": "clip-tinny"}, "did you mean clip-tiny"),
        ({"global_batch_size": 30, "workers": 4}, "cannot be shared by 4 workers"),
        ({"learning_rte": 1.0}, "learning_rte"),
        ({"zero_stage": 4}, "zero_stage"),
    ],
)
def test_a_wrong_value_is_refused_by_name(values: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        TrainConfig.model_validate(values)


def test_steps_follow_from_epochs_unless_given() -> None:
    assert TrainConfig(epochs=2, global_batch_size=10).total_steps(105) == 21
    assert TrainConfig(steps=7, warmup_steps=2, global_batch_size=10).total_steps(105) == 7


@pytest.mark.parametrize("schedule", ["linear", "cosine"])
def test_the_rate_rises_to_its_height_and_falls_to_nothing(schedule: str) -> None:
    config = TrainConfig.model_validate({"learning_rate": 1.0, "warmup_steps": 10, "schedule": schedule})
    rates = [learning_rate(config, step, 100) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert all(later < earlier for earlier, later in itertools.pairwise(rates[9:]))
    assert 0 < rates[-1] < 0.02
    middle = rates[54]
    assert middle == pytest.approx(0.5, abs=0.02)
