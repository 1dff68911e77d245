"""Text rules on the captions that real pages and hostile ones hold."""

from pathlib import Path

import pytest

from pipeline.text import TextConfig, is_boilerplate, normalise, text_reason

DEFAULT = TextConfig()


@pytest.mark.parametrize(
    "text",
    ["IMG_1234.jpg", "IMG 1234", "DSC00012", "DSCN4711.JPG", "logo", "Logo", "untitled", "image", "photo (3).png",
     "Screenshot 2024-01-01", "pic1", "banner", "Untitled.", "header-bg.webp"],
)  # fmt: skip
def test_file_names_and_leftovers_are_boilerplate(text: str) -> None:
    assert is_boilerplate(text)


@pytest.mark.parametrize(
    "text",
    ["a photo of a dog", "image of a red star", "logo of the city of Paris", "scan of the digit 3", "seven", "3",
     "figure of eight", "picture 12 shows a cat"],
)  # fmt: skip
def test_captions_that_use_such_words_are_not(text: str) -> None:
    assert not is_boilerplate(text)


def test_text_is_repaired_before_it_is_judged() -> None:
    assert normalise(" Ame\u0301lie\u200b \n\t visits\u00a0 Paris\u0000 ") == "Amélie visits Paris"
    assert normalise("\u202egnp.exe") == "gnp.exe"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "text_empty"),
        ("logo", "text_boilerplate"),
        ("x", "text_too_short"),
        ("a " * 800, "text_too_long"),
        ("ein roter Kreis am Strand", "text_language"),
        ("un cercle rouge sur la plage", "text_language"),
        ("красный круг на пляже", "text_language"),
        ("海滩上的红色圆圈", "text_language"),
        ("a red circle on the beach", None),
        ("number zero", None),
        ("Crab Nebula", None),
    ],
)
def test_each_rule_gives_its_own_reason(text: str, reason: str | None) -> None:
    assert text_reason(text, DEFAULT)[0] == reason


def test_languages_can_be_chosen_or_left_open() -> None:
    german = "ein roter Kreis am Strand"
    assert text_reason(german, TextConfig(languages=("de",)))[0] is None
    assert text_reason(german, TextConfig(languages=()))[0] is None


def test_strings_that_break_software_get_a_verdict(shared: Path) -> None:
    lines = (shared / "data" / "naughty-strings" / "blns.txt").read_text("utf-8", "surrogateescape").splitlines()
    verdicts = [text_reason(normalise(line), DEFAULT)[0] for line in lines]
    assert len(verdicts) > 400
    assert "text_empty" in verdicts
