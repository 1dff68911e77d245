"""What bounds a step: intervals against a slow twin, the split of a step, and a real profile of a tiny training."""

import io
import json
import random
from pathlib import Path

import pytest
from PIL import Image

from pipeline.datasets.shards import write_dataset
from pipeline.errors import ConfigError
from training.config import TrainConfig
from training.watching.profile import ADVICE, COMPUTE, Profile, covered, overlap, profile, split, verdict


def test_lengths_of_unions_and_of_their_overlap_equal_a_count_of_cells() -> None:
    draw = random.Random(0)
    for _ in range(50):
        one, other = (
            [(start, start + draw.randrange(6)) for start in (draw.randrange(40) for _ in range(draw.randrange(8)))]
            for _ in range(2)
        )
        cells = [{cell for start, end in spans for cell in range(start, end)} for spans in (one, other)]
        assert covered(one) == len(cells[0])
        assert overlap(one, other) == len(cells[0] & cells[1])


def test_a_step_is_split_into_parts_that_sum_to_it() -> None:
    """10 ms: 2 waiting, 6 computing of which a third talked and half was backward, 1 updating, 1 elsewhere."""
    traced = {
        COMPUTE: 12.0,
        "update": 2.0,
        "backward": 6.0,
        "communication": 4.0,
        f"communication in {COMPUTE}": 4.0,
        "communication in update": 0.0,
        "communication in backward": 0.0,
    }
    parts = split({"data wait": 2.0, COMPUTE: 6.0, "update": 1.0}, 10.0, traced)
    assert parts == pytest.approx(
        {"data wait": 2.0, "forward": 1.0, "backward": 3.0, "update": 1.0, "communication": 2.0, "other": 1.0}
    )
    found = Profile(5, 10.0, parts, {}, "trace.json")
    assert found.bound_by == "backward"
    assert verdict(found).startswith("a step takes 10,000.0 ms: backward 30%, ")
    waits = Profile(5, 10.0, parts | {"data wait": 7.0}, {}, "trace.json")
    assert waits.bound_by == "data wait"
    assert "train.data." in waits.to_json()["advice"]
    assert {"data wait", "update", "communication", "other", "backward"} <= set(ADVICE)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = str(tmp_path_factory.mktemp("data") / "dataset")
    samples = []
    for number in range(32):
        picture = io.BytesIO()
        Image.new("RGB", (40, 40 + number), (8 * number, 90, 30)).save(picture, "JPEG")
        samples.append((f"http://example.org/{number}.jpg", f"picture number {number}", picture.getvalue()))
    write_dataset(folder, samples, samples_per_shard=16)
    return folder


def tiny(**changes: object) -> TrainConfig:
    values = {
        "model": "clip-tiny",
        "vocabulary_size": 300,
        "context_length": 16,
        "global_batch_size": 8,
        "warmup_steps": 2,
    }
    return TrainConfig.model_validate({**values, "steps": 100, "threads_per_worker": 1, **changes})


def test_a_profile_leaves_a_trace_and_says_what_bounds_the_step(dataset: str, tmp_path: Path) -> None:
    found = profile(tiny(), dataset, str(tmp_path), steps=3)
    assert found is not None
    assert sum(found.shares.values()) == pytest.approx(1, abs=0.02)
    assert found.seconds["backward"] > 0
    assert found.seconds["forward"] > 0
    assert found.seconds["update"] > 0
    written = json.loads((tmp_path / "profile.json").read_text())
    assert written["advice"] == ADVICE[found.bound_by]
    events = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert sum(event.get("name") == COMPUTE for event in events) >= 3
    assert "data wait" in written["shares"]
    assert not [name for name in written["measured"] if "wait" in name]  # one figure, of the profiled steps
    assert not (tmp_path / "checkpoint").exists()


def test_a_training_shorter_than_its_profile_is_told(dataset: str, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match=r"train.steps: the training ends before the profile's 9 steps; set 10 or more"
    ):
        profile(tiny(steps=5), dataset, str(tmp_path), steps=3)
