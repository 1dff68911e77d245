"""A dataset that is mended in place: same names, same sizes, other content. Times never count."""

import hashlib
import os
import shutil
from pathlib import Path

from PIL import Image

from evaluation.catalog.benchmarks import find
from evaluation.catalog.presence import identity
from evaluation.config import EvaluateConfig
from evaluation.corruptions.overlays import read_overlays
from evaluation.pairing import settings_apart
from evaluation.pictures import content, file_hashes
from evaluation.pictures.content import content_of
from evaluation.pictures.open import open_pictures
from evaluation.report import Report
from evaluation.run import evaluate
from tests.evaluation.test_parts import mine

COLOURS = {"red": (250, 20, 20), "blue": (20, 20, 250)}


def colours(home: Path, count: int = 12) -> str:
    """Uncompressed pictures, all of one size, with a table of their labels."""
    (home / "photos").mkdir(parents=True)
    rows = []
    for at in range(count):
        word = ("red", "blue")[at % 2]
        Image.new("RGB", (8, 8), COLOURS[word]).save(home / "photos" / f"{at:02}.bmp")
        rows.append(f"{at:02}.bmp,{word.ljust(4)}")
    (home / "photos/test.csv").write_text("file,label\n" + "\n".join(rows) + "\n")
    card = home / "colours.yaml"
    card.write_text("folder: photos\nclasses: [red, blue]\ntemplates: ['{}']\n")
    return str(card)


def both(card: str) -> tuple[object, str]:
    task = find(card)
    return identity(task, None), open_pictures(task, "test").identity


def test_a_file_of_the_same_name_and_size_is_noticed_and_a_time_is_not(tmp_path: Path) -> None:
    card = colours(tmp_path)
    before = both(card)
    for path in tmp_path.rglob("*"):
        os.utime(path, (1, 1))
    shutil.copytree(tmp_path, tmp_path.parent / "elsewhere")
    (tmp_path / "photos/.DS_Store").write_text("of a desktop")
    assert both(card) == both(str(tmp_path.parent / "elsewhere/colours.yaml")) == before
    for at in range(12):
        picture = tmp_path / f"photos/{at:02}.bmp"
        whole = picture.read_bytes()
        picture.write_bytes(whole[:150] + b"\7" + whole[151:])
        assert all(one != other for one, other in zip(both(card), before, strict=True)), at
        picture.write_bytes(whole)
    assert both(card) == before


def test_links_are_followed_and_pipes_are_not_waited_for(tmp_path: Path) -> None:
    card = colours(tmp_path)
    real = tmp_path / "real.bmp"
    (tmp_path / "photos/03.bmp").rename(real)
    os.symlink(real, tmp_path / "photos/03.bmp")
    os.symlink(tmp_path / "photos", tmp_path / "photos/around")
    os.mkfifo(tmp_path / "photos/pipe")
    before = identity(find(card), None)
    real.write_bytes(real.read_bytes()[:-1] + b"\7")
    assert identity(find(card), None) != before


def test_of_a_large_list_the_ends_are_read(monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(content, "WHOLE_BYTES", 100)
    files = {f"{at}": bytes([at]) * (20 + at) for at in range(9)}

    def told(files: dict[str, bytes], most: int = 99) -> tuple[str, int]:
        read: list[int] = []

        def piece(name: str, start: int, length: int) -> bytes:
            read.append(length)
            return files[name][start : start + length]

        return content_of(list(files), list(map(len, files.values())), piece, 4, most), sum(read)

    before, count = told(files)
    assert count == 9 * 8
    assert told(files, most=3)[1] == 3 * 8
    assert told(files | {"5": b"\0" + files["5"][1:]})[0] != before
    assert told(files | {"5": files["5"][:-1] + b"\0"})[0] != before
    assert told(files | {"5": files["5"] + b"\5"})[0] != before


def test_every_byte_of_a_large_local_file_counts_and_is_read_once(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setattr(content, "WHOLE_BYTES", 1000)
    monkeypatch.setattr(content, "MANY_PICTURES_BYTES", 40_000)
    monkeypatch.setattr(file_hashes, "SETTLED_SECONDS", -1.0)
    hashed: list[str] = []

    def slow(path: str) -> str:
        hashed.append(Path(path).name)
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()

    assert file_hashes._sha256(str(Path(__file__))) == slow(__file__)
    monkeypatch.setattr(file_hashes, "_sha256", slow)
    hashed.clear()
    archive, picture = tmp_path / "0.tar", tmp_path / "small.jpg"
    archive.write_bytes(b"a" * 50_000)
    picture.write_bytes(b"p" * 30_000)
    before = content.content_of_folder(str(tmp_path))
    assert hashed == ["0.tar"]
    assert content.content_of_folder(str(tmp_path)) == before
    file_hashes._here.clear()  # another process
    assert content.content_of_folder(str(tmp_path)) == before
    assert hashed == ["0.tar"]

    with open(archive, "r+b") as file:  # one picture in the middle, the size and the time as they were
        file.seek(25_000)
        file.write(b"b")
    os.utime(archive, ns=(0, 0))
    changed = content.content_of_folder(str(tmp_path))
    assert changed != before
    assert hashed == ["0.tar", "0.tar"]
    copied = shutil.copytree(tmp_path, tmp_path.parent / "copied")
    assert (
        content.content_of_folder(str(copied)) == changed
    )  # though every time and inode is another, and so nothing was believed
    assert len(hashed) == 3
    (tmp_path / file_hashes.RECORD).write_text('{"0.tar": {"state": 1, "sha256": null}, "x": []}')
    file_hashes._here.clear()
    assert content.content_of_folder(str(tmp_path)) == changed


def test_what_changed_a_moment_ago_is_not_remembered(tmp_path: Path, monkeypatch) -> None:  # type: ignore[no-untyped-def]
    file = tmp_path / "0.tar"
    file.write_bytes(b"a" * 100)
    hashes = file_hashes.hashes_of([str(file), str(tmp_path / "absent")])
    assert hashes == [hashlib.sha256(b"a" * 100).hexdigest(), ""]
    assert list(tmp_path.iterdir()) == [file]
    os.utime(file, (1, 1))
    file_hashes.hashes_of([str(file)])
    assert (tmp_path / file_hashes.RECORD).exists()


def test_a_mended_label_is_another_score_though_the_pictures_are_the_same(tmp_path: Path) -> None:
    card = colours(tmp_path)
    config = EvaluateConfig(tasks=(card,), protocols=("zero_shot",), bootstrap_resamples=100, threads=1)

    def right() -> float:
        report = evaluate(config, mine(tmp_path), str(tmp_path / "features"))
        return report.score("colours/zero_shot/top1/ensemble").value

    before, table = right(), tmp_path / "photos/test.csv"
    pictures = open_pictures(find(card), "test").identity
    swapped = table.read_text().replace("red ", "tmp_").replace("blue", "red ").replace("tmp_", "blue")
    table.write_text(swapped)
    assert open_pictures(find(card), "test").identity == pictures
    assert right() == 1 - before


def test_other_overlays_under_the_same_path_are_another_frost(tmp_path: Path) -> None:
    card, panes = colours(tmp_path), tmp_path / "panes"
    panes.mkdir()

    def frosted(level: int) -> Report:
        Image.new("RGB", (64, 64), (level, level, level)).save(panes / "pane.png")
        read_overlays.cache_clear()  # as in another process
        config = {"tasks": (card,), "protocols": ("robustness",), "corruptions": ("frost",), "threads": 1}
        asked = EvaluateConfig.model_validate(config | {"robustness": {"frost": str(panes)}})
        return evaluate(asked, mine(tmp_path), str(tmp_path / "features"))

    before, after, again = frosted(10), frosted(250), frosted(10)
    assert after.telemetry["pictures_encoded"] == 60  # the corrupted ones, not the clean ones
    assert again.telemetry["pictures_encoded"] == 0
    assert before.id == again.id != after.id
    assert settings_apart("colours", "robustness", before, again) is None
    assert "evaluate.robustness is" in str(settings_apart("colours", "robustness", before, after))
