"""What the tables of a data card count, and what they say they count."""

from dataclasses import replace

from orchestration.card_facts import CardFacts
from orchestration.card_sections import sections
from orchestration.forecast import COPIES
from pipeline.web.taxonomy import OPT_OUTS

EMPTY = CardFacts("id", 90, 1, 1, "code", (), {}, {})


def test_every_opt_out_is_counted_and_a_robots_txt_that_is_unreadable_is_not_called_somebodys_word() -> None:
    reasons = {reason: number for number, reason in enumerate((*OPT_OUTS, "taken_down", "not_found"), 1)}
    counts = {"fetch": {"pairs": {"rows_in": 100, "kept": 79, "reasons": reasons}}}
    _, said, _, rows = next(each for each in sections(replace(EMPTY, counts=counts)) if each[0] == "Opt-outs")
    assert {row[2]: row[3] for row in rows} == {
        "robots_txt": "1",
        "header_opt_out": "2",
        "meta_opt_out": "3",
        "site_opt_out": "4",
        "taken_down": "5",
    }
    assert "robots.txt could not be read" in said
    assert "tdmrep.json" in said


def test_every_kind_of_duplicate_is_counted() -> None:
    reasons = dict.fromkeys((*COPIES, "duplicate_of_dataset", "not_found"), 2)
    counts = {"deduplicate": {"pairs": {"rows_in": 100, "kept": 86, "reasons": reasons}}}
    _, _, _, rows = next(each for each in sections(replace(EMPTY, counts=counts)) if each[0] == "Duplicates")
    assert {row[2] for row in rows} == COPIES | {"duplicate_of_dataset"}
