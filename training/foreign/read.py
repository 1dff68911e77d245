"""Models of others as ours.

    read_foreign("folder")             open_clip: open_clip_config.json, open_clip_model.safetensors (or *_pytorch_model.bin)
                                       Hugging Face: config.json of a CLIPModel, ViTForImageClassification, ViTModel or ImageGPT,
                                       preprocessor_config.json, model.safetensors (or pytorch_model.bin)
    read_foreign("folder/ViT-B-32.pt") OpenAI's CLIP: a TorchScript archive or a state dict, safetensors too
    read_foreign("folder/epoch_9.pt")  a file of open_clip's training, with open_clip's configuration beside it

The tokenizer lies beside them: training/tokens/clip_vocabulary.py. Whatever a configuration asks that our models do not do is
refused by its key, never ignored; every tensor must be wanted, there, and of the right shape.
"""

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pipeline import storage
from pipeline.errors import ConfigError, DataError
from pipeline.scoring.scorers import PixelForm
from training.foreign import open_clip, tensor_names
from training.foreign.fields import name_of
from training.foreign.links import Link, to_ours
from training.foreign.models import HUGGINGFACE, read_huggingface
from training.foreign.openai_names import openai_links
from training.specs.base import ModelSpec
from training.specs.clip import ClipSpec
from training.tokens.clip_vocabulary import TOKENIZER_FILES
from training.tokens.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor

    from training.models.base import Model

Layout = Literal["openai", "open_clip", "huggingface"]
WEIGHTS: Mapping[str, tuple[str, ...]] = {
    "open_clip": ("open_clip_model.safetensors", "open_clip_pytorch_model.bin"),
    "huggingface": tensor_names.HUGGINGFACE,
}
CONFIGS: Mapping[str, Layout] = {open_clip.CONFIG: "open_clip", "config.json": "huggingface"}
EXTRA = "preprocessor_config.json"
FILES = (".pt", ".pth", ".bin", ".safetensors")


@dataclass(frozen=True)
class ForeignModel:
    """What lies in `folder`; `files` names all that was or will be read: configuration, weights, tokenizer."""

    folder: str
    layout: Layout
    spec: ModelSpec
    form: PixelForm
    weight_files: tuple[str, ...]
    tokenizer_files: tuple[str, ...]
    config_files: tuple[str, ...]

    @functools.cached_property
    def files(self) -> Mapping[str, str]:
        """Each file's sha256."""
        names = (*self.config_files, *self.weight_files, *self.tokenizer_files)
        return {name: storage.sha256_file(storage.join(self.folder, name)) for name in names}

    @property
    def id(self) -> str:
        """SHA-256 over the files' checksums: equal weights, tokenizer and configuration, equal id."""
        return storage.sha256(storage.canonical_json(dict(self.files)))

    def weights(self) -> dict[str, "Tensor"]:
        """By our names, float32. Raises DataError naming the tensor that is missing, superfluous or of another shape."""
        from training.foreign.files import read_tensors
        from training.models.shapes import shapes_alone

        where = storage.join(self.folder, self.weight_files[0])
        with shapes_alone():
            wanted = self.spec.build().state_dict()
        made = to_ours(self._links(), _plain(read_tensors(self.folder, self.weight_files), self.layout), where)
        if self.layout == "huggingface" and EXTRA in self.config_files:
            extra = storage.read_json(storage.join(self.folder, EXTRA))
            made |= HUGGINGFACE[self.spec.family].tensors_of_configs(extra)
        for name, tensor in sorted(made.items()):
            if tensor.shape != wanted[name].shape:
                raise DataError(
                    f"{where}: {name} has shape {tuple(tensor.shape)}, its configuration says {tuple(wanted[name].shape)}"
                )
        return made

    def _links(self) -> list[Link]:
        if self.layout == "huggingface":
            return HUGGINGFACE[self.spec.family].links(self.spec)
        assert isinstance(self.spec, ClipSpec)
        return openai_links(self.spec)

    def model(self) -> "Model":
        """The model in evaluation mode, float32, on the CPU."""
        from training.models.shapes import shapes_alone

        with shapes_alone():
            model = self.spec.build()
        model.load_state_dict(self.weights(), assign=True)
        model.reset_constants()
        return model.eval().requires_grad_(False)

    def classes(self) -> tuple[str, ...]:
        """Names of the classes that the model tells apart; () where it tells none or they have no names."""
        if self.layout != "huggingface":
            return ()
        return HUGGINGFACE[self.spec.family].classes(storage.read_json(storage.join(self.folder, "config.json")))

    def tokenizer(self) -> Tokenizer:
        """Raises DataError where none lies beside the weights, or the model reads no text."""
        if not isinstance(self.spec, ClipSpec):
            raise DataError(f"{self.folder}: {self.spec.name} reads no text, so it has no tokenizer")
        return Tokenizer.released(self.folder, self.spec.text.context)


def read_foreign(place: str) -> ForeignModel:
    """The model in a folder or file of others; weights are read when they are asked for.

    Raises DataError where there is none, or one whose configuration our models do not fit.
    """
    if place.endswith(FILES):
        return _one_file(place)
    names = storage.list_names(place)
    for config_name, layout in CONFIGS.items():
        if config_name not in names:
            continue
        found = next((each for each in WEIGHTS[layout] if each in names), None)
        if found is None:
            raise DataError(f"{place}: has {config_name} and no weights; put {WEIGHTS[layout][0]} beside it")
        return _configured(place, names, config_name, found)
    raise DataError(
        f"{place}: holds no {' or '.join(CONFIGS)}; give the folder of an open_clip or Hugging Face model, or the file of"
        " one of OpenAI's"
    )


def _configured(folder: str, names: list[str], config_name: str, weights: str) -> ForeignModel:
    layout = CONFIGS[config_name]
    config = storage.read_json(storage.join(folder, config_name))
    extra = storage.read_json(storage.join(folder, EXTRA)) if EXTRA in names else {}
    read = open_clip.read if layout == "open_clip" else read_huggingface
    try:
        spec, form = read(folder, config, extra)
    except ConfigError as error:  # sizes that no tower can have
        raise DataError(f"{folder}/{config_name}: {error}") from error
    configs = tuple(each for each in (config_name, EXTRA) if each in names)
    return ForeignModel(folder, layout, spec, form, _parts(folder, weights), _tokenizer_files(names), configs)


def _one_file(path: str) -> ForeignModel:
    """By the configuration beside it where there is one; else what shapes tell of OpenAI's."""
    folder, _, name = path.rpartition("/")
    folder = folder or "."
    names = storage.list_names(folder)
    if open_clip.CONFIG in names:
        return _configured(folder, names, open_clip.CONFIG, name)
    if name in WEIGHTS["huggingface"] and "config.json" in names:
        return _configured(folder, names, "config.json", name)
    return _openai(folder, name, names)


def _parts(folder: str, name: str) -> tuple[str, ...]:
    """The files of weights that an index names, or the one there is."""
    if not name.endswith(".index.json"):
        return (name,)
    return tuple(sorted(set(storage.read_json(storage.join(folder, name))["weight_map"].values())))


def _openai(folder: str, name: str, names: list[str]) -> ForeignModel:
    from training.foreign.files import read_bare_tensors
    from training.foreign.openai import spec_of

    path = storage.join(folder, name)
    tensors, signs = read_bare_tensors(folder, name)
    if signs or name in WEIGHTS["open_clip"]:
        raise DataError(
            f"{path}: is of open_clip's training ({', '.join(signs) or 'by its name'}), and tensors do not say which"
            f" activation and heads they were trained with; put open_clip's model_configs/NAME.json beside it as {open_clip.CONFIG}"
        )
    spec = spec_of(tensors, name_of(path), path)
    return ForeignModel(
        folder, "openai", spec, PixelForm(spec.image_size, "round"), (name,), _tokenizer_files(names), ()
    )


def _tokenizer_files(names: list[str]) -> tuple[str, ...]:
    return tuple(each for each in TOKENIZER_FILES if each in names)


def _plain(tensors: dict[str, "Tensor"], layout: Layout) -> dict[str, "Tensor"]:
    """open_clip calls a text tower's tensors text.* where it was built by parts, and may have a layer as projection."""
    if layout == "huggingface":
        return tensors
    plain = {name.removeprefix("text."): tensor for name, tensor in tensors.items()}
    if "text_projection.weight" in plain:
        plain["text_projection"] = plain.pop("text_projection.weight").T.contiguous()
    return plain
