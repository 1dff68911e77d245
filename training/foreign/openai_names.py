"""Tensor names of OpenAI's CLIP (clip/model.py), which open_clip kept."""

from training.foreign.links import SCALAR, TRANSPOSED, Link, both, link
from training.specs.clip import ClipSpec
from training.specs.towers import ImageTower, ResNetTower, TextTower

# Counters and masks, which are no weights; the three numbers lie in OpenAI's own files.
NO_WEIGHTS = (
    r"(.*\.)?(attn_mask|position_ids|num_batches_tracked)|input_resolution|context_length|vocab_size"
    r"|transformer\.h\.\d+\.attn\.(masked_)?bias"
)


def openai_links(spec: ClipSpec) -> list[Link]:
    """For OpenAI's state dicts and open_clip's."""
    links = [link("logit_scale", "logit_scale", SCALAR), link("text_projection.weight", "text_projection", TRANSPOSED)]
    if spec.logit_bias:
        links.append(link("logit_bias", "logit_bias", SCALAR))
    links += _openai_resnet(spec.image) if isinstance(spec.image, ResNetTower) else _openai_vit(spec.image)
    assert isinstance(spec.text, TextTower)
    links += [
        link("text.token_embedding.weight", "token_embedding.weight"),
        link("text.positional_embedding", "positional_embedding"),
        *both("text.ln_final", "ln_final"),
        *_openai_blocks("text.transformer.blocks", "transformer.resblocks", spec.text.layers),
    ]
    return links


def _openai_vit(tower: ImageTower) -> list[Link]:
    return [
        link("image_projection.weight", "visual.proj", TRANSPOSED),
        link("visual.class_embedding", "visual.class_embedding"),
        link("visual.positional_embedding", "visual.positional_embedding"),
        link("visual.conv1.weight", "visual.conv1.weight"),
        *both("visual.ln_pre", "visual.ln_pre"),
        *both("visual.ln_post", "visual.ln_post"),
        *_openai_blocks("visual.transformer.blocks", "visual.transformer.resblocks", tower.layers),
    ]


def _openai_blocks(ours: str, theirs: str, layers: int) -> list[Link]:
    links = []
    for layer in range(layers):
        mine, other = f"{ours}.{layer}", f"{theirs}.{layer}"
        links += [link(f"{mine}.attn.in_proj.{part}", f"{other}.attn.in_proj_{part}") for part in ("weight", "bias")]
        links += both(f"{mine}.attn.out_proj", f"{other}.attn.out_proj")
        links += both(f"{mine}.c_fc", f"{other}.mlp.c_fc") + both(f"{mine}.c_proj", f"{other}.mlp.c_proj")
        links += both(f"{mine}.ln_1", f"{other}.ln_1") + both(f"{mine}.ln_2", f"{other}.ln_2")
    return links


def _openai_resnet(tower: ResNetTower) -> list[Link]:
    links = both("image_projection", "visual.attnpool.c_proj")
    links.append(link("visual.attnpool.positional_embedding", "visual.attnpool.positional_embedding"))
    for name in ("q_proj", "k_proj", "v_proj"):
        links += both(f"visual.attnpool.{name}", f"visual.attnpool.{name}")
    links += _convolutions("visual", "visual")
    for stage, blocks in enumerate(tower.blocks):
        for block in range(blocks):
            ours, theirs = f"visual.stages.{stage}.{block}", f"visual.layer{stage + 1}.{block}"
            links += _convolutions(ours, theirs)
            if not block:  # ours counts the average as 0
                links.append(link(f"{ours}.shortcut.1.weight", f"{theirs}.downsample.0.weight"))
                links += _batch_norm(f"{ours}.shortcut.2", f"{theirs}.downsample.1")
    return links


def _convolutions(ours: str, theirs: str) -> list[Link]:
    """Three convolutions and their norms: the stem, and each bottleneck."""
    links = []
    for number in "123":
        links.append(link(f"{ours}.conv{number}.weight", f"{theirs}.conv{number}.weight"))
        links += _batch_norm(f"{ours}.bn{number}", f"{theirs}.bn{number}")
    return links


def _batch_norm(ours: str, theirs: str) -> list[Link]:
    return [link(f"{ours}.{part}", f"{theirs}.{part}") for part in ("weight", "bias", "running_mean", "running_var")]
