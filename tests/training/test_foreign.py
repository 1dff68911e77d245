"""Out to each library's format and back: bit for bit, and to the same spec. What the libraries compute from it is measured by
infra/benchmarks/parity.py; here stands what needs none of them.
"""

import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from evaluation.models.encoder import Encoder
from evaluation.models.foreign import pixel_form
from evaluation.models.own_classes import tells_classes
from pipeline.errors import ConfigError, DataError
from pipeline.scoring.scorers import PixelForm
from training.foreign.read import Layout, read_foreign
from training.foreign.torchscript import is_torchscript, read_torchscript
from training.foreign.write import write_foreign
from training.models.adapt import adapted
from training.saving.checkpoint import Checkpoint, checksums, write_model
from training.saving.conversion import export_model, import_model
from training.saving.meanings import Meanings
from training.saving.opening import open_model
from training.spec import REGISTRY
from training.specs.base import ModelSpec
from training.specs.clip import ClipSpec
from training.specs.igpt import IgptSpec
from training.specs.towers import ImageTower, ResNetTower, TextTower, WordsTower
from training.specs.vit import VitSpec, tower
from training.tokens.tokenizer import Tokenizer

TEXTS = ["a red circle", "two dogs", "a photo of a cat"] * 3
WORDS = Tokenizer.train(TEXTS, 270, 12)
TEXT = TextTower(128, 2, 2, context=12, vocabulary=270)
VIT = ClipSpec("m", 24, ImageTower(32, 8, 64, 2, 1), TEXT)
ODD = replace(VIT, activation="gelu", image=replace(VIT.image, heads=4, mlp=200), text=replace(TEXT, heads=4, mlp=96))
RESNET = ClipSpec("m", 24, ResNetTower(64, (1, 2, 1, 1), 8), TEXT)
CASES: list[tuple[ModelSpec, Layout]] = [
    (VIT, "openai"),
    (VIT, "open_clip"),
    (VIT, "huggingface"),
    (RESNET, "openai"),
    (RESNET, "open_clip"),
    (replace(ODD, logit_bias=True), "open_clip"),
    (replace(ODD, image=replace(ODD.image, epsilon=1e-6, pixel_mean=(0.5, 0.4, 0.3))), "huggingface"),
    (VitSpec("m", tower(32, 8, 48, 2, 3, mlp=100), classes=7), "huggingface"),
    (VitSpec("m", tower(32, 8, 48, 2, 3), classes=0), "huggingface"),
    (VitSpec("m", tower(32, 8, 48, 2, 3), classes=0, representation=40), "huggingface"),
    (IgptSpec("m", 4, 24, 2, 2, colours=9), "huggingface"),
]


def checkpoint(spec: ModelSpec, folder: Path) -> Checkpoint:
    """Random weights in every tensor."""
    torch.manual_seed(3)
    weights = {name: torch.rand_like(each) + 0.1 for name, each in spec.build().state_dict().items()}
    write_model(str(folder), weights, Meanings(WORDS))
    return Checkpoint(str(folder), spec, 0, 0, "none", {}, 1, checksums(str(folder)))


@pytest.mark.parametrize(("spec", "layout"), CASES, ids=lambda value: value if isinstance(value, str) else value.family)
def test_a_model_comes_back_from_another_format_bit_for_bit(spec: ModelSpec, layout: Layout, tmp_path: Path) -> None:
    made = checkpoint(spec, tmp_path / "ours")
    files = write_foreign(made, layout, str(tmp_path / "m"))
    assert sorted(files) == sorted(path.name for path in (tmp_path / "m").iterdir())
    back = read_foreign(str(tmp_path / "m" / "model.pt") if layout == "openai" else str(tmp_path / "m"))
    assert replace(back.spec, name="m") == spec
    assert back.layout == layout
    before, after = load_file(tmp_path / "ours" / "model.safetensors"), back.weights()
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    assert back.form.side == spec.image_size
    if isinstance(spec, ClipSpec):
        assert torch.equal(back.tokenizer().encode([*TEXTS, "Ünïcode  Text"]), WORDS.encode([*TEXTS, "Ünïcode  Text"]))
    else:
        with pytest.raises(DataError, match="reads no text"):
            back.tokenizer()


def test_what_another_library_cannot_express_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    plain = REGISTRY["vit-tiny-8-map"]
    refused: list[tuple[ModelSpec, Layout, str]] = [
        (RESNET, "huggingface", "residual network"),
        (replace(VIT, logit_bias=True), "huggingface", "logit_bias"),
        (replace(VIT, activation="gelu"), "openai", "what a state dict does not say"),
        (replace(VIT, image=replace(VIT.image, stem="convolutions")), "open_clip", "stem of convolutions"),
        (replace(VIT, image=replace(VIT.image, epsilon=1e-6)), "open_clip", "epsilon"),
        (replace(VIT, text=WordsTower(64, 12, 270)), "open_clip", "bag of words"),
        (plain, "huggingface", "otherwise than by a class token"),
        (plain, "open_clip", "is of family vit"),
        (
            IgptSpec("m", 4, 24, 2, 2, colours=9, classes=3),
            "huggingface",
            "behind a start vector, beside its head of colours",
        ),
    ]
    for number, (spec, layout, said) in enumerate(refused):
        ours = Checkpoint(str(tmp_path), spec, 0, 0, "none", {}, 1, {})
        with pytest.raises(ConfigError, match=said):
            write_foreign(ours, layout, str(tmp_path / str(number)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_openai_s_torchscript_archives_are_read_without_running_them(tmp_path: Path) -> None:
    class Inner(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = torch.nn.ModuleList([torch.nn.Conv1d(3, 2, 1), torch.nn.BatchNorm1d(2)])
            self.turned = torch.nn.Parameter(torch.randn(4, 3).half().T)
            self.register_buffer("input_resolution", torch.tensor(224))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            for layer in self.layers:
                x = layer(x)
            return x

    torch.manual_seed(0)
    module = Inner().eval()
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(module, torch.randn(1, 3, 4)), file)
    assert is_torchscript(file.getvalue())
    found = read_torchscript(file.getvalue())
    expected = {name: each for name, each in module.state_dict().items() if not name.endswith("tracked")}
    assert {*expected} <= {*found}
    for name, tensor in expected.items():
        assert torch.equal(found[name], tensor)
        assert found[name].dtype == tensor.dtype


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_openai_s_archive_becomes_the_model_that_its_state_dict_is(tmp_path: Path) -> None:
    made = checkpoint(RESNET, tmp_path / "ours")
    write_foreign(made, "openai", str(tmp_path / "m"))
    tensors = torch.load(tmp_path / "m" / "model.pt", weights_only=True)

    class Empty(torch.nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x

    root = Empty()
    for name, tensor in tensors.items():
        *path, last = name.split(".")
        here: torch.nn.Module = root
        for part in path:
            if not hasattr(here, part):
                here.add_module(part, Empty())
            here = getattr(here, part)
        here.register_buffer(last, tensor)
    root.register_buffer("input_resolution", torch.tensor(64))
    torch.jit.save(torch.jit.trace(root, torch.ones(1)), tmp_path / "m" / "RN.pt")
    back = read_foreign(str(tmp_path / "m" / "RN.pt"))
    assert replace(back.spec, name="m") == RESNET
    before, after = load_file(tmp_path / "ours" / "model.safetensors"), back.weights()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_an_archive_s_wish_to_run_something_stays_a_wish(tmp_path: Path) -> None:
    flag = tmp_path / "ran"
    wishes = [
        b"cbuiltins\neval\n(X" + len(b"1").to_bytes(4, "little") + b"1tR.",  # REDUCE: written down, not called
        b"(S'" + f"touch {flag}".encode() + b"'\nios\nsystem\n.",  # INST: no opcode of tensors
    ]
    for number, program in enumerate(wishes):
        path = tmp_path / f"{number}.pt"
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("a/data.pkl", program)
            archive.writestr("a/code/x.py", "")
        with pytest.raises(DataError, match=r"cannot be read as weights|no state dict of OpenAI's CLIP"):
            read_foreign(str(path))
    assert not flag.exists()


def test_a_file_that_is_no_clip_and_weights_that_are_cut_short_are_told_in_a_line(tmp_path: Path) -> None:
    save_file({"fc.weight": torch.zeros(2, 2)}, tmp_path / "x.safetensors")
    with pytest.raises(DataError, match=r"x.safetensors: no state dict of OpenAI's CLIP \('positional_embedding'\)"):
        read_foreign(str(tmp_path / "x.safetensors"))
    write_foreign(
        checkpoint(VitSpec("m", tower(32, 8, 48, 2, 3), classes=7), tmp_path / "a"), "huggingface", str(tmp_path / "b")
    )
    config = json.loads((tmp_path / "b" / "config.json").read_text("utf-8"))
    for change, said in (
        ({"model_type": "swin"}, "model_type 'swin' is not known here; clip, vit, imagegpt are"),
        ({"architectures": ["ViTModel"]}, "tensor embeddings.cls_token is missing"),
        ({"architectures": ["ViTForMaskedImageModeling"]}, "ViTForImageClassification and ViTModel are"),
        ({"patch_size": 5}, "patches of 5 pixels do not divide pictures of 32; use 30 or 35"),
        ({"hidden_act": "relu"}, "hidden_act 'relu'"),
        ({"num_hidden_layers": 3}, "vit.encoder.layer.2.* is missing"),
        ({"intermediate_size": 100}, r"has shape \(192,\), its configuration says \(100,\)"),
    ):
        (tmp_path / "b" / "config.json").write_text(json.dumps(config | change), "utf-8")
        with pytest.raises(DataError, match=said):
            read_foreign(str(tmp_path / "b")).weights()


def test_a_file_of_open_clip_s_training_is_what_its_configuration_says_and_without_one_is_refused(
    tmp_path: Path,
) -> None:
    """Shapes do not show an activation or a head's width: read as OpenAI's the model would quietly be another one."""
    spec = replace(VIT, activation="gelu", image=replace(VIT.image, heads=2))
    made = checkpoint(spec, tmp_path / "ours")
    write_foreign(made, "open_clip", str(tmp_path / "m"))
    config = tmp_path / "m" / "open_clip_config.json"
    whole = json.loads(config.read_text("utf-8"))
    weights = tmp_path / "m" / "open_clip_model.safetensors"
    tensors = load_file(weights)
    many = {f"module.{name}": each for name, each in tensors.items()}
    save_file(many, tmp_path / "m" / "many.safetensors")
    training = {
        "epoch": 3,
        "name": "run",
        "state_dict": many,
        "optimizer": {"state": {}, "param_groups": [{"lr": 0.1}]},
    }
    torch.save(training, tmp_path / "m" / "epoch_3.pt")
    torch.save({"state_dict": tensors}, tmp_path / "m" / "wrapped.pt")
    files = (weights.name, "many.safetensors", "epoch_3.pt", "wrapped.pt")
    for written in (whole, whole["model_cfg"]):  # as open_clip saves it, and as its model_configs/ has it
        config.write_text(json.dumps(written), "utf-8")
        for name in files:
            back = open_model(str(tmp_path / "m" / name))
            assert replace(back.spec, name="m") == spec
            found = back.weights()
            assert all(
                torch.equal(each, found[key]) for key, each in load_file(tmp_path / "ours/model.safetensors").items()
            )
    said = import_model(str(tmp_path / "m" / "epoch_3.pt"), str(tmp_path / "imported"))
    assert said["layout"] == "open_clip"
    assert "both by openwit's code" in said["compared"]
    config.unlink()
    for name, sign in zip(
        files, ("by its name", r"module\.\*", r"state_dict, epoch, optimizer, module\.\*", "state_dict"), strict=True
    ):
        way_out = (
            rf"{name}: is of open_clip's training \({sign}\), .* put open_clip's model_configs/NAME.json beside it as "
        )
        with pytest.raises(DataError, match=way_out) as caught:
            import_model(str(tmp_path / "m" / name), str(tmp_path / "no"))
        assert "\n" not in str(caught.value)
    save_file(
        tensors, tmp_path / "m" / "plain.safetensors"
    )  # nothing about it tells: what is taken for granted is said
    assert (
        "quick_gelu and heads of 64"
        in import_model(str(tmp_path / "m" / "plain.safetensors"), str(tmp_path / "p"))["assumed"]
    )


def test_an_image_gpt_with_biases_or_without_its_palette_is_refused(tmp_path: Path) -> None:
    write_foreign(checkpoint(IgptSpec("m", 4, 24, 2, 2, colours=9), tmp_path / "a"), "huggingface", str(tmp_path / "b"))
    path = tmp_path / "b" / "model.safetensors"
    tensors = load_file(path)
    save_file(tensors | {"transformer.h.1.mlp.c_fc.bias": torch.ones(96)}, path)
    with pytest.raises(DataError, match="a bias is not zero"):
        read_foreign(str(tmp_path / "b")).weights()
    (tmp_path / "b" / "preprocessor_config.json").unlink()
    with pytest.raises(DataError, match="not a palette of 9 colours"):
        read_foreign(str(tmp_path / "b"))


def test_pictures_that_are_not_cut_or_not_normalised_are_refused_by_the_key(tmp_path: Path) -> None:
    write_foreign(checkpoint(VIT, tmp_path / "a"), "huggingface", str(tmp_path / "b"))
    path = tmp_path / "b" / "preprocessor_config.json"
    given = json.loads(path.read_text("utf-8"))
    size = VIT.image.size
    for key in ("do_resize", "do_rescale", "do_normalize"):
        path.write_text(json.dumps(given | {key: False}), "utf-8")
        with pytest.raises(DataError, match=f"preprocessor_config.json: {key} = False; pictures are always"):
            read_foreign(str(tmp_path / "b"))
    shortest = {"size": {"shortest_edge": size}, "do_center_crop": False}
    path.write_text(json.dumps(given | shortest), "utf-8")
    with pytest.raises(DataError, match="do_center_crop = False"):
        read_foreign(str(tmp_path / "b"))
    squashed = {"size": {"height": size, "width": size}, "do_center_crop": False, "crop_size": size + 8}
    path.write_text(json.dumps(given | squashed), "utf-8")
    assert read_foreign(str(tmp_path / "b")).form.cut == "squash"


@pytest.mark.parametrize("spec", [CASES[7][0], CASES[-1][0]], ids=["vit", "igpt"])
def test_a_bare_number_as_size_squashes_pictures_as_the_processors_of_vit_and_imagegpt_do(
    spec: ModelSpec, tmp_path: Path
) -> None:
    write_foreign(checkpoint(spec, tmp_path / "a"), "huggingface", str(tmp_path / "b"))
    path = tmp_path / "b" / "preprocessor_config.json"
    given = json.loads(path.read_text("utf-8")) | {"resample": 2}
    side = spec.image_size
    for size in (side, [side, side], {"height": side, "width": side}):
        path.write_text(json.dumps(given | {"size": size}), "utf-8")
        assert read_foreign(str(tmp_path / "b")).form == PixelForm(side, "squash", "bilinear")
    for size in (side + 8, [side, side + 8]):
        path.write_text(json.dumps(given | {"size": size}), "utf-8")
        with pytest.raises(DataError, match=f"do not fit a model for {side} pixels"):
            read_foreign(str(tmp_path / "b"))


def test_an_imported_model_sees_pictures_cut_as_where_it_came_from(tmp_path: Path) -> None:
    write_foreign(checkpoint(CASES[7][0], tmp_path / "a"), "huggingface", str(tmp_path / "vit"))
    write_foreign(checkpoint(VIT, tmp_path / "c"), "openai", str(tmp_path / "clip"))
    assert checkpoint(VIT, tmp_path / "own").form is None
    for place, cut in ((tmp_path / "vit", "squash"), (tmp_path / "clip" / "model.pt", "round")):
        import_model(str(place), str(tmp_path / cut))
        made, theirs = Checkpoint.load(str(tmp_path / cut)), read_foreign(str(place))
        assert made.form == theirs.form == Encoder(made, 2).form == pixel_form(made)
        assert made.form.cut == cut
        export_model(str(tmp_path / cut), str(tmp_path / f"{cut}-again"), "openwit")
        assert Checkpoint.load(str(tmp_path / f"{cut}-again")).form == theirs.form


CUTS = {
    "preprocessor_config.json": {
        "crop_size": None,
        "do_center_crop": False,
        "resample": 2,
        "size": {"height": 32, "width": 32},
    },
    "open_clip_config.json": {"interpolation": "bilinear", "resize_mode": "squash"},
}


@pytest.mark.parametrize(("layout", "name"), [*zip(("huggingface", "open_clip"), CUTS, strict=True)])
def test_how_pictures_are_cut_comes_in_and_goes_out_again(layout: Layout, name: str, tmp_path: Path) -> None:
    write_foreign(checkpoint(VIT, tmp_path / "a"), layout, str(tmp_path / "b"))
    assert read_foreign(str(tmp_path / "b")).form.filter == "bicubic"
    path = tmp_path / "b" / name
    given = json.loads(path.read_text("utf-8"))
    changed = given["preprocess_cfg"] if layout == "open_clip" else given
    changed |= CUTS[name]
    path.write_text(json.dumps({key: value for key, value in given.items() if value is not None}), "utf-8")
    import_model(str(tmp_path / "b"), str(tmp_path / "c"))
    export_model(str(tmp_path / "c"), str(tmp_path / "d"), layout)
    assert read_foreign(str(tmp_path / "d")).form == PixelForm(32, "squash", "bilinear")


def test_weights_in_several_files_are_read_by_their_index(tmp_path: Path) -> None:
    write_foreign(checkpoint(VIT, tmp_path / "a"), "huggingface", str(tmp_path / "b"))
    whole = read_foreign(str(tmp_path / "b")).weights()
    tensors = load_file(tmp_path / "b" / "model.safetensors")
    (tmp_path / "b" / "model.safetensors").unlink()
    index = {}
    for part in (0, 1):
        some = {name: each for number, (name, each) in enumerate(sorted(tensors.items())) if number % 2 == part}
        save_file(some, tmp_path / "b" / f"model-{part}.safetensors")
        index |= dict.fromkeys(some, f"model-{part}.safetensors")
    (tmp_path / "b" / "model.safetensors.index.json").write_text(json.dumps({"weight_map": index}), "utf-8")
    parts = read_foreign(str(tmp_path / "b"))
    assert parts.weight_files == ("model-0.safetensors", "model-1.safetensors")
    assert all(torch.equal(whole[name], each) for name, each in parts.weights().items())


def test_a_vit_with_a_representation_goes_out_as_a_vit_model_and_is_fine_tuned_from_it(tmp_path: Path) -> None:
    """As the ViTs pre-trained on ImageNet-21k come: a pooler and no classes. The head that has no place there is named."""
    spec = VitSpec("v", tower(16, 8, 32, 1, 2), classes=3, representation=32)
    made = checkpoint(spec, tmp_path / "ours")
    made.save()
    told = export_model(str(tmp_path / "ours"), str(tmp_path / "there"), "huggingface")
    assert told["left_out"] == ["head.weight", "head.bias"]
    assert told["largest_output_difference"] == 0
    assert json.loads((tmp_path / "there" / "config.json").read_text("utf-8"))["architectures"] == ["ViTModel"]
    import_model(str(tmp_path / "there"), str(tmp_path / "again"))
    again = Checkpoint.load(str(tmp_path / "again"))
    assert again.spec == replace(spec, name=again.spec.name, classes=0)
    assert not tells_classes(again.model())
    before, fresh = made.weights(), spec.build().state_dict()
    taken = adapted(again.weights(), fresh, "start_from there")
    assert set(fresh) - set(taken) == {"head.weight", "head.bias"}
    assert all(torch.equal(taken[name], before[name]) for name in taken)
    # Without a pooler, as transformers writes it where none was asked for.
    tensors = load_file(tmp_path / "there" / "model.safetensors")
    bare = {name: each for name, each in tensors.items() if not name.startswith("pooler.")}
    save_file(bare, tmp_path / "there" / "model.safetensors")
    assert read_foreign(str(tmp_path / "there")).model().spec.to_json()["representation"] == 0


def test_names_of_classes_go_to_hugging_face_and_come_back(tmp_path: Path) -> None:
    spec = VitSpec("v", tower(16, 8, 32, 1, 2), classes=3)
    for names, read in ((("cat", "dog", "a mole"), ("cat", "dog", "a mole")), ((), ())):
        own, there = str(tmp_path / f"own{len(names)}"), str(tmp_path / f"there{len(names)}")
        write_model(own, spec.build().state_dict(), Meanings(classes=names))
        write_foreign(Checkpoint(own, spec, 0, 0, "none", {}, 1, checksums(own)), "huggingface", there)
        assert read_foreign(there).classes() == read
        import_model(there, f"{own}-again")
        assert Checkpoint.load(f"{own}-again").classes() == read
