"""Makes the golden CLIP folders beside it: tiny random weights written, and measured, by the peers' own code.

    python -m venv peers && peers/bin/pip install torch transformers==5.23.0 open_clip_torch==3.3.0 ftfy regex
    peers/bin/python tests/golden_clip/make.py

open_clip imports torchvision for its picture transforms, which are not used here: where it is missing, empty modules stand
in for it. The tests compare our embeddings with expected.json and need neither package.
"""

import gzip
import importlib.abc
import importlib.machinery
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch
from PIL import Image

HERE = Path(__file__).parent
TEXTS = [
    "a red square on a table",
    "Two   dogs, one cat's toy & 37 birds!",
    "straße im Winter — déjà vu",
    "猫",
    "",
    "a very long caption that does not fit into the sixteen places of this tiny text tower at all, not even half",
]
SIZES = [(37, 51), (64, 40), (24, 24), (90, 33)]
WORDS = [
    "a",
    "red",
    "square",
    "on",
    "table",
    "dog",
    "dogs",
    "cat",
    "two",
    "one",
    "in",
    "the",
    "of",
    "not",
    "very",
    "long",
]


def _any_class(name: str) -> type:
    if name.startswith("__"):
        raise AttributeError(name)
    return type(name, (), {})


class _Nothing(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Empty modules for torchvision and timm and what needs them; any attribute is a class."""

    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torchvision", "timm") or name == "open_clip.transform":
            return importlib.machinery.ModuleSpec(name, self, is_package=True)
        return None

    def create_module(self, spec):
        module = types.ModuleType(spec.name)
        module.__path__ = []
        module.__version__ = "0"
        module.__getattr__ = _any_class
        return module

    def exec_module(self, module):
        pass


def pictures() -> list[Image.Image]:
    """Smooth noise; the tests make the same."""
    found = []
    for seed, size in enumerate(SIZES):
        noise = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
        found.append(Image.fromarray(noise).resize(size, Image.Resampling.BICUBIC))
    return found


def merges() -> list[str]:
    """Enough merges that the words above become one piece each."""
    lines: dict[str, None] = {}
    for word in WORDS:
        pieces = [*word[:-1], word[-1] + "</w>"]
        while len(pieces) > 1:
            lines[f"{pieces[0]} {pieces[1]}"] = None
            pieces = [pieces[0] + pieces[1], *pieces[2:]]
    return list(lines)


def vocabulary(lines: list[str]) -> dict[str, int]:
    from open_clip.tokenizer import bytes_to_unicode

    letters = list(bytes_to_unicode().values())
    words = [*letters, *(f"{each}</w>" for each in letters), *("".join(line.split()) for line in lines)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return {word: number for number, word in enumerate(words)}


def rounded(tensor: torch.Tensor) -> list[list[float]]:
    return [[round(float(value), 6) for value in row] for row in tensor]


@torch.inference_mode()
def huggingface(folder: Path, lines: list[str], words: dict[str, int]) -> dict[str, object]:
    from transformers import CLIPTokenizer
    from transformers.models.clip.configuration_clip import CLIPConfig
    from transformers.models.clip.modeling_clip import CLIPModel

    folder.mkdir(exist_ok=True)
    (folder / "vocab.json").write_text(json.dumps(words, ensure_ascii=False), "utf-8")
    (folder / "merges.txt").write_text("#version: 0.2\n" + "\n".join(lines) + "\n", "utf-8")
    last = len(words) - 1
    shape = {"hidden_size": 16, "intermediate_size": 40, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CLIPConfig(
        vision_config={**shape, "image_size": 24, "patch_size": 8, "layer_norm_eps": 1e-4},
        text_config={
            **shape, "vocab_size": len(words), "max_position_embeddings": 16, "bos_token_id": last - 1,
            "eos_token_id": last, "pad_token_id": last,
        },
        projection_dim=12,
    )  # fmt: skip
    torch.manual_seed(1)
    model = CLIPModel(config).eval()
    for parameter in model.parameters():  # biases and norms start at 0 and 1: make every tensor count
        parameter.add_(0.3 * torch.randn_like(parameter) / max(1, parameter.shape[-1] if parameter.ndim else 1) ** 0.5)
    model.save_pretrained(folder, safe_serialization=True)
    mean, std = [0.5, 0.45, 0.4], [0.3, 0.25, 0.27]
    prepared = {"size": {"shortest_edge": 24}, "crop_size": {"height": 24, "width": 24}, "resample": 3}
    (folder / "preprocessor_config.json").write_text(json.dumps(prepared | {"image_mean": mean, "image_std": std}))
    try:
        from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil as Processor
    except ImportError:
        from transformers.models.clip.image_processing_clip import CLIPImageProcessor as Processor
    pixels = Processor(**prepared, image_mean=mean, image_std=std)(pictures(), return_tensors="pt")["pixel_values"]
    tokenizer = CLIPTokenizer.from_pretrained(folder)
    tokens = tokenizer(TEXTS, padding="max_length", max_length=16, truncation=True, return_tensors="pt")
    vision = model.vision_model(pixel_values=pixels).pooler_output
    text = model.text_model(input_ids=tokens["input_ids"], attention_mask=tokens["attention_mask"]).pooler_output
    return {
        "ids": [[int(each) for each, seen in zip(*row, strict=True) if seen]
                for row in zip(tokens["input_ids"], tokens["attention_mask"], strict=True)],
        "images": rounded(model.visual_projection(vision)),
        "texts": rounded(model.text_projection(text)),
    }  # fmt: skip


@torch.inference_mode()
def openclip(folder: Path, lines: list[str]) -> dict[str, object]:
    from open_clip.model import CLIP, CLIPTextCfg, CLIPVisionCfg
    from open_clip.tokenizer import SimpleTokenizer
    from safetensors.torch import save_file

    folder.mkdir(exist_ok=True)
    path = folder / "bpe_simple_vocab_16e6.txt.gz"
    with open(path, "wb") as file, gzip.GzipFile("", "wb", mtime=0, fileobj=file) as packed:
        packed.write(("#version: 0.2\n" + "\n".join(lines)).encode())  # it would read a last empty line as a merge
    tokenizer = SimpleTokenizer(str(path), context_length=16)
    vision = {"image_size": 24, "layers": 2, "width": 16, "head_width": 8, "patch_size": 8, "mlp_ratio": 2.5}
    text = {"context_length": 16, "vocab_size": tokenizer.vocab_size, "width": 16, "heads": 2, "layers": 2}
    torch.manual_seed(2)
    model = CLIP(12, CLIPVisionCfg(**vision), CLIPTextCfg(**text), quick_gelu=True).eval()
    for parameter in model.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter) / max(1, parameter.shape[-1] if parameter.ndim else 1) ** 0.5)
    save_file(
        {name: each.contiguous() for name, each in model.state_dict().items()}, folder / "open_clip_model.safetensors"
    )
    config = {"embed_dim": 12, "quick_gelu": True, "vision_cfg": vision, "text_cfg": text}
    mean, std = [0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711]
    prepared = {"mean": mean, "std": std, "interpolation": "bicubic", "resize_mode": "shortest"}
    value = {"model_cfg": config, "preprocess_cfg": prepared}
    (folder / "open_clip_config.json").write_text(json.dumps(value, indent=1))
    # What torchvision's Resize and CenterCrop do to a PIL picture, in PIL's words.
    squares = []
    for picture in pictures():
        width, height = picture.size
        size = (24, int(24 * height / width)) if width <= height else (int(24 * width / height), 24)
        picture = picture.resize(size, Image.Resampling.BICUBIC)
        left, top = round((size[0] - 24) / 2), round((size[1] - 24) / 2)
        squares.append(np.asarray(picture.crop((left, top, left + 24, top + 24)), np.float32) / 255)
    pixels = (torch.from_numpy(np.stack(squares)) - torch.tensor(mean)) / torch.tensor(std)
    tokens = tokenizer(TEXTS)
    return {
        "ids": [[int(each) for each in row[: int(row.argmax()) + 1]] for row in tokens],
        "images": rounded(model.encode_image(pixels.permute(0, 3, 1, 2))),
        "texts": rounded(model.encode_text(tokens)),
    }


def main() -> None:
    import transformers.models.clip.modeling_clip  # it looks for torchvision, and must not find the stand-in

    assert transformers.__version__
    sys.meta_path.insert(0, _Nothing())
    lines = merges()
    words = vocabulary(lines)
    expected = {
        "huggingface": huggingface(HERE / "huggingface", lines, words),
        "open_clip": openclip(HERE / "open_clip", lines),
    }
    (HERE / "expected.json").write_text(json.dumps(expected) + "\n", "utf-8")


if __name__ == "__main__":
    main()
