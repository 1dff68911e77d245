"""Every card beside what the papers and the datasets themselves say; names and templates joined by key."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from click.testing import CliRunner

from evaluation.catalog import benchmarks as catalog
from evaluation.catalog.benchmarks import card_of, find, prompts_of
from evaluation.catalog.suites import SUITES
from evaluation.catalog.words import imagenet_classes_of, path_of, source_of
from evaluation.config import EvaluateConfig
from evaluation.pictures.table import LAYOUTS
from evaluation.statistics.metrics import METRICS
from orchestration.cli import cli
from pipeline.errors import ConfigError

TABLE_9 = {
    # classes, templates (openai/CLIP data/prompts.md), train and test of arXiv:2103.00020's table 9, metric
    "food101": (101, 1, 75750, 25250, "top1"),
    "cifar10": (10, 18, 50000, 10000, "top1"),
    "cifar100": (100, 18, 50000, 10000, "top1"),
    "birdsnap": (500, 1, 42283, 2149, "top1"),
    "sun397": (397, 2, 19850, 19850, "top1"),
    "cars": (196, 8, 8144, 8041, "top1"),
    "fgvc-aircraft": (100, 2, 6667, 3333, "mean_per_class"),
    "voc2007": (20, 1, 5011, 4952, "map_11_point"),
    "dtd": (47, 8, 3760, 1880, "top1"),
    "pets": (37, 1, 3680, 3669, "mean_per_class"),
    "caltech101": (102, 34, 3060, 6085, "mean_per_class"),
    "flowers102": (102, 1, 2040, 6149, "mean_per_class"),
    "mnist": (10, 1, 60000, 10000, "top1"),
    "fer2013": (7, 6, 32140, 3574, "top1"),
    "stl10": (10, 2, 1000, 8000, "top1"),
    "eurosat": (10, 3, 10000, 5000, "top1"),
    "resisc45": (45, 18, 3150, 25200, "top1"),
    "gtsrb": (43, 3, 26640, 12630, "top1"),
    "kitti-distance": (4, 1, 6770, 711, "top1"),
    "country211": (211, 5, 43200, 21100, "top1"),
    "pcam": (2, 1, 294912, 32768, "top1"),
    "ucf101": (101, 48, 9537, 1794, "top1"),
    "kinetics700": (700, 28, 494801, 31669, "mean_top1_top5"),
    "clevr-counts": (8, 1, 2000, 500, "top1"),
    "hateful-memes": (2, 1, 8500, 500, "roc_auc"),
    "rendered-sst2": (2, 1, 7792, 1821, "top1"),
    "imagenet": (1000, 80, 1281167, 50000, "top1"),
}
SHIFTS = {
    "imagenetv2": (10000, 1000),
    "imagenet-r": (30000, 200),
    "imagenet-a": (7500, 200),
    "imagenet-sketch": (50889, 1000),
    "objectnet": (18574, 113),
    "imagenet-vid-robust": (1109, 30),
    "ytbb-robust": (2030, 19),
    "imagenet-real": (46837, 1000),
    "cifar10.1": (2000, 10),
    "cifar10-c": (10000, 10),
    "cifar100-c": (10000, 100),
    "imagenet-c": (50000, 1000),
    "fairface-race": (10954, 7),
    "fairface-gender": (10954, 2),
    "fairface-age": (10954, 9),
}


@pytest.mark.parametrize("name", TABLE_9)
def test_the_papers_27_have_its_sizes_classes_prompts_and_metrics(name: str) -> None:
    classes, templates, train, test, metric = TABLE_9[name]
    task, card = find(name), card_of(name)
    assert task.prompts
    prompts = prompts_of(task.prompts)
    assert (len(prompts.classes), len(prompts.templates), task.metric) == (classes, templates, metric)
    assert card.paper is not None
    assert (card.paper.train, card.paper.test) == (train, test)
    ways = [((way.train or 0) + (way.val or 0), way.test) for way in card.variants.values()]
    assert (train, test) in ways or card.differs, "a paper's size that no variant has needs its reason"
    assert (card.paper.classes == classes) or card.differs


def test_the_suites_are_the_papers_and_name_known_tasks() -> None:
    assert set(SUITES["clip-27"]) == set(TABLE_9)
    assert len(SUITES["clip-27"]) == 27
    assert SUITES["kornblith-12"] == SUITES["clip-27"][:12]
    assert len(SUITES["natural-shifts"]) == 7
    for suite, tasks in SUITES.items():
        assert [find(name).name for name in tasks] == list(tasks)
        assert len(set(tasks)) == len(tasks)
        assert suite not in catalog.names(), "a name must mean one thing"
    assert all(find(name).loader != "" for name in SUITES["small"]), "small needs no download"


@pytest.mark.parametrize("name", SHIFTS)
def test_shifts_corruptions_and_probes_have_their_sizes_and_classes(name: str) -> None:
    task = find(name)
    assert task.prompts
    counted = card_of(name).variants[task.variant].test
    assert (counted, len(prompts_of(task.prompts).classes)) == SHIFTS[name]
    assert len(task.conditions) == (19 if name.endswith("-c") else 0)


@pytest.mark.parametrize("name", catalog.names())
def test_every_card_says_what_it_is_where_it_is_from_and_under_which_licence(name: str) -> None:
    card, task = card_of(name), find(name)
    assert card.title
    assert card.source
    assert card.licence != "not stated"
    assert task.loader or card.by_hand
    assert card.reference is None or card.reference in catalog.names()
    assert all(way.test for way in card.variants.values())
    for variant in card.variants:
        chosen = find(f"{name}@{variant}")
        assert chosen.name == f"{name}@{variant}"
        assert chosen.chance is None or 0 < chosen.chance <= 0.5
        assert chosen.prompts is None or prompts_of(chosen.prompts)
    assert "unpublished" not in " ".join(way.note for way in card.variants.values()) or card.differs


@pytest.mark.parametrize("path", sorted(Path(path_of("digits")).parent.glob("*.json")), ids=lambda path: path.stem)
def test_no_key_stands_twice_and_no_name_belongs_to_two_classes(path: Path) -> None:
    twice: list[str] = []

    def once(pairs: list[tuple[str, object]]) -> dict[str, object]:
        twice.extend(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        return dict(pairs)

    json.loads(path.read_text("utf-8"), object_pairs_hook=once)
    assert twice == []
    prompts = prompts_of(path.stem)
    owners = Counter(name for names in prompts.classes.values() for name in set(names))
    shared = {name for name, count in owners.items() if count > 1}
    assert shared <= ({"missile", "sunglasses"} if path.stem.startswith("imagenet") else set())
    assert all(template.count("{}") == 1 for template in prompts.templates)
    assert all(name == name.strip() != "" for names in prompts.classes.values() for name in names)
    assert path.stem.startswith(("digits", "scenes")) or source_of(path.stem)["keys"]


def test_every_metric_can_be_computed() -> None:
    others = {"recall@1", "pm0"}  # of retrieval and of frames, which have measures of their own
    asked = {way.metric or card.metric for card in map(card_of, catalog.names()) for way in card.variants.values()}
    assert asked - set(METRICS) == others


def test_every_dataset_on_disk_has_a_reader_of_its_own_layout() -> None:
    on_disk = [find(name) for name in catalog.names() if not find(name).loader]
    assert [task.name for task in on_disk if not set(task.layouts) <= set(LAYOUTS)] == []
    variants = [name.split("@") for name in LAYOUTS if "@" in name]
    assert all(variant in card_of(name).variants for name, variant in variants)


def test_imagenet_has_1000_synsets_though_two_names_belong_to_two_of_them() -> None:
    classes = prompts_of("imagenet").classes
    assert list(classes) == sorted(classes)
    assert len(set(classes.values())) == 998
    assert [key for key, names in classes.items() if names == ("missile",)] == ["n03773504", "n04008634"]
    assert [key for key, names in classes.items() if names == ("sunglasses",)] == ["n04355933", "n04356056"]
    assert classes["n01440764"] == ("tench",)
    assert classes["n02012849"] == ("crane bird",)


def test_lists_that_others_order_differently_are_joined_by_key() -> None:
    assert list(prompts_of("voc2007").classes)[10] == "diningtable"
    assert prompts_of("eurosat").classes["SeaLake"] == ("lake or sea",)
    assert next(iter(prompts_of("eurosat").classes)) == "AnnualCrop"
    assert prompts_of("clevr-counts").classes["10"] == ("10",)
    assert prompts_of("clevr-counts.clip-benchmark").classes["10"] == ("ten",)
    assert list(prompts_of("clevr-counts").classes) == [str(number) for number in range(3, 11)]
    assert list(prompts_of("pets").classes)[:2] == ["Abyssinian", "american_bulldog"]
    assert prompts_of("pets").classes["american_bulldog"] == ("american bulldog",)
    assert prompts_of("fer2013").classes["5"] == ("surprised", "shocked", "spooked")
    assert prompts_of("caltech101").classes["Faces_easy"] == ("centered face",)
    assert prompts_of("sun397").classes["/t/theater/indoor_procenium"] == ("theater indoor procenium",)
    assert prompts_of("country211").classes["XK"] == ("Kosovo",)
    assert prompts_of("cars").classes["196"] == ("smart fortwo Convertible 2012",)
    assert prompts_of("ucf101").classes["HandstandPushups"] == ("Hand Stand Pushups",)


def test_template_sets_of_two_harnesses_have_two_names() -> None:
    for name, ours, theirs in (("resisc45", 18, 4), ("pcam", 1, 2), ("clevr-counts", 1, 1)):
        task, other = find(name), find(f"{name}@clip-benchmark")
        assert task.prompts
        assert other.prompts
        assert (len(prompts_of(task.prompts).templates), len(prompts_of(other.prompts).templates)) == (ours, theirs)
        assert prompts_of(task.prompts).version != prompts_of(other.prompts).version


def test_classes_of_shifts_fall_on_imagenets() -> None:
    whole = set(prompts_of("imagenet").classes)
    for name, count in (
        ("imagenet-a", 200),
        ("imagenet-r", 200),
        ("objectnet", 125),
        ("imagenet-vid-robust", 288),
        ("ytbb-robust", 231),
    ):
        synsets = [synset for group in imagenet_classes_of(name).values() for synset in group]
        assert len(synsets) == len(set(synsets)) == count
        assert set(synsets) <= whole
    both = imagenet_classes_of("objectnet")
    assert both["skirt"] == ("n03534580", "n03770439", "n03866082")
    assert imagenet_classes_of("ytbb-robust")["17"] == ("n02391049",)


def test_listing_imports_no_torch() -> None:
    code = (
        "import sys; from evaluation.catalog.benchmarks import task_table; rows = task_table();"
        "assert len(rows) > 45 and 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_card_of_ones_own_is_ten_lines(tmp_path: Path) -> None:
    card = tmp_path / "fruit.yaml"
    card.write_text(
        "classes: [red_apple, pear]\nfolder: photos\nlayouts: [image-folder]\nsplits: {train: 8, test: 4}\n"
    )
    task = find(str(card))
    assert (task.name, task.home, task.folder, task.pictures) == ("fruit", str(tmp_path), "photos", 4)
    assert (task.train, task.val, task.chance) == ("train", None, 0.5)
    assert task.prompts
    assert prompts_of(task.prompts).classes == {"red_apple": ("red apple",), "pear": ("pear",)}
    assert prompts_of(task.prompts).templates == ("a photo of a {}.",)
    assert catalog.task_table([str(card)])[0]["task"] == "fruit"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("classes: [a, b]\nmetrik: top1\n", "metrik: there is no such key"),
        ("metric: top1\n", "has neither classes nor prompts; write classes"),
        ("classes: [a\n", "is not YAML"),
        ("- a\n", "must be a mapping such as"),
        ("classes: [a, b]\ntemplates: [a photo]\n", "templates: 'a photo' must hold {} once"),
        ("classes: [a, b]\nsplits: {test: 1}\nvariants: {x: {test: 2}}\n", "has both splits and variants"),
        ("classes: [a, b]\nkind: segmentation\n", "kind: Input should be"),
        ("prompts: nowhere\n", "prompts 'nowhere': there are none"),
    ],
)
def test_a_bad_card_is_one_line_with_its_file_and_key(tmp_path: Path, text: str, message: str) -> None:
    card = tmp_path / "bad.yaml"
    card.write_text(text)
    with pytest.raises(ConfigError) as caught:
        find(str(card))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_absent_card_and_an_unknown_variant_name_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"there is no card .*my\.yaml; write one, or name a task"):
        find(str(tmp_path / "my.yaml"))
    with pytest.raises(
        ConfigError, match="'eurosat' has no variant 'paper'; it has vtab, clip-paper, meru, official, coop"
    ):
        find("eurosat@paper")
    with pytest.raises(ConfigError, match="no task is called 'clip27'; did you mean clip-27"):
        find("clip27")
    with pytest.raises(ConfigError, match="'clip-27' is a suite, not one task; `openwit tasks --suite clip-27` lists"):
        find("clip-27")


def test_two_benchmarks_of_one_name_are_refused(tmp_path: Path) -> None:
    card = tmp_path / "dtd.yaml"
    card.write_text("classes: [a, b]\n")
    with pytest.raises(ConfigError, match="two are called 'dtd'; write another `name:` into your card"):
        EvaluateConfig(tasks=("dtd", str(card)))
    card.write_text("name: my-dtd\nclasses: [a, b]\n")
    assert EvaluateConfig(tasks=("dtd", str(card))).tasks == ("dtd", str(card))


def test_the_readmes_card_is_one(tmp_path: Path) -> None:
    readme = (Path(catalog.__file__).parents[1] / "README.md").read_text("utf-8")
    (block,) = re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL)
    card = tmp_path / "fruit.yaml"
    card.write_text(block)
    task = find(str(card))
    assert (task.metric, task.counts) == ("mean_per_class", {"train": 800, "val": None, "test": 200})


def test_show_tells_all_of_one_task() -> None:
    done = CliRunner().invoke(cli, ["tasks", "show", "caltech101@coop"])
    assert done.exit_code == 0
    for word in (
        "split_zhou_Caltech101.json",
        "CC BY 4.0",
        "Motorbikes: motorbike",
        "a random draw that nobody published",
    ):
        assert word in done.stdout
    assert json.loads(CliRunner().invoke(cli, ["tasks", "show", "coco", "--json"]).stdout)["pictures"] == 5000
