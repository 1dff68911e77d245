"""Near captions: signatures keep their promise, the links are those of the slow twin, and the known traps stay open."""

import itertools
import re
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import yaml
from pools import fallen, kept, row, run, table

from pipeline.duplicates.clusters import components
from pipeline.duplicates.config import CaptionConfig
from pipeline.duplicates.minhash import band_keys, link, recall
from pipeline.duplicates.shingles import Shingled, plain, word_count

WORDS = "a the on in with dog cat beach red blue small house tree river old man two three sky boat near".split()  # noqa: SIM905


def captions(seed: int, count: int, length: int = 12) -> list[str]:
    """Captions in families that differ by a few words."""
    random = np.random.default_rng(seed)
    found: list[str] = []
    while len(found) < count:
        words = list(random.choice(WORDS, length))
        for _ in range(int(random.integers(1, 5))):
            found.append(" ".join(words))
            for place in random.integers(0, length, int(random.integers(0, 3))):
                words[place] = str(random.choice(WORDS))
    return found[:count]


def shingles_of(text: str, config: CaptionConfig) -> set[str]:
    units = text.split(" ") if config.shingle == "word" else f" {text} "
    joined = [units[i : i + config.shingle_size] for i in range(max(1, len(units) - config.shingle_size + 1))]
    return {str(each) for each in joined}


def jaccard(a: str, b: str, config: CaptionConfig) -> float:
    left, right = shingles_of(a, config), shingles_of(b, config)
    return len(left & right) / len(left | right)


@pytest.mark.parametrize("config", [CaptionConfig(), CaptionConfig(shingle="word", shingle_size=2)])
def test_the_jaccard_of_hashed_shingles_is_that_of_sets_of_strings(config: CaptionConfig) -> None:
    texts = [*captions(0, 40), "a", "dog", "ab cd", "", "漢字の説明", "x" * 50]
    hashed = Shingled.of(texts, config)
    for i, j in itertools.combinations(range(len(texts)), 2):
        assert hashed.jaccard(i, j) == jaccard(texts[i], texts[j], config)


def test_captions_meet_as_often_as_the_formula_says() -> None:
    config = CaptionConfig(bands=6, rows_per_band=4)
    texts = captions(1, 1500)
    hashed = Shingled.of(texts, config)
    keys = band_keys(hashed, config.bands, config.rows_per_band)
    near = [(i, j) for i in range(len(texts)) for j in range(i + 1, min(i + 4, len(texts)))]
    similar = np.array([hashed.jaccard(i, j) for i, j in near])
    met = np.array([(keys[i] == keys[j]).any() for i, j in near])
    assert met[similar == 1].all()
    for low, high in ((0.35, 0.5), (0.5, 0.65), (0.65, 0.8), (0.8, 0.99)):
        there = (similar >= low) & (similar < high)
        expected = np.mean([recall(s, config.bands, config.rows_per_band) for s in similar[there]])
        assert there.sum() > 60
        assert abs(met[there].mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / there.sum()) + 0.02


@pytest.mark.parametrize("threshold", [0.5, 0.8, 1.0])
def test_links_connect_what_near_captions_of_a_group_connect(threshold: float) -> None:
    random = np.random.default_rng(2)
    texts = sorted(set(captions(3, 200)))
    config = CaptionConfig(jaccard=threshold)
    groups, nodes = np.divmod(random.choice(9 * len(texts), 500, replace=False), len(texts))
    found = link(Shingled.of(texts, config), np.arange(len(texts)), groups, nodes, threshold)
    wanted = [
        (a, b)
        for group in range(9)
        for a, b in itertools.combinations(nodes[groups == group].tolist(), 2)
        if jaccard(texts[a], texts[b], config) >= threshold
    ]
    assert [e.tolist() for e in components(found)] == [e.tolist() for e in components(np.array(wanted).reshape(-1, 2))]
    assert bool(wanted) == (threshold < 1)


@pytest.mark.parametrize("buckets", [1, 5])
def test_captions_are_near_everywhere_whatever_the_picture(tmp_path: Path, buckets: int) -> None:
    texts = captions(4, 200)
    rows = [row(n, text=text.capitalize() + "." * (n % 2)) for n, text in enumerate(texts)]
    settings = CaptionConfig(scope="everywhere", jaccard=0.7, bands=64, rows_per_band=3)
    result = run(tmp_path, table(rows), 3, buckets=buckets, rows_per_block=50, captions=settings)
    label = list(range(len(texts)))
    for a, b in itertools.combinations(range(len(texts)), 2):
        if jaccard(plain(texts[a]), plain(texts[b]), settings) >= 0.7:
            label = [min(label[a], label[b]) if each in (label[a], label[b]) else each for each in label]
    wanted = []
    for group in sorted(set(label)):
        mine = [rows[n] for n in range(len(rows)) if label[n] == group]
        wanted.append(min(mine, key=lambda each: (-len(each["text"]), each["uid"]))["url"])
    assert kept(result) == sorted(wanted)
    assert list(result.fates["pairs"].reasons) == ["near_caption"]


def test_numbers_and_short_captions_are_no_trap(tmp_path: Path) -> None:
    texts = [f"page {n} of the yearly report of the town hall" for n in range(30)]
    texts += ["a dog"] * 10 + ["漢字" * 8] * 2
    rows = [row(n, text=text) for n, text in enumerate(texts)]
    result = run(tmp_path, table(rows), captions={"scope": "everywhere", "jaccard": 0.6})
    assert [url for url, _, _ in fallen(result)] == [max(rows[40:42], key=lambda each: each["uid"])["url"]]
    loose = run(
        tmp_path / "loose", table(rows), captions={"scope": "everywhere", "jaccard": 0.6, "numbers_agree": False}
    )
    assert loose.fates["pairs"].reasons["near_caption"] == 30


def test_vowel_signs_tell_captions_of_indic_scripts_apart(tmp_path: Path) -> None:
    texts = ["मेले की दीदी की मोटी रोटी", "मेला का दादा का मोटा रोटा", "கோலி கேலி கூலி பாலி மேலி", "காலி கீலி கொலி பூலி மாலி"]
    texts += ["लाल किला"] * 2  # two words, however many signs they bear
    result = run(tmp_path, table([row(n, text=text) for n, text in enumerate(texts)]), captions={"scope": "everywhere"})
    assert fallen(result) == []
    assert word_count(plain("लाल किला")) == 2


def test_of_one_picture_only_pairs_with_a_near_caption_fall(tmp_path: Path) -> None:
    look = {name: row(0)[name] for name in ("phash", "phash256", "thumbnail8")}
    texts = ["two small dogs play on the beach", "Two small dogs play on the beach!", "an advertisement for holidays by the sea",
             "Rex", "rex", "two small dogs play on the beaches"]  # fmt: skip
    rows = [row(n + 1, text=text, **look) for n, text in enumerate(texts)]
    rows.append(row(50, text="two small dogs play on the beach"))  # another picture
    result = run(tmp_path, table(rows), 2, captions={"scope": "same_picture"}, merge_texts=True)
    assert {url.rsplit("/")[-1] for url in kept(result)} >= {"3", "6", "50"}
    assert dict(result.fates["pairs"].reasons) == {"near_caption": 3}
    assert all(evidence.startswith("of ") and "Jaccard" in evidence for _, _, evidence in fallen(result))


@pytest.mark.parametrize(
    ("caption", "wanted"),
    [("  A Dog, on—the BEACH!  ", "a dog on the beach"), ("page_12.b", "page 12 b"), ("Straße", "strasse"), ("ﬁne", "fine"),
     ("?!", ""), (None, ""), ("\ud800 x", "x"),
     ("कमल की फली, हिन्दी!", "कमल की फली हिन्दी"), ("แก้ว กา", "แก้ว กา"), ("I ❤\ufe0f dogs \u0301", "i dogs")],
)  # fmt: skip
def test_what_is_compared_is_plain(caption: str | None, wanted: str) -> None:
    assert plain(caption) == wanted
    assert re.sub(r"\s+", " ", unicodedata.normalize("NFKC", wanted)) == wanted


def test_words_of_scripts_without_spaces_are_counted_by_characters() -> None:
    assert [word_count(text) for text in ("", "dog", "two dogs", "漢字の説明です")] == [0, 1, 2, 4]


def test_off_is_a_scope_as_yaml_reads_it() -> None:
    assert CaptionConfig.model_validate(yaml.safe_load("{scope: off}")).scope == "off"
