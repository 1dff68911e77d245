"""Pictures that lie on storage: folders and finished shards, each row with the place of its bytes."""

import io
import json
import os
import tarfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import storage
from pipeline.datasets.adopt import adopt
from pipeline.datasets.shards import read_index, write_dataset
from pipeline.errors import ConfigError, DataError
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import PhaseResult
from pipeline.sample import pair_uid
from pipeline.sources.config import FolderSource, ShardsSource
from pipeline.sources.harvest import harvest, roots, seen_now
from pipeline.web.web_config import NetworkConfig

JPEG = b"\xff\xd8\xff\xe0 picture "


def run(source: Any, out: Path, name: str = "mine") -> PhaseResult:
    return harvest(name, source, NetworkConfig(), str(out), InProcess())


def folder(path: Path, **config: Any) -> FolderSource:
    return FolderSource(kind="folder", path=str(path), **config)


def shards(path: Path) -> ShardsSource:
    return ShardsSource(kind="shards", path=str(path))


def put(root: Path, files: dict[str, bytes | str]) -> Path:
    for name, data in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(data.encode() if isinstance(data, str) else data)
    return root


def texts(result: PhaseResult) -> dict[str, tuple[str, str]]:
    return {row["location"]: (row["text"], row["text_origin"]) for row in result.read_kept().to_pylist()}


def test_texts_come_from_sidecars_then_tables_then_folder_names(tmp_path: Path) -> None:
    root = put(
        tmp_path / "in",
        {
            "a.jpg": JPEG, "a.txt": " a red\n car ", "b.PNG": JPEG, "b.json": '{"caption": "a boat"}',
            "cats/c.jpg": JPEG, "cats/d.jpg": JPEG, "cats/metadata.csv": "file_name,text\nc.jpg,one cat\nc.jpg,a cat\n",
            "golden_fish/e.jpg": JPEG, "f.webp": JPEG, "f.json": "{broken", "notes.md": "x", "g.jpg": JPEG, "g.txt": "",
        },
    )  # fmt: skip
    result = run(folder(root, text_template="a photo of a {}."), tmp_path / "out")
    assert texts(result) == {
        "mine/a.jpg": ("a red car", "sidecar"),
        "mine/b.PNG": ("a boat", "sidecar"),
        "mine/cats/c.jpg": ("one cat", "table"),
        "mine/cats/d.jpg": ("a photo of a cats.", "folder_name"),
        "mine/golden_fish/e.jpg": ("a photo of a golden fish.", "folder_name"),
    }
    (cat,) = [row for row in result.read_kept().to_pylist() if row["location"] == "mine/cats/c.jpg"]
    assert [each["text"] for each in cat["texts"]] == ["one cat", "a cat"]
    assert cat["url"] == "file:mine/cats/c.jpg"
    assert cat["location_version"] == storage.sha256(JPEG)
    assert dict(result.fates["pairs"].reasons) == {"text_empty": 2}
    files = result.fates["files"]
    assert (files.rows_in, files.kept, dict(files.reasons)) == (13, 7, {"caption_file": 5, "not_a_picture_file": 1})
    assert result.extra["other_endings"] == {".md": 1}
    assert roots({"mine": folder(root)}, {"mine": result}) == {"mine": str(root)}


COCO = {
    "images": [{"id": 1, "file_name": "1.jpg"}, {"id": "2", "file_name": "2.jpg"}, {"id": 3}, 4],
    "annotations": [{"image_id": 1, "caption": "a red\n car"}, {"image_id": 2, "caption": "a boat"}, {"image_id": 1,
                    "caption": "one car"}, {"image_id": 3, "caption": "x"}, {"image_id": 9, "caption": "x"}, None],
}  # fmt: skip
KARPATHY = {
    "images": [{"filename": name, "filepath": "val", "sentences": [{"raw": text} for text in texts]}
               for name, texts in (("1.jpg", ["a red car", "one car"]), ("2.jpg", ["a boat"]))]
}  # fmt: skip


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("captions.txt", 'image,caption\n1.jpg,a red car\n1.jpg,"one car"\n2.jpg,a boat\n'),
        (
            "results.csv",
            "image_name| comment_number| comment\n1.jpg| 0| a red car\n1.jpg| 1| one car\n2.jpg| 0| a boat\n4.jpg\n",
        ),
        ("Flickr8k.token.txt", "1.jpg#0\ta red car\n1.jpg#1\tone car\n2.jpg#0\ta boat\n"),
        ("annotations/captions_val2017.json", json.dumps(COCO)),
        ("dataset_flickr30k.json", json.dumps(KARPATHY)),
        ("captions.csv", "filename,title\n1.jpg,a red car\n1.jpg,one car\n2.jpg,a boat\n"),
    ],
)
def test_published_files_of_captions_are_read_wherever_they_lie(tmp_path: Path, name: str, data: str) -> None:
    root = put(tmp_path / "in", {"Images/1.jpg": JPEG, "Images/2.jpg": JPEG, "Images/3.jpg": JPEG, name: data})
    result = run(folder(root), tmp_path / "out")
    kept = {row["url"]: [each["text"] for each in row["texts"]] for row in result.read_kept().to_pylist()}
    assert kept == {"file:mine/Images/1.jpg": ["a red car", "one car"], "file:mine/Images/2.jpg": ["a boat"]}
    assert dict(result.fates["files"].reasons) == {"caption_file": 1}
    assert result.read_dropped().column("evidence").to_pylist() == [
        "'Images' is the only folder; captions: folder_name takes its name"
    ]


@pytest.mark.parametrize(
    "data", ["", "[", "[]", "{}", '{"images": 5}', '{"images": [], "annotations": {}}', "a,b\n1,2", "\0|\n|"]
)
def test_a_file_of_captions_that_is_none_gives_none(tmp_path: Path, data: str) -> None:
    for name in ("captions.json", "captions.txt", "results.csv", "x.token"):
        root = put(tmp_path / name, {"Images/1.jpg": JPEG, name: data})
        assert texts(run(folder(root), tmp_path / f"{name}-out")) == {}


def test_a_name_that_two_pictures_have_is_neithers(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {"a/1.jpg": JPEG, "b/1.jpg": JPEG, "b/2.jpg": JPEG}
    root = put(tmp_path / "in", {**files, "captions.txt": "image,caption\n1.jpg,which\nb/1.jpg,this\n2.jpg,two\n"})
    found = texts(run(folder(root, captions="table"), tmp_path / "out"))
    assert found == {"mine/b/1.jpg": ("this", "table"), "mine/b/2.jpg": ("two", "table")}


def test_a_split_takes_no_caption_of_another(tmp_path: Path) -> None:
    table = "file_name,text\n1.jpg,one\n2.jpg,two\n"
    files: dict[str, bytes | str] = {"train/1.jpg": JPEG, "val/2.jpg": JPEG, "train/metadata.csv": table}
    assert texts(run(folder(put(tmp_path / "in", files), captions="table"), tmp_path / "out")) == {
        "mine/train/1.jpg": ("one", "table")
    }


def test_what_lies_beside_a_picture_is_its_own(tmp_path: Path) -> None:
    root = put(tmp_path / "in", {"a/dataset_1.jpg": JPEG, "a/dataset_1.json": '{"caption": "one"}', "b/2.jpg": JPEG})
    result = run(folder(root, captions="sidecar"), tmp_path / "out")
    assert texts(result) == {"mine/a/dataset_1.jpg": ("one", "sidecar")}
    assert dict(result.fates["files"].reasons) == {"caption_file": 1}


def test_one_folders_name_is_a_caption_where_the_recipe_says_so(tmp_path: Path) -> None:
    root = put(
        tmp_path / "in", {"red_cat/1.jpg": JPEG, "0.jpg": JPEG, "red_cat/2.jpg": JPEG, "red_cat/2.caption": "two"}
    )
    assert texts(run(folder(root), tmp_path / "a")) == {"mine/red_cat/2.jpg": ("two", "sidecar")}
    for wish, said in (({"captions": "folder_name"}, "red cat"), ({"text_template": "a {}"}, "a red cat")):
        found = texts(run(folder(root, **wish), tmp_path / said))
        assert found["mine/red_cat/1.jpg"] == (said, "folder_name")


def test_the_first_caption_of_a_list_beside_a_picture_is_taken(tmp_path: Path) -> None:
    root = put(
        tmp_path / "in", {"1.jpg": JPEG, "1.json": '{"caption": ["", 5, "a cat", "b"]}', "2.jpg": JPEG, "2.json": "[7]"}
    )
    assert texts(run(folder(root), tmp_path / "out")) == {"mine/1.jpg": ("a cat", "sidecar")}


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
def test_captions_of_any_encoding_are_read(tmp_path: Path, encoding: str) -> None:
    caption = "“un café”"
    root = put(tmp_path / "in", {"a.jpg": JPEG, "a.txt": caption.encode(encoding)})
    assert texts(run(folder(root), tmp_path / "out")) == {"mine/a.jpg": (caption, "sidecar")}


@pytest.mark.parametrize("name", ["00001.tar.gz", "b/2.TGZ"])
def test_compressed_tars_are_told_and_not_passed_over(tmp_path: Path, name: str) -> None:
    root = put(tmp_path / "in", {"00000.tar": bytes(10240), name: b"x"})
    with pytest.raises(ConfigError, match=f"1 of its tars are compressed .*{name}"):
        run(shards(root), tmp_path / "out")
    if "/" not in name:
        with pytest.raises(ConfigError, match=f"1 of its tars are compressed .*{name}"):
            adopt(str(root), InProcess())


def test_what_is_no_readable_file_costs_itself(tmp_path: Path) -> None:
    root = put(tmp_path / "in", {"a.jpg": JPEG, "a.txt": "a cat", "gone.txt": "a dog", "pipe.txt": "a fish"})
    (root / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(root / "pipe.jpg")
    os.mkfifo(root / "a.json")
    with open(os.fsencode(root) + b"/\xff.jpg", "wb") as odd:
        odd.write(JPEG)
    seen_now("mine", folder(root))
    result = run(folder(root), tmp_path / "out")
    assert texts(result) == {"mine/a.jpg": ("a cat", "sidecar")}
    assert dict(result.fates["pairs"].reasons) == {"damaged_file": 3}


def test_the_place_of_a_folder_changes_nothing_and_its_content_does(tmp_path: Path) -> None:
    files: dict[str, bytes | str] = {f"{n}.jpg": JPEG + bytes([n]) for n in range(9)} | {
        f"{n}.txt": f"t {n}" for n in range(9)
    }
    one, two = put(tmp_path / "one", files), put(tmp_path / "deep" / "two", dict(reversed(files.items())))
    first = run(folder(one, pictures_per_item=4), tmp_path / "a")
    assert run(folder(two, pictures_per_item=4), tmp_path / "b").id == first.id
    seen = seen_now("mine", folder(one))
    (one / "3.jpg").write_bytes(b"another")
    assert seen_now("mine", folder(one)) != seen
    assert run(folder(one, pictures_per_item=4), tmp_path / "c").id != first.id  # though its rows read the same


def test_a_folder_that_is_none_is_one_line(tmp_path: Path) -> None:
    put(tmp_path, {"x/readme.txt": "x"})
    for path, words in ((tmp_path / "no", "is no folder"), (tmp_path / "x", "holds no picture")):
        with pytest.raises(ConfigError, match=words):
            run(folder(path), tmp_path / "out")
    with pytest.raises(ConfigError, match="the web has no folders"):
        run(FolderSource(kind="folder", path="https://a.example/"), tmp_path / "out")
    with pytest.raises(ValueError, match="exactly one"):
        folder(tmp_path, text_template="{} {}")


def tar(samples: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with tarfile.open(fileobj=sink, mode="w") as file:
        for name, data in samples.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            file.addfile(member, io.BytesIO(data))
    return sink.getvalue()


def bytes_of(row: dict[str, Any], root: str) -> bytes:
    path = Path(root) / row["location"].split("/", 1)[1]
    return path.read_bytes()[row["location_offset"] :][: row["location_bytes"]]


def test_img2datasets_shards_keep_url_and_text_and_say_where_the_picture_lies(tmp_path: Path) -> None:
    pictures = {f"{n:09d}": JPEG + b"x" * (n * 300) for n in range(12)}
    samples: dict[str, bytes] = {}
    for number, (key, data) in enumerate(pictures.items()):
        facts = {"url": f"http://a.example/{number}.jpg", "caption": f"text {number}", "key": key, "status": "success"}
        samples |= {
            f"{key}.jpg": data,
            f"{key}.txt": f"text {number}".encode(),
            f"{key}.json": json.dumps(facts).encode(),
        }
    samples |= {
        "000000090.txt": b"no picture",
        "000000091.jpg": b"x",
        "000000092.json": b"{",
        "000000092.jpg": b"y",
        "000000092.txt": b"t",
    }
    root = put(tmp_path / "in", {"00000.tar": tar(samples), "00000_stats.json": "{}", "00001.tar": tar(samples)[:520]})
    result = run(shards(root), tmp_path / "out")
    rows = result.read_kept().to_pylist()
    named = {row["url"]: bytes_of(row, str(root)) for row in rows}
    assert {url: named[url] for url in named if url.startswith("http")} == {
        f"http://a.example/{n}.jpg": data for n, data in enumerate(pictures.values())
    }
    assert named["file:mine/00000.tar/000000092"] == b"y"
    assert dict(result.fates["pairs"].reasons) == {"damaged_file": 1, "no_picture": 2, "text_empty": 1}


def test_what_shards_say_of_scores_and_uids_stays_with_the_pairs(tmp_path: Path) -> None:
    """As tables' columns do: known names by themselves, others where the recipe names them; what is no number is none."""
    said: list[dict[str, Any]] = [
        {"SIMILARITY": 0.31, "punsafe": "0.02", "mine": 3, "uid": "ab", "note": "no column"},
        {"similarity": float("nan"), "mine": "much", "id": 7},
        {"similarity": {"a": 1}, "uid": {"a": 1}},
        {},
    ]
    samples: dict[str, bytes] = {}
    for number, facts in enumerate(said):
        facts |= {"url": f"http://a.example/{number}", "caption": f"text {number}"}
        samples |= {f"{number}.jpg": JPEG, f"{number}.json": json.dumps(facts).encode()}
    own = pair_uid("http://a.example/4", "text 4")  # as openwit's own shards say it: said already
    facts = {"url": "http://a.example/4", "caption": "text 4", "uid": own, "source_uid": None}
    samples |= {"4.jpg": JPEG, "4.json": json.dumps(facts).encode()}
    put(tmp_path / "tars", {"00000.tar": tar(samples), "00001.tar": tar({"9.jpg": JPEG, "9.txt": b"t"})})
    names = ("similarity", "punsafe", "mine", "source_uid")
    wanted = [(0.31, 0.02, 3.0, "ab"), (None, None, None, "7"), *[(None,) * 4] * 3]
    rows = [
        {"url": f"http://a.example/{n}", "caption": f"text {n}", "jpg": JPEG} | dict(zip(names, values, strict=True))
        for n, values in enumerate(wanted)
    ]
    (tmp_path / "cells").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "cells" / "00000.parquet")
    for form in ("tars", "cells"):
        source = ShardsSource(kind="shards", path=str(tmp_path / form), score_columns=("Mine",))
        result = run(source, tmp_path / f"out-{form}")
        found = {row["url"]: tuple(row.get(name) for name in names) for row in result.read_kept().to_pylist()}
        assert [found[f"http://a.example/{n}"] for n in range(5)] == wanted
        assert result.telemetry == {
            "carried_similarity": 1,
            "carried_punsafe": 1,
            "carried_mine": 1,
            "carried_source_uid": 2,
        }
    with pytest.raises(ConfigError, match=r"mine\.score_columns: 'width' cannot be carried"):
        run(ShardsSource(kind="shards", path=str(tmp_path / "tars"), score_columns=("width",)), tmp_path / "no")


def test_lists_of_captions_in_shards_are_the_pairs_texts(tmp_path: Path) -> None:
    several = [["a cat", " a\n feline ", "a cat"], ["", "a dog"], []]
    (tmp_path / "cells").mkdir()
    rows = {"image": [{"bytes": JPEG + bytes([n]), "path": "x"} for n in range(3)], "caption": several}
    pq.write_table(pa.table(rows), tmp_path / "cells" / "00000.parquet")
    samples: dict[str, bytes] = {}
    for number, texts in enumerate(several):
        name = "captions" if number else "caption"
        samples |= {f"{number}.jpg": JPEG, f"{number}.json": json.dumps({name: texts}).encode()}
    samples |= {"3.jpg": JPEG, "3.txt": b"", "3.json": b'{"caption": "a boat"}'}
    put(tmp_path / "tars", {"00000.tar": tar(samples)})
    for form, more in (("cells", []), ("tars", [["a boat"]])):
        result = run(shards(tmp_path / form), tmp_path / f"out-{form}")
        found = sorted([each["text"] for each in row["texts"]] for row in result.read_kept().to_pylist())
        assert found == sorted([["a cat", "a feline"], ["a dog"], *more])
        assert dict(result.fates["pairs"].reasons) == {"text_empty": 1}
    manifest = adopt(str(tmp_path / "tars"), InProcess())
    captions = read_index(str(tmp_path / "tars"), manifest.shards[0], ["caption"]).column("caption").to_pylist()
    assert captions == ["a cat", "a dog", "a boat"]


def test_a_key_given_twice_is_two_samples_and_case_hides_no_text(tmp_path: Path) -> None:
    one, two = tar({"0.jpg": b"one", "0.txt": b"first", "0.json": b"{}"}), tar({"0.jpg": b"two", "0.txt": b"second"})
    shouted = tar({"1.JPG": b"three", "1.TXT": b"third"})
    data = one[: one.rindex(b"{}") // 512 * 512 + 512] + two[: two.rindex(b"second") // 512 * 512 + 512] + shouted
    root = put(tmp_path / "in", {"00000.tar": data})
    rows = run(shards(root), tmp_path / "out").read_kept().to_pylist()
    assert {row["text"]: bytes_of(row, str(root)) for row in rows} == {
        "first": b"one",
        "second": b"two",
        "third": b"three",
    }


def test_an_openwit_dataset_is_read_whole_or_refused(tmp_path: Path) -> None:
    from PIL import Image

    sink = io.BytesIO()
    Image.new("RGB", (20, 20), "red").save(sink, "JPEG")
    samples = [(f"http://a.example/{n}", f"text {n}", sink.getvalue()) for n in range(7)]
    write_dataset(str(tmp_path / "in"), samples, samples_per_shard=3)
    result = run(shards(tmp_path / "in"), tmp_path / "out")
    assert sorted((row["url"], row["text"]) for row in result.read_kept().to_pylist()) == [s[:2] for s in samples]
    (tmp_path / "in" / "00001.tar").write_bytes(b"\0" * 10_240)
    with pytest.raises(DataError, match=r"00001\.tar: missing or changed"):
        run(shards(tmp_path / "in"), tmp_path / "out2")


def test_pictures_in_parquet_cells_get_a_place_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    plain = pa.table({"url": [f"http://a.example/{n}" for n in range(6)], "caption": [f"text {n}" for n in range(5)] + [None],
                      "jpg": [JPEG + bytes([n]) for n in range(4)] + [None, b"x"]})  # fmt: skip
    pq.write_table(plain, tmp_path / "in" / "00000.parquet", row_group_size=2)
    nested = pa.table({"image": [{"bytes": b"nested", "path": "x.jpg"}], "text": ["words"]})
    pq.write_table(nested, tmp_path / "in" / "00001.parquet")
    (tmp_path / "in" / "00002.parquet").write_bytes(b"PAR1 broken")
    result = run(shards(tmp_path / "in"), tmp_path / "out")
    root = roots({"mine": shards(tmp_path / "in")}, {"mine": result})["mine"]
    rows = {row["text"]: bytes_of(row, root) for row in result.read_kept().to_pylist()}
    assert rows == {**{f"text {n}": JPEG + bytes([n]) for n in range(4)}, "words": b"nested"}
    assert dict(result.fates["pairs"].reasons) == {"damaged_file": 1, "no_picture": 1, "text_empty": 1}
    pq.write_table(plain.drop_columns(["jpg"]), tmp_path / "in" / "00000.parquet")
    (tmp_path / "in" / "00001.parquet").unlink()
    (tmp_path / "in" / "00002.parquet").unlink()
    with pytest.raises(ConfigError, match="is kind: table"):
        run(shards(tmp_path / "in"), tmp_path / "out2")
