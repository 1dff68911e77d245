"""The table of models: sizes as published, closed forms as built."""

import subprocess
import sys

import pytest
import torch

from pipeline.errors import ConfigError
from training.spec import REGISTRY, build, get_spec, model_table, read_spec
from training.specs.clip import ClipSpec

# Millions of parameters: image tower with projection, whole model (facts measured on OpenAI's released models).
PUBLISHED = {
    "clip-vit-b-32": (87.85, 151.28),
    "clip-vit-b-16": (86.19, 149.62),
    "clip-vit-l-14": (303.97, 427.62),
    "clip-vit-l-14-336": (304.29, 427.94),
}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_a_model_of_the_paper_has_the_published_number_of_parameters(name: str) -> None:
    visual, total = PUBLISHED[name]
    clip = REGISTRY[name]
    assert isinstance(clip, ClipSpec)
    assert round(clip.image_parameters() / 1e6, 2) == visual
    assert round(clip.parameters() / 1e6, 2) == total


@pytest.mark.parametrize("name", list(REGISTRY))
def test_the_closed_form_counts_what_is_built(name: str) -> None:
    with torch.device("meta"):
        model = build(REGISTRY[name])
    assert sum(parameter.numel() for parameter in model.parameters()) == REGISTRY[name].parameters()


def test_flops_of_a_picture_are_those_measured_for_vit_b_32() -> None:
    # 8.82 GFLOPs forward in open_clip's docs/model_profile.csv.
    assert REGISTRY["clip-vit-b-32"].image_flops() / 1e9 == pytest.approx(8.82, abs=0.01)


def test_a_spec_survives_json() -> None:
    for spec in REGISTRY.values():
        assert read_spec(spec.to_json()) == spec


def test_an_unknown_model_is_one_line_that_names_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"no model .clip-huge.*clip-tiny"):
        get_spec("clip-huge")


def test_the_model_table_has_a_row_per_model() -> None:
    assert [row["model"] for row in model_table()] == list(REGISTRY)


def test_reading_configs_and_model_names_imports_no_torch() -> None:
    code = (
        "import sys, training.config, training.spec; training.spec.model_table();"
        "print([m for m in ('torch', 'deepspeed', 'numpy', 'pyarrow') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
