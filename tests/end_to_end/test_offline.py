"""Pictures that lie on storage become a dataset without a network, wherever they lie; the dataset is a source again."""

import json
from pathlib import Path

from PIL import Image, ImageDraw
from runs import answer, environment

from pipeline import storage
from pipeline.execution.ledger import PhaseResult
from pipeline.manifest import Manifest

WORDS = (
    "red house",
    "small boat",
    "green garden",
    "old bridge",
    "yellow bird",
    "wooden table",
    "blue car",
    "white horse",
)


def draw(folder: Path) -> None:
    """Eight pictures that differ, with words beside each."""
    folder.mkdir(parents=True)
    for number, words in enumerate(WORDS):
        picture = Image.new("RGB", (64, 64), (20 * number, 255 - 30 * number, 90))
        shape = ImageDraw.Draw(picture)
        shape.rectangle(
            [(number * 7) % 40, (number * 13) % 30, 50, 60 - 3 * number], fill=(255, 17 * number, 30 * number)
        )
        shape.ellipse([5 * number, 2, 5 * number + 20, 30 + 3 * number], fill=(0, 0, 255 - 30 * number))
        picture.save(folder / f"{number}.png")
        (folder / f"{number}.txt").write_text(f"a picture of a {words}")


def curate(root: Path, source: dict[str, str]) -> Path:
    recipe = {
        "name": "offline",
        "curate": {
            "sources": {"mine": source},
            "select": {"text": {"minimum_words": 2}, "queries": {"minimum_count": 1}, "balance": {"t": 1000}},
            "fetch": {"image_size": 64},
            "pack": {"samples_per_shard": 3},
        },
    }
    root.mkdir(parents=True)
    (root / "recipe.yaml").write_text(json.dumps(recipe))
    env = environment(OPENWIT_EXECUTOR="in-process")
    result = answer("curate", str(root / "recipe.yaml"), "--root", str(root / "runs"), env=env)
    return Path(result["dataset"])


def test_a_folder_becomes_shards_and_shards_a_dataset(tmp_path: Path) -> None:
    draw(tmp_path / "one" / "pictures")
    draw(tmp_path / "elsewhere" / "deep")
    dataset = curate(tmp_path / "a", {"kind": "folder", "path": str(tmp_path / "one" / "pictures")})
    manifest = Manifest.load(str(dataset))
    fetched = PhaseResult.load(str(next((tmp_path / "a" / "runs").glob("fetch-*"))))
    assert fetched.fates["pairs"].kept == len(WORDS)
    assert str(tmp_path) not in (dataset / "manifest.json").read_text()
    moved = curate(tmp_path / "b", {"kind": "folder", "path": str(tmp_path / "elsewhere" / "deep")})
    assert Manifest.load(str(moved)).id == manifest.id
    again = curate(tmp_path / "c", {"kind": "shards", "path": str(dataset)})
    assert Manifest.load(str(again)).rows == manifest.rows
    texts = {
        text
        for shard in Manifest.load(str(again)).shards
        for text in storage.read_table(str(again / shard.index), ["caption"]).column("caption").to_pylist()
    }
    assert texts <= {f"a picture of a {words}" for words in WORDS}
