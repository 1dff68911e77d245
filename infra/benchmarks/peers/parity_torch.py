"""The peer of parity: opens a model as open_clip's or transformers' users would, runs it, and saves it with its own code.

Runs in an environment with TORCH_PEERS. Answers run with the number of parameters, tokens when open_clip's ids are written.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))
from torch_peers import PREPARE

exec(PREPARE)

import torch  # noqa: E402
from safetensors.torch import load_file, save_file  # noqa: E402
from torch.nn import functional  # noqa: E402


def open_clip_model(given, back, layout):
    import open_clip

    if layout == "openai":
        model = open_clip.load_openai_model(f"{given}/model.pt", precision="fp32", device="cpu")
    else:
        model = open_clip.create_model(f"local-dir:{given}")
    back.mkdir()
    if layout == "openai":
        torch.save(model.state_dict(), back / "model.pt")
    else:
        save_file(
            {name: each.contiguous() for name, each in model.state_dict().items()}, back / "open_clip_model.safetensors"
        )
        (back / "open_clip_config.json").write_text((Path(given) / "open_clip_config.json").read_text("utf-8"))

    def run(pixels, tokens):
        return {
            "image": model.encode_image(pixels, normalize=True),
            "text": model.encode_text(tokens, normalize=True),
        }

    return model, run


def transformers_clip(given, back):
    from transformers.models.clip.modeling_clip import CLIPModel

    model = CLIPModel.from_pretrained(given)
    model.save_pretrained(back)

    def run(pixels, tokens):
        vision = model.vision_model(pixel_values=pixels).pooler_output
        text = model.text_model(input_ids=tokens).pooler_output
        return {
            "image": functional.normalize(model.visual_projection(vision), dim=-1),
            "text": functional.normalize(model.text_projection(text), dim=-1),
        }

    return model, run


def transformers_vit(given, back):
    from transformers.models.vit.modeling_vit import ViTForImageClassification, ViTModel

    kinds = json.loads((Path(given) / "config.json").read_text("utf-8"))["architectures"]
    model = (ViTModel if kinds == ["ViTModel"] else ViTForImageClassification).from_pretrained(given)
    model.save_pretrained(back)
    (back / "preprocessor_config.json").write_text((Path(given) / "preprocessor_config.json").read_text("utf-8"))

    def run(pixels):
        found = model(pixel_values=pixels)
        return {"logits": found.pooler_output if kinds == ["ViTModel"] else found.logits}

    return model, run


def transformers_igpt(given, back):
    from transformers.models.imagegpt.modeling_imagegpt import ImageGPTForCausalImageModeling

    model = ImageGPTForCausalImageModeling.from_pretrained(given)
    model.save_pretrained(back)
    (back / "preprocessor_config.json").write_text((Path(given) / "preprocessor_config.json").read_text("utf-8"))

    def run(ids):
        return {"logits": model(input_ids=ids, use_cache=False).logits}

    return model, run


def plain_igpt(given, heads):
    """iGPT written out from the paper and the released particulars, on the files that ours wrote; no library's model."""
    tensors = load_file(f"{given}/model.safetensors")

    def normed(x, name):
        return x / (x.pow(2).mean(dim=-1, keepdim=True) + 1e-5).sqrt() * tensors[f"{name}.weight"]

    def times(x, name):
        return x @ tensors[f"{name}.weight"] + tensors[f"{name}.bias"]

    def run(ids):
        x = tensors["transformer.wte.weight"][ids] + tensors["transformer.wpe.weight"]
        layers = 1 + max(int(name.split(".")[2]) for name in tensors if name.startswith("transformer.h."))
        future = torch.ones(ids.shape[1], ids.shape[1]).triu(1).bool()
        for layer in range(layers):
            here = f"transformer.h.{layer}"
            parts = times(normed(x, f"{here}.ln_1"), f"{here}.attn.c_attn").chunk(3, dim=-1)
            q, k, v = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in parts)
            scores = (q @ k.transpose(2, 3) / q.shape[-1] ** 0.5).masked_fill(future, float("-inf"))
            x = x + times((scores.softmax(dim=-1) @ v).transpose(1, 2).flatten(2), f"{here}.attn.c_proj")
            hidden = times(normed(x, f"{here}.ln_2"), f"{here}.mlp.c_fc")
            x = x + times(hidden * torch.sigmoid(1.702 * hidden), f"{here}.mlp.c_proj")
        return {"logits": normed(x, "transformer.ln_f") @ tensors["lm_head.weight"].T}

    return torch.nn.Module(), run


@torch.inference_mode()
def run_model(job):
    back, given = Path(job["back"]), job["there"]
    torch.set_num_threads(job["threads"])
    if job["plain"]:
        model, run = plain_igpt(given, job["heads"])
    elif job["layout"] == "huggingface":
        openers = {"clip": transformers_clip, "vit": transformers_vit, "igpt": transformers_igpt}
        model, run = openers[job["family"]](given, back)
    else:
        model, run = open_clip_model(given, back, job["layout"])
    model.eval()
    found = run(**load_file(f"{job['folder']}/inputs.safetensors"))
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, f"{job['folder']}/outputs.safetensors")
    return {"parameters": sum(each.numel() for each in model.parameters())}


def write_tokens(job):
    import open_clip

    texts = json.loads(Path(job["folder"], "texts.json").read_text("utf-8"))
    ids = open_clip.SimpleTokenizer(context_length=77)(texts).tolist()
    Path(job["folder"], "tokens.json").write_text(json.dumps(ids))
    return {"texts": len(texts)}


def write_exported_tokens(job):
    """Ids by the tokenizer in an exported folder, as each library's users ask for it."""
    texts = json.loads(Path(job["folder"], "texts.json").read_text("utf-8"))
    if job["layout"] == "open_clip":
        import open_clip

        ids = open_clip.get_tokenizer(f"local-dir:{job['there']}")(texts).tolist()
    else:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(job["there"])
        ids = tokenizer(texts, truncation=True, max_length=77, padding="max_length")["input_ids"]
    Path(job["folder"], "tokens.json").write_text(json.dumps(ids))
    return {"texts": len(texts)}


def count(job):
    """Parameters of a model that is too large to run here: shapes without numbers."""
    with torch.device("meta"):
        if job["layout"] == "huggingface":
            from transformers.models.vit.modeling_vit import ViTConfig, ViTForImageClassification

            model = ViTForImageClassification(ViTConfig(**job["config"]["config.json"]))
        else:
            from open_clip.model import CLIP

            model = CLIP(**job["config"]["model_cfg"])
    return {"parameters": sum(each.numel() for each in model.parameters())}


ANSWERS = {"run": run_model, "count": count, "tokens": write_tokens, "exported": write_exported_tokens}


def main():
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    for line in sys.stdin:
        print(json.dumps(ANSWERS[line.strip()](job)), flush=True)


if __name__ == "__main__":
    main()
