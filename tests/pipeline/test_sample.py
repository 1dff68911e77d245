"""Candidate rows: both ways to make the table give the same one."""

import random

from pipeline.sample import CANDIDATE, CandidateRows, candidates


def test_rows_column_by_column_equal_rows_one_by_one() -> None:
    draw = random.Random(0)
    rows, pairs = CandidateRows(), []
    for page in range(20):
        shared = {"page_url": f"http://a.example/{page}", "crawl_id": "c", "warc_offset": page, "licence": None}
        rows.page(shared)
        for number in range(draw.randrange(5)):
            texts = [(f"text {n} é", draw.choice(("alt", "title"))) for n in range(draw.randint(1, 3))]
            url = f"http://a.example/{page}/{number}.jpg"
            rows.add(url, *texts[0], None if len(texts) == 1 else texts)
            pairs.append({"url": url, "text": texts[0][0], "text_origin": texts[0][1], "texts": texts, **shared})
    assert rows.table().schema == CANDIDATE
    assert rows.table().equals(candidates(pairs))
    assert len(rows) == len(pairs)
    assert CandidateRows().table().equals(candidates([]))
