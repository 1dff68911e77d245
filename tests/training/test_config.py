"""TrainConfig and the learning rate that follows from it."""

import itertools

import pytest
from pydantic import ValidationError

from training.config import TrainConfig
from training.optim.schedule import learning_rate
from training.unread_keys import ROWS


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


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"objective": {"mixup_alpha": 0.2}},
            "objective.mixup_alpha is 0.2, which only objective.kind classify would read",
        ),
        ({"model": "igpt-s", "patch_dropout": 0.5}, "patch_dropout is 0.5, which only image towers of patches"),
        ({"model": "clip-rn50", "patch_dropout": 0.5}, "patch_dropout is 0.5"),
        ({"model": "vit-b-16", "vocabulary": "bpe"}, "vocabulary is bpe, which only models that read text"),
        ({"model": "vit-b-16", "optimizer": {"text_rate": 0.1}}, "optimizer.text_rate is 0.1"),
        ({"model": "igpt-s", "objective": {"mask_probability": 0.2}}, "objective.mask_probability is 0.2"),
        ({"data": {"randaugment_magnitude": 10}}, "data.randaugment_magnitude is 10"),
        ({"data": {"augmentation": "inception", "min_crop_side_fraction": 0.5}}, "only data.augmentation square"),
        ({"data": {"processes": 2, "threads": 4}}, "data.threads is 4, which only data.processes 0"),
        ({"memory": {"nvme_path": "/disk"}}, "memory.nvme_path is /disk, which only an offload to nvme"),
        ({"checkpoints": {"best_metric": "accuracy"}}, "only checkpoints.keep_best above 0"),
        ({"watch": {"evaluate_tasks": ["digits"]}}, "only watch.evaluate_every_steps above 0"),
    ],
)
def test_what_the_training_would_never_read_is_refused(values: dict[str, object], line: str) -> None:
    with pytest.raises(ValidationError, match=line):
        TrainConfig.model_validate(values)


def test_every_key_that_may_go_unread_exists_and_is_read_by_some_training() -> None:
    values = [
        {
            "schedule": "rsqrt",
            "patch_dropout": 0.5,
            "vocabulary": "x",
            "optimizer": {"text_rate": 0.5, "image_rate": 0.5},
        },
        {
            "model": "vit-b-16",
            "objective": {"label_smoothing": 0.1, "mixup_alpha": 0.2},
            "optimizer": {"head_rate": 2.0},
        },
        {"model": "vit-b-16", "objective": {"independent_classes": True}, "optimizer": {"head_weight_decay": 3.0}},
        {"model": "igpt-s", "objective": {"kind": "joint", "generative": "masked_pixels", "generative_weight": 0.5}},
        {"model": "igpt-s", "objective": {"kind": "masked_pixels", "mask_probability": 0.2, "palette": "x"}},
    ]
    configs = [TrainConfig.model_validate(each) for each in values]
    assert all(
        any(read(config) for config in configs)
        for key, read, _ in ROWS
        if key.startswith(("objective", "patch", "voc"))
    )
