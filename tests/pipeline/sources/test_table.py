"""Tables of links: the published conventions are recognised, rows add up, parts cut anywhere give the same rows."""

import csv
import gzip
import io
import itertools
import json
import random
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from pipeline.datasets.subset import UID, hex_of, select_uids
from pipeline.errors import ConfigError
from pipeline.execution.executor import InProcess
from pipeline.execution.ledger import PhaseResult
from pipeline.matching.queries import QueriesConfig
from pipeline.selection.select import select
from pipeline.selection.select_config import BalanceConfig, SelectConfig
from pipeline.selection.text_config import TextConfig
from pipeline.sources.config import TableSource
from pipeline.sources.harvest import harvest
from pipeline.sources.json_values import TOO_LONG, json_values
from pipeline.sources.rows import cut_file, read_part
from pipeline.sources.table_form import MAX_CELL
from pipeline.web.web_config import NetworkConfig
from tests.pipeline.datasets.test_pack import packed
from tests.pipeline.datasets.test_pack import rows as table_of

SHARED = Path(__file__).resolve().parents[3] / ".." / "shared" / "data"
PAIRS = [(f"http://a.example/{n}.jpg", f"text {n}") for n in range(50)]


def run(folder: Path, name: str, data: bytes, out: str = "out", **config: Any) -> PhaseResult:
    folder.mkdir(exist_ok=True)
    (folder / name).write_bytes(data)
    wish = TableSource(kind="table", files=(str(folder / name),), **config)
    return harvest("t", wish, NetworkConfig(), str(folder / out), InProcess())


def found(result: PhaseResult) -> list[tuple[str, str]]:
    rows = result.read_kept().to_pylist()
    return [(row["url"], row["text"]) for row in rows]


def parquet(columns: dict[str, list[Any]], **options: Any) -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table(columns), sink, **options)
    return sink.getvalue()


def rows(cells: list[tuple[Any, ...]], mark: str) -> bytes:
    text = io.StringIO()
    if mark == ",":
        csv.writer(text).writerows(cells)
    else:
        text.writelines("\t".join(map(str, row)) + "\n" for row in cells)
    return text.getvalue().encode()


URLS, TEXTS = [url for url, _ in PAIRS], [text for _, text in PAIRS]
CONVENTIONS: dict[str, tuple[str, bytes]] = {
    "laion": ("a.parquet", parquet({"SAMPLE_ID": [1] * 50, "URL": URLS, "TEXT": TEXTS, "HEIGHT": [9] * 50})),
    "coyo": ("a.parquet", parquet({"id": [1] * 50, "url": URLS, "text": TEXTS, "width": [9] * 50})),
    "datacomp": ("a.parquet", parquet({"uid": ["x"] * 50, "url": URLS, "text": TEXTS}, row_group_size=7)),
    "cc3m": ("a.tsv", rows([(text, url) for url, text in PAIRS], "\t")),
    "cc12m": ("a.tsv.gz", gzip.compress(rows(list(PAIRS), "\t"))),
    "csv": ("a.csv", rows([("key", "caption", "image_url"), *((n, t, u) for n, (u, t) in enumerate(PAIRS))], ",")),
    "csv without header": ("a.csv.gz", gzip.compress(rows(list(PAIRS), ","))),
    "jsonl": ("a.jsonl", b"".join(json.dumps({"url": u, "caption": t}).encode() + b"\n" for u, t in PAIRS)),
}  # fmt: skip


@pytest.mark.parametrize("name", CONVENTIONS)
def test_published_conventions_are_recognised(tmp_path: Path, name: str) -> None:
    file, data = CONVENTIONS[name]
    result = run(tmp_path, file, data)
    assert found(result) == PAIRS
    cut = run(tmp_path / "cut", file, data, rows_per_item=10)
    assert len(cut.kept) > 2
    assert found(cut) == PAIRS


def test_columns_may_be_named_by_the_recipe(tmp_path: Path) -> None:
    data = parquet(
        {"link to it": URLS, "url": ["x"] * 50, "says": TEXTS, "of": ["http://p.example/"] * 50, "license": ["cc"] * 50}
    )
    result = run(tmp_path, "a.parquet", data, url_column="link to it", text_column="says", page_url_column="of")
    assert found(result) == PAIRS
    assert result.read_kept().slice(0, 1).to_pylist()[0]["page_url"] == "http://p.example/"
    assert result.read_kept().slice(0, 1).to_pylist()[0]["licence"] == "cc"
    assert found(run(tmp_path, "b.tsv", rows([("x", t, u) for u, t in PAIRS], "\t"), "b", text_column="1")) == PAIRS
    with pytest.raises(ConfigError, match="has no column 'nope', it has link to it, url"):
        run(tmp_path, "a.parquet", data, "c", url_column="nope")


def test_a_tables_own_uid_and_scores_reach_the_dataset_and_choose(tmp_path: Path) -> None:
    uids = [f"{n:032x}" for n in range(50)]
    datacomp: dict[str, list[Any]] = {
        "uid": uids,
        "url": URLS,
        "text": TEXTS,
        "clip_l14_similarity_score": [n / 100 for n in range(50)],
    }
    first = run(tmp_path / "1", "a.parquet", parquet(datacomp | {"my score": ["2.5", "x"] * 25, "MINE": ["3", "nan"] * 25}),
                score_columns=("mine",), rows_per_item=20)  # fmt: skip
    bare = [(f"http://b.example/{n}.jpg", f"words {n}") for n in range(9)]
    second = run(tmp_path / "2", "a.csv", rows([("url", "text"), *bare], ","))
    laion = [{"URL": f"http://c.example/{n}", "TEXT": f"said {n}", "SAMPLE_ID": n, "similarity": 0.4} for n in range(5)]
    third = run(tmp_path / "3", "a.jsonl", b"".join(json.dumps(row).encode() + b"\n" for row in laion))
    wish = SelectConfig(
        text=TextConfig(languages=()), balance=BalanceConfig(t=1000), queries=QueriesConfig(minimum_count=1), buckets=3
    )
    selected = select(wish, [first, second, third], str(tmp_path / "s"), InProcess())
    got = {row["url"]: row for row in selected.read_kept().to_pylist()}
    assert len(got) == 64
    row = got[URLS[30]]
    assert (row["source_uid"], row["clip_l14_similarity_score"], row["mine"], row["similarity"]) == (
        uids[30],
        0.3,
        3.0,
        None,
    )
    assert got[URLS[31]]["mine"] is None
    assert {got[url]["source_uid"] for url, _ in bare} == {None}
    assert (got["http://c.example/2"]["source_uid"], got["http://c.example/2"]["similarity"]) == ("2", 0.4)
    names = ("source_uid", "clip_l14_similarity_score", "mine", "similarity")
    table = table_of(64, **{name: [each[name] for each in got.values()] for name in names})
    folder, manifest = packed(tmp_path, [table], "d")
    official = np.sort(np.array([(0, n) for n in (3, 7, 20, 45, 99)], UID))  # as DataComp publishes a subset
    index = {row["uid"]: row for row in table.to_pylist()}
    chosen = [index[uid]["source_uid"] for uid in hex_of(select_uids(folder, manifest, within=official))]
    assert sorted(chosen) == [uids[n] for n in (3, 7, 20, 45)]
    by_score = hex_of(select_uids(folder, manifest, "clip_l14_similarity_score > 0.3"))
    assert {index[uid]["source_uid"] for uid in by_score} == set(uids[31:])
    for name in ("width", "score_x", "two words", "Source_UID"):
        with pytest.raises(ConfigError, match=r"score_columns: .* cannot be carried"):
            run(tmp_path / "4", "a.csv", rows([("url", "text")], ","), score_columns=(name,))


def test_csv_with_line_ends_in_cells_is_cut_between_rows(tmp_path: Path) -> None:
    draw = random.Random(0)
    words = ["a", 'say "x"', "two\nlines", "a,b", "\r\n", "é", ""]
    pairs = [(f"http://a.example/{n}", "w " + " ".join(draw.choices(words, k=4))) for n in range(300)]
    data = rows([("url", "text"), *pairs], ",")
    wanted = [(url, " ".join(text.split())) for url, text in pairs]
    for size in (1, 7, 64, 1000):
        assert found(run(tmp_path / str(size), "a.csv", data, rows_per_item=size)) == wanted


def test_a_txt_holds_a_url_per_line_and_its_caption_behind_it(tmp_path: Path) -> None:
    lines = "".join(f"{url}{mark}{text}\n" for (url, text), mark in zip(PAIRS, itertools.cycle(["\t", " ", "   "])))
    result = run(tmp_path, "a.txt", (lines + "\n http://a.example/alone.jpg \n").encode(), rows_per_item=20)
    assert found(result) == PAIRS
    assert dict(result.fates["pairs"].reasons) == {"text_empty": 1}


def test_all_captions_of_a_cell_are_the_pairs_texts(tmp_path: Path) -> None:
    captions = [["a cat", "", None, " a  cat ", "one cat on a mat"], ["a dog"], [], None]
    columns = {"url": URLS[:4], "caption": captions, "pwatermark": [Decimal("0.5"), None, Decimal("1.25"), None]}
    wanted = [(URLS[0], ["a cat", "one cat on a mat"], 0.5), (URLS[1], ["a dog"], None)]
    lines = "".join(
        json.dumps({"url": u, "caption": c, "pwatermark": s}) + "\n"
        for u, c, s in zip(columns["url"], captions, ["0.5", None, 1.25, None], strict=True)
    )
    for name, data in (("a.parquet", parquet(columns)), ("a.jsonl", lines.encode())):
        result = run(tmp_path / name, name, data)
        rows = result.read_kept().to_pylist()
        assert [(row["url"], [each["text"] for each in row["texts"]], row["pwatermark"]) for row in rows] == wanted
        assert [row["text"] for row in rows] == ["a cat", "a dog"]
        assert dict(result.fates["pairs"].reasons) == {"text_empty": 2}


COLUMNS = {"url": URLS, "caption": TEXTS, "similarity": [n / 64 for n in range(50)], "licence": "cc-by"}


@pytest.mark.parametrize("indent", [None, 1])
@pytest.mark.parametrize("keyed", [False, True])
def test_json_by_columns_is_as_many_rows_as_urls(tmp_path: Path, keyed: bool, indent: int | None) -> None:
    told = {name: {str(n): each for n, each in enumerate(cell)} if keyed and isinstance(cell, list) else cell
            for name, cell in COLUMNS.items()}  # fmt: skip
    result = run(tmp_path, "a.json", json.dumps(told, indent=indent).encode())
    assert found(result) == PAIRS
    rows = result.read_kept().to_pylist()
    assert [row["similarity"] for row in rows] == COLUMNS["similarity"]
    assert {row["licence"] for row in rows} == {"cc-by"}


@pytest.mark.parametrize("form", ["lines", "array", "indented", "columns"])
def test_json_with_the_nan_of_pandas_and_halves_of_surrogates_is_read(tmp_path: Path, form: str) -> None:
    rows = [{"url": url, "caption": text, "similarity": n / 64} for n, (url, text) in enumerate(PAIRS)]
    rows[0]["similarity"], rows[1]["similarity"] = float("nan"), float("inf")
    rows[2]["caption"] = "text \ud83d"
    text = {
        "lines": "\n".join(map(json.dumps, rows)),
        "array": json.dumps(rows),
        "indented": "\n".join(json.dumps(row, indent=1) for row in rows),
        "columns": json.dumps({name: [row[name] for row in rows] for name in rows[0]}),
    }[form]
    result = run(tmp_path, "a.json", text.encode())
    assert found(result) == [*PAIRS[:2], (PAIRS[2][0], "text ?"), *PAIRS[3:]]
    assert result.read_kept().column("similarity").to_pylist() == [None, None, *(n / 64 for n in range(2, 50))]


def test_urls_of_one_cell_are_all_there_or_counted(tmp_path: Path) -> None:
    columns = {"url": [URLS[:3], URLS[3:4], URLS[4:6], []], "text": [TEXTS[:3], ["b", "c"], TEXTS[4:7], ["none"]]}
    result = run(tmp_path, "a.parquet", parquet(columns))
    assert found(result) == [*PAIRS[:3], (URLS[3], "b")]
    assert result.fates["pairs"].rows_in == 6
    assert result.read_dropped().select(["reason", "evidence"]).to_pylist() == [
        {"reason": "damaged_row", "evidence": "2 URLs in one cell, and 3 values for them in another"},
        {"reason": "url_unusable", "evidence": "no scheme"},
    ]
    together = run(tmp_path / "one", "a.parquet", parquet({"url": [URLS[:2]], "text": ["both"]}))
    assert found(together) == [(URLS[0], "both"), (URLS[1], "both")]


def test_every_bad_row_is_one_reason(tmp_path: Path) -> None:
    lines = [
        b"http://a.example/1\tgood",
        b"only one cell",
        b"no url\tx",
        b"http://a.example/2\t ",
        b"\xff\xfe\tx",
        b"http://[::1\tx",
    ]
    lines += [
        b"ftp://a.example/\tx",
        b"",
        b"http://a.example/" + b"a" * 5000 + b"\tx",
        b"\x00\t\x00",
        b"http://a.example/3\tx\ty\tz",
    ]
    result = run(tmp_path, "a.tsv", b"\n".join(lines))
    assert dict(result.fates["pairs"].reasons) == {"text_empty": 1, "url_unusable": 7}
    assert [url for url, _ in found(result)] == ["http://a.example/1", "http://a.example/3"]
    odd = [
        b'{"url": 5}',
        b"[1]",
        b"{",
        b'{"url": "http://a.example/", "text": "\\ud800 x"}',
        b'{"url": ["http://a.example/b"], "text": {"a": 1}}',
    ]
    result = run(tmp_path, "b.jsonl", b"\n".join(odd), "b")
    fate = result.fates["pairs"]
    assert fate.rows_in == 5 == fate.kept + sum(fate.reasons.values())
    assert fate.reasons["damaged_row"] == 3
    assert ("http://a.example/", "? x") in found(result)  # half of a surrogate pair costs itself


def test_tables_that_break_readers_lose_no_row(tmp_path: Path) -> None:
    """Two columns of one name, a text that is no UTF-8, quotes as pandas writes them in TSV, a download that was cut off."""
    twice = pa.table([pa.array(URLS), pa.array(TEXTS), pa.array(["x"] * 50)], names=["url", "text", "text"])
    sink = io.BytesIO()
    pq.write_table(twice, sink)
    assert found(run(tmp_path / "twice", "a.parquet", sink.getvalue())) == PAIRS
    cells = [text.encode() for text in TEXTS]
    cells[7] = b"caf\xe9"
    texts = pa.Array.from_buffers(pa.string(), 50, pa.array(cells, pa.binary()).buffers())
    sink = io.BytesIO()
    pq.write_table(pa.table({"url": URLS, "text": texts}), sink)
    wanted = [(url, "café" if n == 7 else text) for n, (url, text) in enumerate(PAIRS)]
    assert found(run(tmp_path / "latin", "a.parquet", sink.getvalue(), rows_per_item=20)) == wanted
    quoted = b'http://a.example/1\t"a ""red"" barn"\nhttp://a.example/2\tsaid "no"\n'
    assert [text for _, text in found(run(tmp_path / "quoted", "a.tsv", quoted))] == ['a "red" barn', 'said "no"']
    whole = gzip.compress(rows([(url, random.Random(url).randbytes(99).hex()) for url, _ in PAIRS], "\t"))
    cut = run(tmp_path / "cut", "a.tsv.gz", whole[:-2000])
    assert 0 < cut.read_kept().num_rows < 50
    assert cut.fates["pairs"].reasons["damaged_row"] == 1
    assert "damaged_row" not in run(tmp_path / "padded", "a.tsv.gz", whole + bytes(512)).fates["pairs"].reasons


@pytest.mark.parametrize("name", ["a.parquet", "a.csv", "a.tsv", "a.jsonl", "a.tsv.gz", "a.csv.gz"])
def test_any_bytes_as_a_table_are_counted(tmp_path: Path, name: str) -> None:
    for number, data in enumerate(
        [b"", b"\xff" * 3000, random.Random(0).randbytes(20_000), b'"' * 999, CONVENTIONS["laion"][1][:900]]
    ):
        fate = run(tmp_path / str(number), name, data).fates["pairs"]
        assert fate.kept == 0
        assert fate.rows_in == sum(fate.reasons.values())


def test_a_file_may_have_brackets_in_its_name(tmp_path: Path) -> None:
    data = "".join(f"{url}\t{text}\n" for url, text in PAIRS).encode()
    assert found(run(tmp_path, "links [1].tsv", data)) == PAIRS
    (tmp_path / "links 1.tsv").write_bytes(b"http://a.example/pattern\tfits this\n")
    (tmp_path / "links [1].tsv").unlink()
    wish = TableSource(kind="table", files=(str(tmp_path / "links [1].tsv"),))
    result = harvest("t", wish, NetworkConfig(), str(tmp_path / "again"), InProcess())
    assert found(result) == [("http://a.example/pattern", "fits this")]


def test_a_form_that_is_not_known_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"must end in \.parquet"):
        run(tmp_path, "a.xlsx", b"x")


@pytest.mark.shared
def test_cc3m_as_published(tmp_path: Path) -> None:
    path = SHARED / "cc3m-validation-tsv" / "Validation_GCC-1.1.0-Validation.tsv"
    if not path.exists():
        pytest.skip("needs ../shared/data/cc3m-validation-tsv")
    result = run(tmp_path, "cc3m.tsv", path.read_bytes(), rows_per_item=4000)
    lines = path.read_text("utf-8").splitlines()
    assert result.fates["pairs"].rows_in == len(lines)
    assert result.fates["pairs"].kept >= 0.999 * len(lines)
    assert len(result.kept) == 4


def delimited(mark: str, cells: list[tuple[Any, ...]]) -> str:
    text = io.StringIO()
    csv.writer(text, delimiter=mark).writerows(cells)
    return text.getvalue()


ODD = [(f"http://a.example/{n}.jpg?a;b|c", f'{n}, "said"; one|two\nand\tthree é') for n in range(40)]
WORDS = [(url.replace("|", "%7C"), " ".join(text.split())) for url, text in ODD]


@pytest.mark.parametrize(
    ("mark", "encoding"),
    [(",", "utf-8-sig"), (";", "utf-8"), ("\t", "utf-16"), ("|", "utf-8-sig"), (";", "utf-16-le"), (",", "utf-16-be")],
)
def test_csv_is_read_as_spreadsheets_write_it(tmp_path: Path, mark: str, encoding: str) -> None:
    for number, (name, text) in enumerate(
        (
            ("a.csv", delimited(mark, [("image_url", "caption"), *ODD])),
            ("a.csv", f"sep={mark}\r\n" + delimited(mark, [("id", "url", "text"), *((9, *row) for row in ODD)])),
            ("a.csv.gz", delimited(mark, ODD)),
        )
    ):
        data = text.encode(encoding)
        data = gzip.compress(data) if name.endswith(".gz") else data
        for size in (200, 7):
            result = run(tmp_path / f"{number}-{size}", name, data, rows_per_item=size)
            assert found(result) == WORDS, (name, size)
            assert result.fates["pairs"].rows_in == len(ODD)


def test_text_of_western_spreadsheets_is_read_and_other_writings_are_not_made_up(tmp_path: Path) -> None:
    """Excel's "CSV" is Windows-1252; its bytes for é are no UTF-8. A damaged letter of UTF-8 costs itself."""
    western = [(f"http://a.example/{n}.jpg", f"“a” naïve café – {n}") for n in range(9)]
    text = delimited(",", [("url", "caption"), *western])
    for name, data in (("a.csv", text.encode("cp1252")), ("a.csv.gz", gzip.compress(text.encode("cp1252")))):
        for size in (100, 4):
            assert found(run(tmp_path / f"{name}-{size}", name, data, rows_per_item=size)) == western
    lines = b"".join(json.dumps({"url": u, "text": t}, ensure_ascii=False).encode("cp1252") + b"\n" for u, t in western)
    assert found(run(tmp_path / "lines", "a.jsonl", lines)) == western
    for number, word in enumerate(["москва".encode("cp1251"), "中国人".encode("gbk"), "été".encode() + b" \xe9"]):
        [(_, text)] = found(run(tmp_path / f"other-{number}", "a.tsv", b"http://a.example/1\t" + word + b"\n"))
        assert "\ufffd" in text
        assert not [letter for letter in text if "\x80" <= letter <= "\xff" and letter != "é"]


def test_lines_may_end_as_old_macintoshes_end_them(tmp_path: Path) -> None:
    text = delimited(",", [("url", "caption"), *PAIRS]).replace("\r\n", "\r")
    wide = delimited(",", [("url", "caption", "more"), *((*pair, "x" * 700) for pair in PAIRS)]).replace("\r\n", "\r")
    lines = "\r".join(json.dumps({"url": url, "text": text}) for url, text in PAIRS)
    for name, data in (
        ("a.csv", text.encode()),
        ("b.csv", wide.encode()),
        ("c.csv.gz", gzip.compress(text.encode())),
        ("d.csv", text.encode("utf-16")),
        ("e.jsonl", lines.encode()),
    ):
        for size in (100, 7):
            assert found(run(tmp_path / f"{name}-{size}", name, data, rows_per_item=size)) == PAIRS, (name, size)


def test_what_cuts_cells_is_not_taken_from_words(tmp_path: Path) -> None:
    data = "\n".join(f"http://a.example/{n}.jpg;a cat, on a mat" for n in range(5)).encode()
    assert {text for _, text in found(run(tmp_path / "a", "a.csv", data))} == {"a cat, on a mat"}
    data = "\n".join(f"a;b;c {n},http://a.example/{n};jsessionid=1" for n in range(5)).encode()
    assert [text for _, text in found(run(tmp_path / "b", "a.csv", data))] == [f"a;b;c {n}" for n in range(5)]
    fate = run(tmp_path / "c", "a.csv", b"a;b\nc;d\n").fates["pairs"]
    assert (fate.rows_in, fate.kept) == (2, 0)


ITEMS = [{"url": url, "caption": f'{text} }}]["\\\\', "more": {"a": [1, {"b": "]"}]}} for url, text in PAIRS]
TOLD = [(url, f'{text} }}]["\\\\') for url, text in PAIRS]


@pytest.mark.parametrize(
    "text",
    [
        json.dumps(ITEMS),
        json.dumps(ITEMS, indent=2, ensure_ascii=False),
        " \n[\n" + ",\n".join(map(json.dumps, ITEMS)) + "\n]\n",
        "\n".join(json.dumps(item, indent=1) for item in ITEMS),
        "\n\n".join(map(json.dumps, ITEMS)),
    ],
)
def test_json_of_any_layout_is_read_whole_and_in_parts(tmp_path: Path, text: str) -> None:
    for number, (name, data) in enumerate(
        (
            ("a.json", text.encode()),
            ("a.jsonl", text.encode("utf-8-sig")),
            ("a.json.gz", gzip.compress(text.encode("utf-16"))),
        )
    ):
        for size in (200, 7):
            result = run(tmp_path / f"{number}-{size}", name, data, rows_per_item=size)
            assert found(result) == TOLD, (name, size)
            assert result.fates["pairs"].rows_in == len(ITEMS)


def test_what_is_no_value_of_an_array_is_counted(tmp_path: Path) -> None:
    good = '{"url": "http://a.example/1", "text": "t"}'
    for number, (text, reasons) in enumerate(
        {
            f"[{good}, 5, {{]}}, [1], {good}": {"damaged_row": 4},
            f"[{good}, {good}": {},
            f'[{good}, {good}, {{"url": "http://a': {"damaged_row": 1},
            f'[{good}, {{"url": bad}}, {good}]]] x': {"damaged_row": 2},
            f'[{good}, {{"nothing": 1}}, {good}]': {"damaged_row": 1},
            "[" * 50_000: {"damaged_row": 1},
            '["' + "\\" * 50_001: {"damaged_row": 1},
        }.items()
    ):
        for size in (100, 1):
            fate = run(tmp_path / f"{number}-{size}", "a.json", text.encode(), rows_per_item=size).fates["pairs"]
            assert dict(fate.reasons) == reasons, text[:100]
            assert fate.kept == text.count(good)


def test_values_are_found_however_the_stream_is_cut() -> None:
    text = json.dumps(ITEMS[:9], indent=1).encode() + b" x "
    whole = list(json_values(iter([text[1:]]), 1))
    assert [text[at : at + len(value)] for at, value in whole] == [value for _, value in whole]
    assert [json.loads(value) for _, value in whole[:9]] == ITEMS[:9]
    assert whole[9:] == [(text.index(b" x ") + 1, b"x")]
    for size in (1, 2, 3, 61):
        assert list(json_values((text[at : at + size] for at in range(1, len(text), size)), 1)) == whole
    long = list(json_values(iter([b'{"a": "' + b"x" * 999_999] * 40)))
    assert long == [(0, TOO_LONG)]


def test_rows_of_csv_are_the_same_however_the_file_is_cut(tmp_path: Path) -> None:
    """Quotes where none belong, line ends of all kinds, zeros and marks, cells over the limit."""
    draw = random.Random(5)
    words = ['"', '""', ";", "\n", "\r\n", "\r", "\0", "a", "b c", "http://a.example/1", "\xe9", ';"', '"\n', '";"']
    texts = ["".join(draw.choices(words, k=draw.randrange(1, 60))) for _ in range(400)]
    long = "x" * (MAX_CELL - 20)
    texts += [f'a;"{long}\n"b"\nc;d;\n"e\n', f'"{long}{long}\na;"b\nc"\nd;e\n', f'a;{long}{long}"\n;"b\nc"\n']
    for number, text in enumerate(texts):
        path = tmp_path / f"{number}.csv"
        path.write_bytes(b"url;text\n" + text.encode())
        whole = [row for part in cut_file(10_000, str(path)) for row in read_part(part, lambda names, first: [0, 1])]
        for size in (1, 3):
            parts = cut_file(size, str(path))
            assert [row for part in parts for row in read_part(part, lambda names, first: [0, 1])] == whole, repr(
                text[:99]
            )
