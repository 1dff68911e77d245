"""Whatever is done to a dataset's files, a reader says so in one line with the file's name; nothing is executed or followed."""

import hashlib
import io
import json
import pickle
import random
import re
import struct
import tarfile
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from miniatures import MINIATURES, make
from miniatures.arrays import TEN, python2
from PIL import Image
from scipy.io import savemat

from evaluation.pictures import plain_pickle
from evaluation.pictures.decoding import decoded
from evaluation.pictures.imagenet import DEVKIT, TRUTH
from evaluation.pictures.pictures import Absent, Broken, Pictures
from evaluation.pictures.table import LAYOUTS
from pipeline.errors import UserError


def read_all(layout: str, folder: Path, split: str = "test") -> Pictures:
    pictures = LAYOUTS[layout].open(str(folder), split)
    for index in range(pictures.count):
        pictures.read(index)
        if pictures.stored is not None:
            pictures.stored(index)
    return pictures


@pytest.mark.parametrize("name", MINIATURES)
def test_any_spoilt_file_is_one_line(name: str, tmp_path: Path) -> None:
    """Cut in half, emptied, replaced by noise or gone: each file of the miniature in turn, one of a kind of name."""
    made = make(name, tmp_path)
    split = "test" if "test" in made.splits else next(iter(made.splits))
    noise = random.Random(name).randbytes(3000)
    kinds: dict[str, Path] = {}
    for path in sorted(tmp_path.rglob("*")):
        if path.is_file():
            kinds.setdefault(re.sub(r"\d+", "0", str(path.relative_to(tmp_path))), path)
    said: list[str] = []
    for path in list(kinds.values())[:12]:
        whole = path.read_bytes()
        for content in (whole[: len(whole) // 2], b"", noise, None):
            if content is None:
                path.unlink()
            else:
                path.write_bytes(content)
            try:
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    read_all(made.layout, tmp_path, split)
            except UserError as error:
                said.append(str(error))
        path.write_bytes(whole)
    assert said
    assert all("\n" not in each and (str(tmp_path) in each or split in each) for each in said), said
    read_all(made.layout, tmp_path, split)


class Harm:
    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return (open, ("/tmp/openwit-was-harmed", "w"))  # type: ignore[return-value]


def test_no_pickle_is_run(tmp_path: Path) -> None:
    make("cifar10", tmp_path)
    batch = tmp_path / "cifar-10-batches-py" / "test_batch"
    for protocol in (2, 4):
        batch.write_bytes(pickle.dumps({"data": Harm()}, protocol))
        with pytest.raises(
            Broken, match=r"test_batch: (asks to call _?io.open|holds the pickle instruction STACK_GLOBAL)"
        ):
            LAYOUTS["cifar10"].open(str(tmp_path), "test")
    batch.write_bytes(b"(S'/tmp/openwit-was-harmed'\nS'w'\niio\nopen\n.")
    with pytest.raises(Broken, match=r"holds the pickle instruction|no whole pickle"):
        LAYOUTS["cifar10"].open(str(tmp_path), "test")
    assert not Path("/tmp/openwit-was-harmed").exists()


def test_the_plain_reader_gives_what_unpickling_gives(tmp_path: Path) -> None:
    values = np.arange(2 * 3072, dtype=np.int64).astype(np.uint8).reshape(2, 3072)
    python2(
        tmp_path / "x",
        {"labels": [3, 255], "data": values, "names": ["a.png", "a.png", "é"], "none": None, "big": 70000},
    )
    whole = (tmp_path / "x").read_bytes()
    trusted = pickle.loads(whole, encoding="latin1")
    plain = plain_pickle.load(whole, "x")
    array = plain.pop("data")
    assert array.shape == (2, 3072)
    assert whole[array.offset : array.offset + 6144] == trusted.pop("data").tobytes() == values.tobytes()
    assert plain == trusted == {"labels": [3, 255], "names": ["a.png", "a.png", "é"], "none": None, "big": 70000}


def test_the_writer_of_miniatures_makes_the_published_bytes(tmp_path: Path) -> None:
    """The MD5 is that of batches.meta in cifar-10-python.tar.gz, as torchvision lists it."""
    python2(tmp_path / "meta", {"num_cases_per_batch": 10000, "label_names": list(TEN), "num_vis": 3072})
    assert hashlib.md5((tmp_path / "meta").read_bytes()).hexdigest() == "5ff9c542aee3614f3951f8cda6e48888"


@pytest.mark.parametrize("protocol", [2, 3, 4])
def test_cifar_saved_again_by_python_3_is_read(protocol: int, tmp_path: Path) -> None:
    """At protocol 2 bytes are letters and a call of _codecs.encode, at 4 names are taken from the stack."""
    make("cifar10", tmp_path)
    before = LAYOUTS["cifar10"].open(str(tmp_path), "test")
    shown = [np.asarray(before.read(at)) for at in range(before.count)]
    for path in (tmp_path / "cifar-10-batches-py").iterdir():
        value = pickle.loads(path.read_bytes(), encoding="latin1")
        if protocol == 3:
            value = {key.encode(): each for key, each in value.items()}
        path.write_bytes(pickle.dumps(value, protocol))
    after = LAYOUTS["cifar10"].open(str(tmp_path), "test")
    assert after.column("label") == before.column("label")
    for at, pixels in enumerate(shown):
        np.testing.assert_array_equal(np.asarray(after.read(at)), pixels)


@pytest.mark.parametrize("label", ["3", None, 3.5, [1], 10, -1, float("nan")])
def test_a_label_outside_cifars_is_named(label: object, tmp_path: Path) -> None:
    make("cifar10", tmp_path)
    batch = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, label]}
    (tmp_path / "cifar-10-batches-py/test_batch").write_bytes(pickle.dumps(batch, 4))
    with pytest.raises(Broken, match=r"label .* is outside its 10 classes"):
        LAYOUTS["cifar10"].open(str(tmp_path), "test")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (b"X\x01\0\0\0aX\x05\0\0\0utf-7\x86", "asks to call something that is no array"),
        (b"U\x01aX\x06\0\0\0latin1\x86", "asks to call something that is no array"),
        (b"K\x01X\x06\0\0\0latin1\x86", "asks to call something that is no array"),
        (b"X\x01\0\0\0a\x85", "is no whole pickle"),
        (b"X\x01\0\0\0aX\x06\0\0\0latin1X\x06\0\0\0strict\x87", "is no whole pickle"),
    ],
)
def test_no_other_call_of_encode_is_answered(arguments: bytes, message: str) -> None:
    with pytest.raises(Broken, match=message):
        plain_pickle.load(b"\x80\x02}X\x01\0\0\0kc_codecs\nencode\n" + arguments + b"Rs.", "x")
    with pytest.raises(Broken, match=r"asks to call _codecs\.decode; it is no file of CIFAR's"):
        plain_pickle.load(b"\x80\x02}X\x01\0\0\0kc_codecs\ndecode\n" + arguments + b"Rs.", "x")


@pytest.mark.parametrize("labels", [[11, 1], [255, 1], [1, 10, 0], [3.5, 1], [float("nan"), 2], [-1, 2]])
def test_a_label_outside_svhns_is_named(labels: list[float], tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 3, len(labels)), np.uint8)
    savemat(tmp_path / "test_32x32.mat", {"X": pixels, "y": np.array(labels)[:, None]})
    with pytest.raises(Broken, match=r"test_32x32.mat: (label [-\w.]+ is outside SVHN's, 1 to 10|has labels 0 and 10)"):
        LAYOUTS["svhn"].open(str(tmp_path), "test")


@pytest.mark.parametrize(
    "path", ["../../../etc/passwd", "/etc/passwd", "img/../../x.png", "file:///etc/passwd", "a\\..\\b"]
)
def test_no_list_leads_out_of_its_folder(path: str, tmp_path: Path) -> None:
    outside = r"lists a file called .*outside the dataset; it is not read"
    make("food101", tmp_path / "food")
    (tmp_path / "food/food-101/meta/test.txt").write_text(f"../{path}/x\n")
    with pytest.raises(Broken, match=outside):
        read_all("food101", tmp_path / "food")
    make("hateful-memes", tmp_path / "memes")
    (tmp_path / "memes/dev_seen.jsonl").write_text(json.dumps({"img": path, "label": 0}) + "\n")
    with pytest.raises(Broken, match=outside):
        read_all("hateful-memes", tmp_path / "memes")
    (tmp_path / "own").mkdir()
    (tmp_path / "own/test.csv").write_text(f"file,label\n{path},x\n")
    with pytest.raises(Broken, match=outside):
        read_all("table", tmp_path / "own")


def test_arrays_of_objects_are_not_unpickled(tmp_path: Path) -> None:
    make("cifar10.1", tmp_path)
    np.save(tmp_path / "cifar10.1_v6_labels.npy", np.array([Harm(), 1, 2], object), allow_pickle=True)
    with pytest.raises(Broken, match=r"cifar10.1_v6_labels.npy: is no whole numpy file of plain numbers"):
        read_all("cifar10.1", tmp_path)
    make("webdataset-multilabel", tmp_path / "wds")
    stored = io.BytesIO()
    np.save(stored, np.array([Harm()], object), allow_pickle=True)
    with tarfile.open(tmp_path / "wds/test/0.tar", "w") as archive:
        for name, data in (("a.webp", b"x"), ("a.npy", stored.getvalue())):
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    with pytest.raises(Broken, match=r"0.tar:a.npy: is no label of a multilabel dataset"):
        read_all("webdataset", tmp_path / "wds")
    assert not Path("/tmp/openwit-was-harmed").exists()


def test_tars_links_are_not_followed_and_shards_are_counted(tmp_path: Path) -> None:
    make("webdataset", tmp_path)
    with tarfile.open(tmp_path / "test/0.tar", "w") as archive:
        link = tarfile.TarInfo("a.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    with pytest.raises(Broken, match="its 1 shards hold no picture"):
        read_all("webdataset", tmp_path)
    (tmp_path / "test/nshards.txt").write_text("3\n")
    with pytest.raises(Broken, match=r"test/1.tar: is missing"):
        read_all("webdataset", tmp_path)
    (tmp_path / "test/nshards.txt").write_text("{0..9}\n")
    with pytest.raises(Broken, match="not a number of shards"):
        read_all("webdataset", tmp_path)


@pytest.mark.parametrize(
    ("name", "file", "old", "new", "message"),
    [
        ("mnist", "MNIST/raw/t10k-labels-idx1-ubyte", b"\0\0\x08\x01", b"\0\0\x0d\x01", "starts with 00 00 0d 01, not 00 00 08 01"),
        ("mnist", "MNIST/raw/t10k-labels-idx1-ubyte", b"\0\0\0\x03", b"\0\0\0\x04", "has 3 values, its head says 4"),
        ("mnist", "MNIST/raw/t10k-images-idx3-ubyte", b"\0\0\0\x1c", b"\xff\0\0\x1c", "values, its head says"),
        ("stl10", "stl10_binary/test_y.bin", b"\x03", b"\x09", "label 9 is outside 1 to 3"),
        ("fer2013", "fer2013.csv", b"\n3,", b"\n9,", "line 4 has emotion '9', not 0 to 6"),
        ("webdataset", "test/0.tar", b"1\0\0\0\0\0\0", b"7\0\0\0\0\0\0", "class 7 is outside classnames.txt, which has 2"),
        ("cifar10-binary", "cifar-10-batches-bin/test_batch.bin", b"\0", b"\x0b", "label 11 is outside its 10 classes"),
        ("cifar10-c", "CIFAR-10-C/labels.npy", b"\x05\0\0", b"\x0f\0\0", "label 15 is outside its 10 classes"),
        ("kitti-distance", "training/label_2/000001.txt", b"Car", b"Car 1\n", "is no label of KITTI"),
        ("clevr-counts", "CLEVR_v1.0/scenes/CLEVR_val_scenes.json", b"objects", b"things", "has a scene without"),
        ("gtsrb", "gtsrb/GT-final_test.csv", b"ClassId", b"Class", "has no column 'ClassId'"),
        ("hateful-memes", "dev_seen.jsonl", b'"label"', b'"gold"', "line 1 has no 'label'; this file was published without"),
        ("fairface", "fairface_label_val.csv", b"val/2.jpg", b"val/3.jpg", "val/3.jpg: is missing"),
        ("voc2007", "VOCdevkit/VOC2007/Annotations/000001.xml", b"<annotation>", b"<!DOCTYPE a><annotation>", "declares entities"),
        ("imagenet-flat", f"{DEVKIT}/{TRUTH}", b"2\n", b"9\n", "has an answer that meta.mat does not know"),
        ("imagenet-vid-robust", "imagenet-vid-robust/metadata/labels.json", b"000002", b"000008", "do not fit each other"),
        ("flickr30k", "dataset_flickr30k.json", b'"raw"', b'"text"', "is not laid out as Karpathy's lists are"),
        ("coop", "split_zhou_OxfordPets.json", b"0,", b"5,", "not numbered from 0 without a gap"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named(name: str, file: str, old: bytes, new: bytes, message: str, tmp_path: Path) -> None:
    made = make(name, tmp_path)
    path = tmp_path / file
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new))
    with pytest.raises((Broken, Absent), match=re.escape(message)) as raised:
        read_all(made.layout, tmp_path)
    assert str(tmp_path) in str(raised.value)


def test_folds_outside_the_pictures_are_named(tmp_path: Path) -> None:
    make("stl10", tmp_path)
    folds = tmp_path / "stl10_binary/fold_indices.txt"
    folds.write_text(folds.read_text().replace("3 1", "3 9"))
    assert read_all("stl10", tmp_path).count == 3
    with pytest.raises(Broken, match=r"fold_indices.txt: has 10 lines, or a number outside the 4 pictures"):
        read_all("stl10", tmp_path, "train")


def test_only_pictures_of_the_known_formats_are_decoded() -> None:
    program = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n"
    with pytest.raises(Broken, match=r"x/a\.jpg: cannot be decoded"):
        decoded(program, "x/a.jpg")
    stored = io.BytesIO()
    Image.new("L", (9, 9)).save(stored, "PNG")
    head = b"IHDR" + struct.pack(">II", 60_000, 60_000) + stored.getvalue()[24:29]
    bomb = stored.getvalue()[:12] + head + struct.pack(">I", zlib.crc32(head)) + stored.getvalue()[33:]
    with pytest.raises(Broken, match="decompression bomb"):
        decoded(bomb, "bomb.png")


def test_videos_are_said_to_need_extraction(tmp_path: Path) -> None:
    make("ucf101", tmp_path / "ucf")
    for path in (tmp_path / "ucf").rglob("*.jpg"):
        path.rename(path.with_suffix(".avi"))
    with pytest.raises(Absent, match=r"has videos and no frames of them; `openwit tasks frames .*/ucf` makes"):
        read_all("ucf101", tmp_path / "ucf")
    make("kinetics700", tmp_path / "k700")
    for path in (tmp_path / "k700/val").rglob("*.jpg"):
        path.rename(path.with_suffix(".mp4"))
    with pytest.raises(Absent, match="has videos and no frames of them; `openwit tasks frames "):
        read_all("kinetics700", tmp_path / "k700")


@pytest.mark.parametrize("raw", ['"a dog runs"', "7", "not json", "[" * 3000])
def test_a_cell_that_is_no_list_of_captions_is_not_taken_letter_by_letter(raw: str, tmp_path: Path) -> None:
    make("flickr30k-csv", tmp_path)
    cell = raw.replace('"', '""')
    table = tmp_path / "flickr_annotations_30k.csv"
    table.write_text(f'raw,sentids,split,filename,img_id\n"{cell}","[0]",test,1.jpg,0\n', "utf-8")
    with pytest.raises(Broken, match="is no JSON list of captions"):
        LAYOUTS["flickr30k"].open(str(tmp_path), "test")
