"""Shards in img2dataset's contract: readable by others, by position, and equal byte for byte when equal."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from pipeline import storage
from pipeline.datasets.shard_form import meta_texts
from pipeline.datasets.shards import iterate, read_image, read_index, sample_key, write_dataset
from pipeline.errors import DataError
from pipeline.manifest import Manifest


def picture(value: int) -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.full((8, 9, 3), value, np.uint8)).save(sink, "JPEG")
    return sink.getvalue()


SAMPLES = [(f"http://a.example/{i}", f"caption {i} é", picture(i)) for i in range(25)]


def test_a_shard_holds_jpg_txt_and_json_per_sample_under_img2datasets_keys(tmp_path: Path) -> None:
    write_dataset(str(tmp_path), SAMPLES, samples_per_shard=10)
    with tarfile.open(tmp_path / "00001.tar") as tar:
        names = tar.getnames()
        meta = json.loads(tar.extractfile("000013.json").read())  # type: ignore[union-attr]
        times = {member.mtime for member in tar.getmembers()}
    assert names[:3] == ["000010.jpg", "000010.txt", "000010.json"]
    assert (meta["caption"], meta["status"], meta["width"], meta["height"]) == ("caption 13 é", "success", 9, 8)
    assert times == {0}
    assert sample_key(3, 42, 10_000) == "000030042"
    assert storage.read_json(str(tmp_path / "00002_stats.json"))["successes"] == 5


def test_webdataset_reads_them(tmp_path: Path) -> None:
    import webdataset

    write_dataset(str(tmp_path), SAMPLES, samples_per_shard=10)
    shards = [str(path) for path in sorted(tmp_path.glob("*.tar"))]
    read = list(webdataset.WebDataset(shards, shardshuffle=False))
    assert [(s["txt"].decode(), s["jpg"]) for s in read] == [(text, image) for _, text, image in SAMPLES]


def test_any_picture_is_read_by_its_offset(tmp_path: Path) -> None:
    manifest = write_dataset(str(tmp_path), SAMPLES, samples_per_shard=10)
    row = read_index(str(tmp_path), manifest.shards[2]).to_pylist()[3]
    assert read_image(str(tmp_path / "00002.tar"), row["image_offset"], row["image_bytes"]) == SAMPLES[23][2]
    assert [sample.image for sample in iterate(str(tmp_path), manifest)] == [image for _, _, image in SAMPLES]


def test_equal_samples_give_equal_ids_and_others_do_not(tmp_path: Path) -> None:
    ids = [write_dataset(str(tmp_path / name), SAMPLES).id for name in ("a", "b")]
    assert ids[0] == ids[1] == Manifest.load(str(tmp_path / "a")).id
    assert write_dataset(str(tmp_path / "c"), SAMPLES[:-1]).id != ids[0]


def test_damage_is_told_with_the_file(tmp_path: Path) -> None:
    manifest = write_dataset(str(tmp_path), SAMPLES)
    manifest.verify(str(tmp_path))
    tar = tmp_path / "00000.tar"
    data = bytearray(tar.read_bytes())
    data[600] ^= 1
    tar.write_bytes(bytes(data))
    with pytest.raises(DataError, match=r"00000\.tar: missing or changed"):
        manifest.verify(str(tmp_path))
    value = json.loads((tmp_path / "manifest.json").read_text())
    value["counts"]["given"]["pairs"]["kept"] = 26
    (tmp_path / "manifest.json").write_text(json.dumps(value))
    with pytest.raises(DataError, match="changed by hand"):
        Manifest.load(str(tmp_path))


def test_a_folder_without_a_manifest_is_no_dataset(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"no manifest\.json"):
        Manifest.load(str(tmp_path))


def test_the_samples_json_is_what_the_json_module_writes() -> None:
    rows = [
        {
            "key": '0"0\\',
            "width": 3,
            "share": 0.1,
            "texts": [{"text": "a\n\u2028é", "origin": "alt"}],
            "hash": "0a",
            "no": None,
        },
        {"key": None, "width": None, "share": None, "texts": [], "hash": None, "no": None},
        {"key": "b", "width": -1, "share": 1e300, "texts": None, "hash": "", "no": None},
    ]
    texts = pa.list_(pa.struct([("text", pa.string()), ("origin", pa.string())]))
    kinds = [("key", pa.string()), ("width", pa.int32()), ("share", pa.float64()), ("texts", texts)]
    table = pa.Table.from_pylist(
        [row | {"hash": None if row["hash"] is None else bytes.fromhex(row["hash"])} for row in rows],
        schema=pa.schema([*kinds, ("hash", pa.binary()), ("no", pa.string())]),
    ).append_column("image_offset", pa.array([1, 2, 3]))
    assert meta_texts(table) == [json.dumps(row, indent=4, sort_keys=True) for row in rows]
    assert json.loads(meta_texts(pa.table({"share": [float("nan")]}))[0]) == {"share": None}
