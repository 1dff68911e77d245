"""Where samples come from: datasets, tars that others wrote, folders; their labels and captions; mixed, and what is refused."""

import io
import json
import os
import tarfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from PIL import Image

from pipeline.datasets.shards import write_dataset
from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.data.check import check
from training.data.config import DataConfig, SourceConfig
from training.data.loader import Loader
from training.data.pictures import pictures
from training.data.sources import Data, open_data
from training.tokens.tokenizer import Tokenizer


def picture(number: int, kind: str = "PNG") -> bytes:
    sink = io.BytesIO()
    Image.fromarray(np.full((20, 24, 3), number, np.uint8)).save(sink, kind)
    return sink.getvalue()


def write_tar(path: Path, members: dict[str, bytes | str]) -> None:
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            data = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(name)
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))


def opened(tmp_path: Path, *sources: SourceConfig, dataset: str = "", **config: object) -> Data:
    settings = DataConfig(sources=sources, cache_folder=str(tmp_path / "cache"), **config)  # type: ignore[arg-type]
    return open_data(settings, dataset)


def train(data: Data, **changes: object) -> TrainConfig:
    values = {"model": "clip-tiny", "global_batch_size": 4, "steps": 3, "warmup_steps": 0, "data": data.config}
    return TrainConfig(**(values | changes))  # type: ignore[arg-type]


def grey(data: Data) -> list[int]:
    """The grey of every sample's picture, in order."""
    reader = pictures(data, seed=0, stride=1, size=8)
    return [int(reader.picture(sample)[0, 0, 0]) for sample in range(data.rows)]


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    folder = tmp_path / "pictures"
    for number, name in enumerate(["cat", "dog", "dog", "eel"]):
        place = folder / name / "deep" if number == 2 else folder / name
        place.mkdir(parents=True, exist_ok=True)
        (place / f"{number}.png").write_bytes(picture(number))
        if number:
            (place / f"{number}.txt").write_text(f"a {name}\nanother line\n", "utf-8")
    (folder / ".hidden.png").write_bytes(b"no picture")
    return folder


def test_a_folder_gives_pictures_classes_and_captions(tmp_path: Path, classes: Path) -> None:
    data = opened(tmp_path, SourceConfig(path=str(classes)))
    assert data.classes == ("cat", "dog", "eel")
    assert grey(data) == [0, 1, 2, 3]
    assert list(data.all_captions()) == ["", "a dog\nanother line", "a dog\nanother line", "a eel\nanother line"]
    lines = opened(tmp_path, SourceConfig(path=str(classes), caption_per_line=True, captions="all"))
    assert list(lines.all_captions()) == ["", *["a dog", "another line"] * 2, "a eel", "another line"]
    assert grey(lines) == [0, 1, 1, 2, 2, 3, 3]
    assert len({data.id, lines.id}) == 2
    batch = Loader(train(data), data, None, 8, 0, 1).batch(0)
    assert batch.tokens is None
    assert batch.labels is not None
    assert batch.labels.tolist() == [[0, 1, 1, 2][sample] for sample in batch.samples]


@pytest.mark.parametrize("names", [("00000", "00001", "00042"), ("20210304", "20220304", "20230304")])
def test_folders_called_by_digits_that_are_no_class_numbers_are_classes(tmp_path: Path, names: tuple[str, ...]) -> None:
    for number, name in enumerate(names):
        (tmp_path / "signs" / name).mkdir(parents=True)
        (tmp_path / "signs" / name / "0.png").write_bytes(picture(number))
    data = opened(tmp_path, SourceConfig(path=str(tmp_path / "signs")))
    assert data.classes == names
    batch = Loader(train(data, global_batch_size=3), data, None, 8, 0, 1).batch(0)
    assert batch.labels is not None
    assert batch.labels.tolist() == list(batch.samples)


def test_linked_folders_of_classes_are_followed_and_circles_are_not(tmp_path: Path, classes: Path) -> None:
    linked = tmp_path / "linked"
    linked.mkdir()
    for name in ("cat", "dog", "eel"):
        (linked / name).symlink_to(classes / name, target_is_directory=True)
    (classes / "dog" / "deep" / "up").symlink_to(classes / "dog", target_is_directory=True)
    data, own = (opened(tmp_path, SourceConfig(path=str(folder))) for folder in (linked, classes))
    assert data.classes == ("cat", "dog", "eel")
    assert grey(data) == [0, 1, 2, 3]
    assert data.id == own.id


def test_the_id_of_a_folder_is_that_of_its_content(tmp_path: Path, classes: Path) -> None:
    before = opened(tmp_path, SourceConfig(path=str(classes))).id
    moved = tmp_path / "elsewhere"
    classes.rename(moved)
    assert opened(tmp_path, SourceConfig(path=str(moved))).id == before
    (moved / "cat" / "0.png").write_bytes(picture(0) + b" ")
    assert opened(tmp_path, SourceConfig(path=str(moved))).id != before


def test_remote_tars_are_looked_through_and_read_where_no_disk_is_given_to_them(tmp_path: Path) -> None:
    (tmp_path / "tars").mkdir()
    for number in range(3):
        members = {
            f"{each}.{kind}": (picture(9 * number + each), f"text {each}")[kind == "txt"]
            for each in range(4)
            for kind in ("png", "txt")
        }
        write_tar(tmp_path / "tars" / f"{number}.tar", members)
    near = opened(tmp_path / "near", SourceConfig(path=str(tmp_path / "tars")))
    far = opened(tmp_path / "far", SourceConfig(path=f"local://{tmp_path / 'tars'}"), shard_cache_mib=0)
    assert far.id == near.id
    assert list(far.all_captions()) == list(near.all_captions()) == [f"text {each}" for each in range(4)] * 3
    assert grey(far) == grey(near)
    assert not (tmp_path / "far" / "cache" / "shards").exists()


def test_tars_of_others_are_read_without_a_manifest(tmp_path: Path) -> None:
    folder = tmp_path / "tars"
    folder.mkdir()
    write_tar(
        folder / "00000.tar",
        {
            "000000000.jpg": picture(0, "JPEG"),
            "000000000.txt": "a text",
            "000000000.json": json.dumps({"caption": "not this"}),
            "000000001.json": json.dumps({"caption": "no picture"}),
            "000000002.png": picture(2),
            "000000002.json": json.dumps({"caption": ["one", "two"], "tag": 3}),
        },
    )
    write_tar(folder / "00001.tar", {"a.x/b.png": picture(5), "a.x/b.txt": "ö"})
    for path in (str(folder), f"{folder}/{{00000..00001}}.tar"):
        data = opened(tmp_path, SourceConfig(path=path))
        assert data.rows == 3
        assert grey(data) == [0, 2, 5]
        assert list(data.all_captions()) == ["a text", "one", "two", "ö"]
    assert sorted(path.name for path in folder.iterdir()) == ["00000.tar", "00001.tar"]
    each = opened(tmp_path, SourceConfig(path=str(folder), captions="all"))
    assert grey(each) == [0, 2, 2, 5]
    # A damaged index is made again from its tar.
    for kept in (tmp_path / "cache" / "indexes").iterdir():
        kept.write_bytes(kept.read_bytes()[:-9])
    assert opened(tmp_path, SourceConfig(path=str(folder))).id == data.id
    # A changed tar is looked at again, and is other data.
    write_tar(folder / "00001.tar", {"x.png": picture(9), "x.txt": "new"})
    again = opened(tmp_path, SourceConfig(path=str(folder)))
    assert grey(again) == [0, 2, 9]
    assert again.id != data.id


def test_parquet_of_others_is_read_by_its_pictures(tmp_path: Path) -> None:
    """As img2dataset writes it (a failed download has no bytes), and as Hugging Face does."""
    theirs = pa.table({"key": ["0", "1", "2"], "jpg": [picture(0), None, picture(7)], "caption": ["a", "gone", "b\nc"]})
    hugging = pa.table({"image": [{"bytes": picture(9), "path": "x.png"}], "text": ["d"], "label": [3]})
    for name, table in (("img", theirs), ("hf", hugging)):
        (tmp_path / name).mkdir()
        pq.write_table(table, tmp_path / name / "00000.parquet")
    data = opened(tmp_path, SourceConfig(path=str(tmp_path / "img")))
    assert grey(data) == [0, 7]
    assert list(data.all_captions()) == ["a", "b\nc"]
    each = opened(tmp_path, SourceConfig(path=str(tmp_path / "img"), caption_per_line=True, captions="all"))
    assert list(each.all_captions()) == ["a", "b", "c"]
    labelled = opened(tmp_path, SourceConfig(path=str(tmp_path / "hf" / "00000.parquet"), label_column="label"))
    assert (grey(labelled), list(labelled.all_captions()), labelled.classes) == ([9], ["d"], ("0", "1", "2", "3"))
    # What lies in the cache is a copy: without it, it is made again, and is the same data.
    for copy in (tmp_path / "cache" / "indexes").glob("*.pictures"):
        copy.unlink()
    again = opened(tmp_path, SourceConfig(path=str(tmp_path / "img")))
    assert (grey(again), again.id) == ([0, 7], data.id)
    with pytest.raises(ConfigError, match=r"has no column 'tag'; its columns: key, jpg, caption"):
        opened(tmp_path, SourceConfig(path=str(tmp_path / "img"), label_column="tag"))
    (tmp_path / "img" / "00000.parquet").write_bytes(b"PAR1 cut")
    with pytest.raises(DataError, match=r"00000.parquet: no Parquet file"):
        opened(tmp_path, SourceConfig(path=str(tmp_path / "img" / "00000.parquet")))


def test_labels_of_hugging_face_parquet_have_their_names(tmp_path: Path) -> None:
    """Numbers into the file's own list of names; two files may number their classes differently, and -1 is no label."""

    def write(name: str, labels: list[object], classes: list[str], nested: bool = False) -> None:
        inner = {"names": classes, "_type": "ClassLabel"}
        features = {"label": {"feature": inner, "_type": "Sequence"} if nested else inner}
        pictures = [{"bytes": picture(10 * at), "path": None} for at in range(len(labels))]
        table = pa.table({"image": pictures, "label": labels})
        described = {b"huggingface": json.dumps({"info": {"features": features}}).encode()}
        (tmp_path / name).parent.mkdir(exist_ok=True)
        pq.write_table(table.replace_schema_metadata(described), tmp_path / name)

    write("two/0.parquet", [1, 0, -1], ["pear", "apple"])
    write("two/1.parquet", [1, 0], ["apple", "plum"])
    data = opened(tmp_path, SourceConfig(path=str(tmp_path / "two"), label_column="label"))
    assert (data.classes, data.multi_label) == (("apple", "pear", "plum"), False)
    batch = Loader(train(data, global_batch_size=5), data, None, 8, 0, 1).batch(0)
    assert batch.labels is not None
    assert batch.labels.tolist() == [[0, 1, -1, 2, 0][sample] for sample in batch.samples]
    write("many/0.parquet", [[0, 1], [1], []], ["pear", "apple"], nested=True)
    many = opened(tmp_path, SourceConfig(path=str(tmp_path / "many"), label_column="label"))
    assert (many.classes, many.multi_label) == (("apple", "pear"), True)
    write("outside/0.parquet", [0, 2], ["pear", "apple"])
    with pytest.raises(DataError, match=r"a label is 2, and the file names 2 classes"):
        opened(tmp_path, SourceConfig(path=str(tmp_path / "outside"), label_column="label"))


@pytest.mark.parametrize(
    ("labels", "names", "wanted"),
    [
        (["2", "0", "2"], ("0", "1", "2"), [2, 0, 2]),
        (["cat", "ape", "cat"], ("ape", "cat"), [1, 0, 1]),
        (
            ["golden retriever\n", "cat", "cat, great white shark"],
            ("cat", "golden retriever", "great white shark"),
            [[0, 1, 0], [1, 0, 0], [1, 0, 1]],
        ),
        (["00042", "007", "1"], ("00042", "007", "1"), [0, 1, 2]),
        (["0 2", "1", ""], ("0", "1", "2"), [[1, 0, 1], [0, 1, 0], [0, 0, 0]]),
    ],
)
def test_cls_members_are_labels(
    tmp_path: Path, labels: list[str], names: tuple[str, ...], wanted: list[object]
) -> None:
    members: dict[str, bytes | str] = {}
    for number, label in enumerate(labels):
        members |= {f"{number}.png": picture(number), f"{number}.cls": label}
    write_tar(tmp_path / "x.tar", members)
    data = opened(tmp_path, SourceConfig(path=str(tmp_path / "x.tar")))
    assert data.classes == names
    batch = Loader(train(data, global_batch_size=3), data, None, 8, 0, 1).batch(0)
    assert batch.labels is not None
    assert batch.labels.dtype == (torch.float32 if data.multi_label else torch.int64)
    assert batch.labels.tolist() == [wanted[sample] for sample in batch.samples]


def dataset(folder: Path, count: int = 12, grey: int = 100, text: str = "number {}") -> str:
    rows = [(f"http://x/{n}.png", text.format(n), picture(grey + n)) for n in range(count)]
    write_dataset(str(folder), rows, samples_per_shard=5, format="png")
    return str(folder)


def test_a_column_of_the_index_is_the_label(tmp_path: Path) -> None:
    path = dataset(tmp_path / "set")
    data = opened(tmp_path, SourceConfig(label_column="format"), dataset=path)
    assert data.classes == ("png",)
    sizes = opened(tmp_path, SourceConfig(label_column="width"), dataset=path)
    assert len(sizes.classes) == 25
    batch = Loader(train(sizes), sizes, None, 8, 0, 1).batch(0)
    assert batch.labels is not None
    assert batch.labels.tolist() == [24] * 4
    with pytest.raises(ConfigError, match="has no column 'colour'; its columns: key, url"):
        opened(tmp_path, SourceConfig(label_column="colour"), dataset=path)


def test_one_of_several_captions_is_drawn_anew_in_each_epoch(tmp_path: Path) -> None:
    members: dict[str, bytes | str] = {}
    for number in range(40):
        members |= {f"{number:02d}.png": picture(number), f"{number:02d}.txt": "red\ngreen\nblue"}
    write_tar(tmp_path / "x.tar", members)
    data = opened(tmp_path, SourceConfig(path=str(tmp_path / "x.tar"), caption_per_line=True))
    tokenizer = Tokenizer.train(["red", "green", "blue"], 300, 8)
    words = {tuple(tokenizer.encode([word])[0].tolist()): word for word in ("red", "green", "blue")}

    def epoch(number: int, seed: int = 0) -> dict[int, str]:
        batch = Loader(train(data, global_batch_size=40, seed=seed), data, tokenizer, 8, 0, 1).batch(40 * number)
        assert batch.tokens is not None
        return {s: words[tuple(row)] for s, row in zip(batch.samples, batch.tokens.tolist(), strict=True)}

    drawn = [epoch(number) for number in range(6)]
    assert drawn[0] == epoch(0)
    assert drawn[0] != drawn[1]
    assert drawn[0] != epoch(0, seed=1)
    for word in ("red", "green", "blue"):
        assert 50 < sum(list(each.values()).count(word) for each in drawn) < 110


def test_sources_are_mixed_by_weight_or_laid_end_to_end(tmp_path: Path, classes: Path) -> None:
    first, second = dataset(tmp_path / "a", 12, 100), dataset(tmp_path / "b", 6, 200)
    whole = opened(tmp_path, SourceConfig(path=first), SourceConfig(path=second))
    assert whole.rows == 18
    assert sorted(whole.stream(0).at(0, 18)[0].tolist()) == list(range(18))
    assert grey(whole) == [*range(100, 112), *range(200, 206)]
    mixed = opened(tmp_path, SourceConfig(weight=1), SourceConfig(path=second, weight=3), dataset=first)
    samples = mixed.stream(0).at(0, 400)[0]
    assert (samples >= 12).sum() == 300
    assert len({whole.id, mixed.id, opened(tmp_path, dataset=first).id}) == 3
    with pytest.raises(ValueError, match=r"sources\[1\]\.weight is missing"):
        DataConfig(sources=(SourceConfig(path="a", weight=1), SourceConfig(path="b")))
    # Labels only where every source has them.
    assert opened(tmp_path, SourceConfig(path=str(classes)), SourceConfig(path=first)).classes == ()


def test_what_the_data_lacks_is_said_before_work(tmp_path: Path, classes: Path) -> None:
    bare = dataset(tmp_path / "bare", text="")
    data = opened(tmp_path, dataset=bare)
    with pytest.raises(DataError, match="bare: its pictures have no text, which clip-tiny learns from"):
        check(train(data), data, {"text"})
    with pytest.raises(DataError, match="bare: its pictures have no labels, which clip-tiny learns from"):
        check(train(data), data, {"label"})
    check(train(data), data, set())
    with pytest.raises(DataError, match="no such folder"):
        opened(tmp_path, SourceConfig(path=str(tmp_path / "none"), kind="pictures"))
    with pytest.raises(DataError, match=r"no manifest\.json, so no finished dataset"):
        opened(tmp_path, SourceConfig(path=str(tmp_path / "none")))
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"holds no \.tar"):
        opened(tmp_path, SourceConfig(path=str(tmp_path / "empty"), kind="tars"))
    with pytest.raises(ConfigError, match="a source has no path and this run has no dataset"):
        opened(tmp_path)
    with pytest.raises(ConfigError, match="has no captions, so captions: all has none"):
        opened(tmp_path, SourceConfig(captions="all"), dataset=bare)


def test_a_shard_or_index_that_is_another_is_found_before_work(tmp_path: Path) -> None:
    path = dataset(tmp_path / "set")
    shard, index = tmp_path / "set" / "00001.tar", tmp_path / "set" / "00001.parquet"
    whole = shard.read_bytes()
    shard.write_bytes(whole + b"more")
    with pytest.raises(DataError, match=r"00001\.tar: [\d,]+ bytes, its manifest says"):
        opened(tmp_path, dataset=path)
    shard.write_bytes(whole)
    index.write_bytes(index.read_bytes() + b"x")
    with pytest.raises(DataError, match=r"00001\.parquet: missing or changed"):
        opened(tmp_path, dataset=path, verify_checksums=True)


def test_a_remote_shard_of_the_same_size_that_was_written_again_is_fetched_again(tmp_path: Path) -> None:
    """Tars are padded, so captions that were mended often leave the size as it was."""
    shard = tmp_path / "far" / "00000.tar"
    shard.parent.mkdir()
    far = SourceConfig(path=f"local://{shard.parent}/{{00000..00000}}.tar")
    found = []
    for round_, grey_of in enumerate((10, 200)):
        write_tar(shard, {"a.png": picture(grey_of), "a.txt": f"text {round_}"})
        os.utime(shard, (1_000 + round_, 1_000 + round_))
        data = opened(tmp_path, far)
        captions = data.part(0).captions
        assert captions is not None
        found.append((shard.stat().st_size, captions.to_pylist(), grey(data), data.id))
        assert opened(tmp_path, far).id == data.id
    (size, *first), (size_now, *second) = found
    assert size == size_now
    assert first[:2] == [[["text 0"]], [10]]
    assert second[:2] == [[["text 1"]], [200]]
    assert first[2] != second[2]
