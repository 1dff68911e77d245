"""Text rules on the captions that real pages and hostile ones hold."""

from pathlib import Path

import pyarrow as pa
import pytest
from pydantic import ValidationError

from pipeline.execution.batch import Batch
from pipeline.sample import candidates, pair_uid
from pipeline.selection.repair import mask_personal, normalise, normalise_all
from pipeline.selection.text import filter_text, is_boilerplate, judge
from pipeline.selection.text_config import TextConfig

DEFAULT = TextConfig()


def reason_of(text: str, config: TextConfig = DEFAULT) -> str | None:
    return judge(pa.array([text]), config).reasons[0]


@pytest.mark.parametrize(
    "text",
    ["IMG_1234.jpg", "IMG 1234", "DSC00012", "DSCN4711.JPG", "logo", "Logo", "untitled", "image", "photo (3).png",
     "Screenshot 2024-01-01", "pic1", "banner", "Untitled.", "header-bg.webp", f"{'a' * 70}.jpeg", f"scan {'1' * 60}"],
)  # fmt: skip
def test_file_names_and_leftovers_are_boilerplate(text: str) -> None:
    assert is_boilerplate(text)
    assert reason_of(text) == "text_boilerplate"
    assert reason_of(text, TextConfig(preset="none")) is None


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
    assert normalise("schÃ¶n â€œquoteâ€\x9d AT&amp;T") == "schön “quote” AT&T"
    assert normalise("ﬁne ＤＯＧ") == "fine DOG"
    assert normalise("one\rtwo\x0bthree\x1cfour") == "one two three four"
    assert normalise("\ud800a") == "a"
    assert normalise("it’s “quoted”") == "it’s “quoted”"


def test_repair_of_a_column_is_the_repair_of_each_text(shared: Path) -> None:
    lines = (shared / "data" / "naughty-strings" / "blns.txt").read_text("utf-8", "replace").split("\n")
    texts = [*lines, "plain", " two  spaces", "tail ", "a & b", "", "tab\there", "x" * 30_000 + "é"]
    assert normalise_all(pa.array(texts)).to_pylist() == [normalise(text) for text in texts]
    assert normalise_all(pa.array(["a", None, " b"])).to_pylist() == ["a", "", "b"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "text_empty"),
        ("logo", "text_boilerplate"),
        ("x", "text_too_short"),
        (" ".join(map(str, range(400))), "text_too_long"),
        ("buy shoes now " * 20, "text_repetitive"),
        ("ha" * 60, "text_repetitive"),
        ("★ ☆ ★ (!!) ===>> a", "text_special_characters"),
        ("ein roter Kreis am Strand", "text_language"),
        ("EIN ROTER KREIS AM STRAND", "text_language"),
        ("un cercle rouge sur la plage", "text_language"),
        ("красный круг на пляже", "text_language"),
        ("海滩上的红色圆圈", "text_language"),
        ("a red circle on the beach", None),
        ("number zero", None),
        ("Crab Nebula", None),
    ],
)
def test_each_rule_gives_its_own_reason(text: str, reason: str | None) -> None:
    assert reason_of(text.strip()) == reason


def test_languages_can_be_chosen_or_left_open() -> None:
    german = "ein roter Kreis am Strand"
    assert reason_of(german, TextConfig(languages=("de",))) is None
    assert reason_of(german, TextConfig(languages=())) is None


def test_presets_carry_the_published_numbers_and_given_keys_stand_over_them() -> None:
    assert reason_of("a dog", TextConfig(preset="datacomp-basic")) == "text_too_short"
    assert reason_of("dog", TextConfig(preset="laion")) == "text_too_short"
    assert reason_of("dog", TextConfig(preset="metaclip", languages=())) is None
    coyo = TextConfig(preset="coyo", minimum_words=1)
    assert (coyo.minimum_words, coyo.maximum_words, coyo.maximum_per_domain) == (1, 256, 10)
    assert TextConfig(**coyo.model_dump()) == coyo
    with pytest.raises(ValidationError):
        TextConfig(preset="coca")  # type: ignore[arg-type]


def pair(text: str, others: list[tuple[str, str]] = (), **more: str) -> dict[str, object]:  # type: ignore[assignment]
    texts = [(text, "alt"), *others]
    row = {"url": f"http://a.example/{text}", "text": text, "text_origin": "alt", "page_url": "http://a.example/"}
    return {**row, "texts": texts, **more}


def test_the_first_other_text_that_passes_stands_in_and_the_uid_follows() -> None:
    rows = candidates([
        pair("logo", [("x", "title"), ("  a red  dog ", "figcaption"), ("a cat", "title")]),
        pair("IMG_1.jpg", [("IMG_1.jpg", "title"), ("", "figcaption")]),
        pair("a good dog", [("another one", "title")]),
    ])  # fmt: skip
    done = filter_text(Batch.of(rows), DEFAULT)
    assert done.rows.select(["text", "text_origin"]).to_pylist() == [
        {"text": "a red dog", "text_origin": "figcaption"},
        {"text": "a good dog", "text_origin": "alt"},
    ]
    assert all(row["uid"] == pair_uid(row["url"], row["text"]) for row in done.rows.to_pylist())
    assert done.reasons() == {"text_boilerplate": 1}
    alone = filter_text(Batch.of(rows), TextConfig(try_other_texts=False))
    assert alone.reasons() == {"text_boilerplate": 2}


NUMBERS = (
    *("ISBN 3161484100", "the book 3161484100", "978-3-16-148410-0", "EAN 4006381333931", "item 5551234567"),
    *("#5551234567", "stock photo 2143658709", "price $ 5551234567", "5551234567 x 20", "lot of 5550000000 stars"),
    *("1999 2010 2012", "model 9876543210", "1573849200", "20190101123456", "98765 43210 12345", "IMG_5551234567"),
    *("5551234567.jpg", "3.141592653589", "population 5,551,234,567", "12345 67890", "1920x1080", "52.5200, 13.4050"),
    *("part no. 8431223199", "5551234567%", "1 2 3 4 5 6 7 8 9 10"),
)


def test_mail_and_phone_are_masked_in_every_text_of_the_pair() -> None:
    for text, masked in (
        ("mail jo.do@sub.example.co.uk or call +44 20 7946 0958 now", "mail <email> or call <phone> now"),
        ("1 000 000 000 stars of 10 000 000 000, 000 000 0000", "1 000 000 000 stars of 10 000 000 000, 000 000 0000"),
        ("call 555-867-5309 or (030) 1234 5678", "call <phone> or <phone>"),
        ("1-555-867-5309, 0033 6 12 34 56 78, 06 12 34 56 78", "<phone>, <phone>, <phone>"),
        ("8 (495) 123-45-67, 02079460958, Tel.: 98765 43210", "<phone>, <phone>, Tel.: <phone>"),
        ("Order 12345678901, 100 200 300 400, 192.168.1.101", "Order 12345678901, 100 200 300 400, 192.168.1.101"),
        ("in 1939-1945, 2012-01-15, ISBN 978-0-13-110362-7", "in 1939-1945, 2012-01-15, ISBN 978-0-13-110362-7"),
        ("1600 x 1200 pixels, 12345678 and a@b", "1600 x 1200 pixels, 12345678 and a@b"),
        ("ask 5551234567 or 13812345678, 8613812345678 (98765 43210)", "ask <phone> or <phone>, <phone> (<phone>)"),
        *((text, text) for text in NUMBERS),
    ):
        assert mask_personal(text) == masked
    rows = candidates([pair("ask me@a.example about dogs", [("by me@a.example", "title")], heading="to me@a.example"),
                       pair("logo", [("or 555-867-5309", "title")])])  # fmt: skip
    config = TextConfig(mask_personal_data=True, languages=())
    done = filter_text(Batch.of(rows), config).rows
    assert done.column("text").to_pylist() == ["ask <email> about dogs", "or <phone>"]
    assert done.column("heading").to_pylist()[0] == "to <email>"
    written = str(done.drop_columns(["url"]).to_pylist())
    assert "@" not in written
    assert "5309" not in written


def test_strings_that_break_software_get_a_verdict(shared: Path) -> None:
    lines = (shared / "data" / "naughty-strings" / "blns.txt").read_text("utf-8", "replace").split("\n")
    rows = candidates([pair(line) | {"url": f"http://a.example/{i}"} for i, line in enumerate(lines)])
    for config in (DEFAULT, TextConfig(preset="obelics", mask_personal_data=True)):
        done = filter_text(Batch.of(rows), config)
        assert done.rows.num_rows + done.dropped.num_rows == len(lines) > 400
        assert done.rows.num_rows > (100 if config is DEFAULT else 10)
        assert "text_empty" in done.reasons()


def test_no_text_takes_long_whatever_it_is() -> None:
    texts = ["a" * 1_000_000, "a@" * 200_000, "+1 " * 200_000, "é" * 300_000, "&amp;" * 100_000, "1-" * 200_000,
             "IMG_" + "1" * 300_000, " " * 500_000, "\u0301" * 100_000]  # fmt: skip
    rows = candidates([pair(text) | {"url": f"http://a.example/{i}"} for i, text in enumerate(texts)])
    done = filter_text(Batch.of(rows), TextConfig(mask_personal_data=True))
    assert done.dropped.num_rows == len(texts)
