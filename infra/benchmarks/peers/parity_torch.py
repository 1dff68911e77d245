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

    return model, run, {"open_clip": open_clip.__version__}


def transformers_clip(given, back):
    import transformers
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

    return model, run, {"transformers": transformers.__version__}


@torch.inference_mode()
def run_model(job):
    back = Path(job["back"])
    if job["layout"] == "huggingface":
        model, run, versions = transformers_clip(job["given"], back)
    else:
        model, run, versions = open_clip_model(job["given"], back, job["layout"])
    model.eval()
    found = run(**load_file(f"{job['folder']}/inputs.safetensors"))
    save_file({name: tensor.contiguous() for name, tensor in found.items()}, f"{job['folder']}/outputs.safetensors")
    return {"parameters": sum(each.numel() for each in model.parameters()), "versions": versions}


def write_tokens(job):
    import open_clip

    texts = json.loads(Path(job["folder"], "texts.json").read_text("utf-8"))
    ids = open_clip.SimpleTokenizer(context_length=77)(texts).tolist()
    Path(job["folder"], "tokens.json").write_text(json.dumps(ids))
    return {"texts": len(texts)}


def main():
    job = json.loads(Path(sys.argv[1]).read_text("utf-8"))
    for line in sys.stdin:
        answer = run_model(job) if line.strip() == "run" else write_tokens(job)
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
