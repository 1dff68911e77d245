"""The table of models: sizes as published, closed forms as built."""

import subprocess
import sys

import pytest
import torch

from pipeline.errors import ConfigError
from training.spec import REGISTRY, build, get_spec, model_table, read_spec
from training.specs.clip import ClipSpec
from training.specs.towers import ResNetTower

# Millions of parameters: image tower with projection, whole model (facts measured on OpenAI's released models).
PUBLISHED = {
    "clip-rn50": (38.32, 102.01),
    "clip-rn101": (56.26, 119.69),
    "clip-rn50x4": (87.14, 178.30),
    "clip-rn50x16": (167.33, 290.98),
    "clip-rn50x64": (420.38, 623.26),
    "clip-vit-b-32": (87.85, 151.28),
    "clip-vit-b-16": (86.19, 149.62),
    "clip-vit-l-14": (303.97, 427.62),
    "clip-vit-l-14-336": (304.29, 427.94),
    "clip-vit-h-14": (632.08, 986.11),
    "clip-vit-g-14": (1012.65, 1366.68),
    "clip-vit-bigg-14": (1844.91, 2539.57),
}
# Forward GFLOPs of a picture and a text, from open_clip's docs/model_profile.csv.
MEASURED = {
    "clip-rn50": (12.22, 5.96),
    "clip-rn101": (19.54, 5.96),
    "clip-rn50x4": (42.56, 9.27),
    "clip-rn50x16": (149.39, 13.30),
    "clip-rn50x64": (529.11, 23.55),
    "clip-vit-b-32": (8.82, 5.96),
    "clip-vit-b-16": (35.13, 5.96),
    "clip-vit-l-14": (162.03, 13.30),
    "clip-vit-l-14-336": (381.92, 13.30),
    "clip-vit-h-14": (334.59, 47.09),
    "clip-vit-g-14": (534.06, 47.09),
    "clip-vit-bigg-14": (967.50, 97.86),
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


@pytest.mark.parametrize("name", list(MEASURED))
def test_flops_are_those_measured(name: str) -> None:
    clip = REGISTRY[name]
    assert isinstance(clip, ClipSpec)
    image, text = MEASURED[name]
    flops = clip.image_flops()
    if isinstance(clip.image, ResNetTower):
        # open_clip's attention pool asks for every place and throws all answers but the mean's away.
        wide, places = clip.image.features, clip.image.grid**2
        flops += places * (2 * wide**2 + 4 * clip.image.tokens * wide + 2 * wide * clip.embedding)
    assert flops / 1e9 == pytest.approx(image, rel=1e-3)
    assert clip.text_flops() / 1e9 == pytest.approx(text, abs=0.01)


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
