"""A benchmark of one's own, measured beside one that is absent and one that is broken."""

from pathlib import Path

from PIL import Image

from evaluation.config import EvaluateConfig
from evaluation.report import headline
from evaluation.run import evaluate
from tests.evaluation.test_parts import mine


def fruit(home: Path) -> str:
    for split, count in (("train", 4), ("test", 3)):
        for number, word in enumerate(("red_apple", "pear")):
            folder = home / "photos" / split / word
            folder.mkdir(parents=True)
            for at in range(count):
                Image.new("RGB", (16, 16), (200 * number, 10 * at, 90)).save(folder / f"{at}.png")
    card = home / "fruit.yaml"
    card.write_text(
        "folder: photos\nclasses: [red_apple, pear]\nmetric: mean_per_class\nsplits: {train: 8, test: 6}\nlicence: ours\n"
    )
    (home / "dtd").mkdir()
    (home / "dtd/notes.txt").write_text("no pictures here")
    return str(card)


def test_it_is_measured_and_says_what_is_not_wherever_it_lies(checkpoint_folder: str, tmp_path: Path) -> None:
    reports = []
    for place in ("here", "elsewhere"):
        (tmp_path / place).mkdir()
        config = EvaluateConfig(
            tasks=(fruit(tmp_path / place), "food101", "dtd"),
            datasets=str(tmp_path / place),
            protocols=("zero_shot",),
        )
        reports.append(evaluate(config, checkpoint_folder, str(tmp_path / place / "features")))
    one, other = reports
    assert one.score("fruit/zero_shot/mean_per_class/ensemble").n == 6
    assert {row["task"] for row in one.absent} == {"food101", "dtd"}
    assert one.config["tasks"] == ["fruit", "food101", "dtd"]
    assert one.scores == other.scores
    assert one.versions == other.versions
    assert one.id == other.id


def test_several_labels_are_each_alone_unless_the_card_takes_them_for_alternatives(tmp_path: Path) -> None:
    (tmp_path / "bowls").mkdir()
    for at in range(3):
        Image.new("RGB", (16, 16), (80 * at, 10, 90)).save(tmp_path / f"bowls/{at}.png")
    (tmp_path / "bowls/test.csv").write_text("file,label\n0.png,apple|pear\n1.png,pear\n2.png,\n")
    card, text = tmp_path / "bowls.yaml", "folder: bowls\nkind: multilabel\nclasses: [apple, pear]\n"
    for metric, known in (("", {"map_11_point", "map"}), ("metric: top1_any\n", {"top1_any"})):
        card.write_text(text + metric)
        config = EvaluateConfig(tasks=(str(card),), protocols=("zero_shot",), bootstrap_resamples=100)
        report = evaluate(config, mine(tmp_path), str(tmp_path / "features"))
        assert known <= {score.metric for score in report.scores}
        (told,) = headline(report)  # each task has its line in the result table
        assert (told.metric, told.n) == (("top1_any", 2) if metric else ("map_11_point", 3))
