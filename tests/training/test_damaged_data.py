"""Damaged shards and samples that lack what is learned from: counted, left out up to a share, and the run stops past it."""

import json
import random
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline import storage
from pipeline.datasets.shards import write_dataset
from pipeline.errors import DataError
from pipeline.manifest import Manifest
from tests.training.test_sources import grey, opened, picture, write_tar
from training.config import TrainConfig
from training.data.check import check, left_out, notes
from training.data.config import SourceConfig
from training.data.loader import Loader
from training.data.losses import Broken, Looked, estimated
from training.data.sources import Data
from training.fitting import opened as opened_for
from training.tokens.tokenizer import Tokenizer

ROWS = 20
TOKENIZER = Tokenizer.train(["number 1", "number 2"], 300, 12)


def config(data: Data, **changes: Any) -> TrainConfig:
    settings = data.config.model_copy(update={name: changes.pop(name) for name in list(changes) if "share" in name})
    values = {"model": "clip-tiny", "global_batch_size": 6, "epochs": 2, "warmup_steps": 0, "data": settings}
    return TrainConfig(**(values | changes))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def whole_tars(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tars")
    for shard in range(3):
        members: dict[str, bytes | str] = {}
        for number in range(shard * ROWS, (shard + 1) * ROWS):
            members |= {f"{number:05d}.png": picture(number), f"{number:05d}.txt": f"number {number}"}
        write_tar(folder / f"{shard:05d}.tar", members)
    return folder


def cut(data: bytes) -> bytes:
    return data[: len(data) * 2 // 5]


def garbage(data: bytes) -> bytes:
    return data[:16_384] + random.Random(1).randbytes(4096) + data[20_480:]


def hole(data: bytes) -> bytes:
    """Zeros, which look like the tar's end."""
    return data[:16_384] + bytes(4096) + data[20_480:]


def noise(data: bytes) -> bytes:
    return random.Random(2).randbytes(len(data))


@pytest.mark.parametrize("harm", [cut, garbage, hole, noise, lambda data: b""])
def test_what_a_damaged_tar_loses_is_counted_and_past_the_share_it_is_named(
    whole_tars: Path, tmp_path: Path, harm: Any
) -> None:
    folder = tmp_path / "tars"
    shutil.copytree(whole_tars, folder)
    damaged = folder / "00001.tar"
    damaged.write_bytes(harm(damaged.read_bytes()))
    data = opened(tmp_path, SourceConfig(path=str(folder)))
    (lost,) = data.lost
    assert lost.path == str(damaged)
    assert 0.8 * ROWS <= lost.samples + (data.rows - 2 * ROWS) <= 1.25 * ROWS  # nothing is beside it: estimated
    with pytest.raises(
        DataError, match=r"00001\.tar: a broken tar: .* is past train\.data\.max_broken_share 0\.01"
    ) as said:
        check(config(data), data)
    assert "\n" not in str(said.value)
    check(config(data, max_broken_share=0.4), data)
    (line,) = notes(data)
    assert line.startswith(f"{damaged}: a broken tar: ")
    assert line.endswith(f"about {lost.samples:,} of its samples cannot be read and are left out")
    # img2dataset's counts are exact, and kept with the index: a second look is the same.
    for sidecar in ("stats", "table"):
        shutil.rmtree(tmp_path / "cache")
        if sidecar == "stats":
            (folder / "00001_stats.json").write_text(json.dumps({"count": 25, "successes": ROWS}))
        else:
            (folder / "00001_stats.json").unlink()
            states = ["success"] * ROWS + ["failed_to_download"] * 5
            pq.write_table(pa.table({"key": [""] * 25, "status": states}), folder / "00001.parquet")
        for _ in range(2):
            again = opened(tmp_path, SourceConfig(path=str(folder), kind="tars"))
            assert [each.samples for each in again.lost] == [3 * ROWS - again.rows]
            assert left_out(again) == {"unreadable": 3 * ROWS - again.rows}
            assert f"; {3 * ROWS - again.rows} of its samples cannot be read" in next(notes(again))
    assert again.rows == data.rows


def test_whole_tars_lose_nothing_and_a_tar_alone_names_its_damage(whole_tars: Path, tmp_path: Path) -> None:
    assert opened(tmp_path, SourceConfig(path=str(whole_tars))).lost == ()
    (tmp_path / "noise.tar").write_bytes(noise(bytes(9999)))
    with pytest.raises(DataError, match=r"noise\.tar: a broken tar: no header at byte 0; .*no sample with a picture"):
        opened(tmp_path, SourceConfig(path=str(tmp_path / "noise.tar")))


def test_the_estimate_takes_the_largest_of_bytes_mean_and_one() -> None:
    whole = [Looked("a", 100, 100_000, None), Looked("b", 100, 100_000, None)]

    def samples(found: int, *broken: Any) -> int:
        return sum(lost.samples for lost in estimated([*whole, Looked("c", found, 0, Broken("", *broken))]))

    assert samples(100, 100_000, 50_000, None) == 50  # its own bytes per sample
    assert samples(5, 1, 300_000, None) == pytest.approx(300, rel=0.05)  # too few of its own to tell
    assert samples(40, 40_000, 0, None) == 60  # cut off: up to the mean
    assert samples(120, 120_000, 0, None) == 1
    assert samples(40, 40_000, 900, 44) == 4
    assert samples(40, 40_000, 900, 40) == 0


def test_a_parquet_file_that_ends_too_soon_is_counted(tmp_path: Path) -> None:
    for number in range(2):
        rows = [picture(each) for each in range(8)]
        table = pa.table({"jpg": rows, "caption": ["x"] * 8})
        pq.write_table(
            table, tmp_path / f"{number}.parquet", row_group_size=4, compression="none", use_dictionary=False
        )
    damaged = tmp_path / "1.parquet"
    data = damaged.read_bytes()
    damaged.write_bytes(data[: len(data) // 2] + b"\xff" * 60 + data[len(data) // 2 + 60 :])
    broken = opened(tmp_path, SourceConfig(path=str(tmp_path), kind="parquet"))
    assert broken.rows + sum(lost.samples for lost in broken.lost) == 16
    assert broken.lost[0].path == str(damaged)
    damaged.write_bytes(data[:-9])
    footless = opened(tmp_path, SourceConfig(path=str(tmp_path), kind="parquet"))
    assert (footless.rows, [lost.samples for lost in footless.lost]) == (8, [8])
    assert grey(footless) == list(range(8))


@pytest.fixture
def dataset(tmp_path: Path) -> str:
    rows = [(f"http://x/{n}.png", f"number {n}", picture(n)) for n in range(60)]
    write_dataset(str(tmp_path / "set"), rows, samples_per_shard=10, format="png")
    return str(tmp_path / "set")


def test_a_shard_with_a_manifest_that_is_cut_off_costs_the_samples_behind_its_end(dataset: str, tmp_path: Path) -> None:
    before = opened(tmp_path, dataset=dataset)
    wanted = [Loader(config(before), before, TOKENIZER, 8, 0, 1).batch(6 * step) for step in range(10)]
    manifest = Manifest.load(dataset)
    places = storage.read_table(f"{dataset}/00002.parquet").column("image_offset").to_pylist()
    shard = Path(dataset) / "00002.tar"
    shard.write_bytes(shard.read_bytes()[: places[7] + 5])
    data = opened(tmp_path, dataset=dataset)
    assert (data.id, data.rows, [lost.samples for lost in data.lost]) == (manifest.id, 60, [3])
    with pytest.raises(DataError, match=r"00002\.tar: cut off, [\d,]+ of [\d,]+ bytes; 3 of 60 samples cannot be read"):
        check(config(data), data)
    told = config(data, max_broken_share=0.06)
    check(told, data)
    assert list(notes(data)) == [f"{shard}: {data.lost[0].reason}; 3 of its samples cannot be read and are left out"]
    loader = Loader(told, data, TOKENIZER, 8, 0, 1)
    for step in range(9):  # the order of the others is that of the whole dataset
        got = loader.batch(6 * step)
        for ours, theirs in zip(got.samples, wanted[step].samples, strict=True):
            assert ours == theirs or theirs in (27, 28, 29)
    assert 0 < loader.broken_samples <= 3


def test_a_shard_that_was_changed_is_left_alone_where_checksums_are_compared(dataset: str, tmp_path: Path) -> None:
    shard = Path(dataset) / "00001.tar"
    shard.write_bytes(b"x" + shard.read_bytes()[1:])
    assert opened(tmp_path, dataset=dataset).lost == ()
    batches = []
    for processes in (0, 1):
        data = opened(tmp_path, dataset=dataset, verify_checksums=True, processes=processes, max_broken_share=0.2)
        assert [lost.samples for lost in data.lost] == [10]
        check(config(data), data)
        made = Loader(config(data), data, TOKENIZER, 8, 0, 1).batches(0, 5)
        batches.append([batch.samples for batch in made])
    assert batches[0] == batches[1]
    assert not set(range(10, 20)) & {sample for batch in batches[0] for sample in batch}


# --- samples without what is learned from -------------------------------------------------------------------------------


def bare_sources(tmp_path: Path) -> list[SourceConfig]:
    """Pictures 0 .. 19 in each; 0, 5, 10 and 15 have no text, nothing but white space, or an empty one."""
    texts = [None if n % 10 == 0 else " \n\u00a0" if n % 5 == 0 else f"number {n}" for n in range(ROWS)]
    folder = tmp_path / "folder"
    folder.mkdir()
    members: dict[str, bytes | str] = {}
    for number, text in enumerate(texts):
        name = f"{number:05d}"
        (folder / f"{name}.png").write_bytes(picture(number))
        members[f"{name}.png"] = picture(number)
        if text is not None:
            (folder / f"{name}.txt").write_text(text, "utf-8")
            members[f"{name}.txt"] = text
    write_tar(tmp_path / "x.tar", members)
    table = pa.table(
        {"image": [picture(n) for n in range(ROWS)], "text": [[text, " "] if text else [] for text in texts]}
    )
    pq.write_table(table, tmp_path / "x.parquet")
    rows = [(f"http://x/{n}.png", (text or "").strip(), picture(n)) for n, text in enumerate(texts)]
    write_dataset(str(tmp_path / "set"), rows, samples_per_shard=1, format="png")  # its first shard has no text
    paths = [folder, tmp_path / "x.tar", tmp_path / "x.parquet", tmp_path / "set"]
    return [SourceConfig(path=str(path)) for path in paths]


def test_pictures_without_text_are_left_out_and_counted(tmp_path: Path) -> None:
    spoken = [number for number in range(ROWS) if number % 5]
    for source in bare_sources(tmp_path):
        plain = opened(tmp_path, source)
        settings = config(plain, max_bare_share=0.2)
        data = opened_for(settings)
        assert (plain.rows, data.rows, data.id) == (ROWS, 16, plain.id), source.path
        assert grey(data) == spoken
        assert [text.strip() for text in data.all_captions()] == [f"number {number}" for number in spoken]
        assert list(notes(data)) == ["4 of 20 samples are left out: no_text"]
        assert left_out(data) == {"no_text": 4}
        with pytest.raises(
            DataError, match=r"4 of 20 samples have no text, which clip-tiny .* past train\.data\.max_bare_sh"
        ):
            opened_for(config(plain))
        # An epoch has each of the others once, and going on in its middle gives what would have come.
        loaders = [Loader(settings.model_copy(update={"global_batch_size": 4}), data, TOKENIZER, 8, 0, 1) for _ in "12"]
        batches = [loaders[0].batch(4 * step).samples for step in range(4)]
        assert sorted(sum(batches, ())) == list(range(16))
        assert [batch.samples for batch in loaders[1].batches(8, 2)] == batches[2:]


def test_a_loaders_processes_leave_the_same_out(tmp_path: Path) -> None:
    plain = opened(tmp_path, bare_sources(tmp_path)[1], processes=1, max_bare_share=0.5)
    data = opened_for(config(plain))
    made = next(iter(Loader(config(plain), data, TOKENIZER, 8, 0, 1).batches(0, 1)))
    here = Loader(config(plain), data, TOKENIZER, 8, 0, 1).batch(0)
    assert made.samples == here.samples
    assert np.array_equal(made.pixels.numpy(), here.pixels.numpy())
    assert made.tokens is not None
    assert here.tokens is not None
    assert made.tokens.tolist() == here.tokens.tolist()


def test_counts_of_a_large_source_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("training.data.needing.KEPT_FROM_ROWS", 1)
    source = bare_sources(tmp_path)[1]
    first = opened(tmp_path, source).needing({"text"})
    monkeypatch.setattr("training.data.needing.Needing._counts", lambda self: pytest.fail("looked through again"))
    again = opened(tmp_path, source).needing({"text"})
    assert (again.rows, again.dropped) == (first.rows, first.dropped) == (16, {"no_text": 4})


def test_pictures_without_a_label_are_left_out_where_classes_are_learned(tmp_path: Path) -> None:
    members: dict[str, bytes | str] = {}
    for number in range(ROWS):
        members[f"{number:02d}.png"] = picture(number)
        if number % 10:
            members[f"{number:02d}.cls"] = str(number % 2)
    write_tar(tmp_path / "x.tar", members)
    plain = opened(tmp_path, SourceConfig(path=str(tmp_path / "x.tar")))
    data = opened_for(config(plain, model="vit-tiny-8", objective={"kind": "classify"}))
    assert (data.rows, left_out(data)) == (18, {"no_label": 2})
    labels = Loader(config(plain), data, None, 8, 0, 1).batch(0).labels
    assert labels is not None
    assert int(labels.min()) == 0
    with pytest.raises(DataError, match=r"2 of 20 samples have no label.*another train\.data\.sources label_column"):
        opened_for(config(plain, model="vit-tiny-8", objective={"kind": "classify"}, max_bare_share=0.05))
