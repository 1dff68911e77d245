"""Make evaluation/catalog/prompts/*.json: class names and templates from their published lists, joined by the datasets' own words.

    python infra/catalog/names.py --reference ../shared/data/reference --timm FOLDER_OF_timm/data/_info

Names and templates come from openai/CLIP data/prompts.md and LAION-AI/CLIP_benchmark's json files (both MIT), ImageNet's
synset lists from the timm wheel (Apache-2.0). Lists here are in other orders than the datasets' (openai/CLIP#153, #346), so
each class gets the word by which the dataset's own files call it; the classes of a file stand in the order of the dataset's ids.
"""

import argparse
import ast
import json
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from own_words import CALTECH, CODES, EUROSAT, SUN_PLACES, VID, YTBB

HERE = Path(__file__).parent
OUT = HERE.parents[1] / "evaluation" / "catalog" / "prompts"
CLIP = "openai/CLIP data/prompts.md at d05afc4 (MIT)"
CB = "LAION-AI/CLIP_benchmark en_classnames.json and en_zeroshot_classification_templates.json at 48de38c (MIT)"


def clip_lists(path: Path) -> dict[str, dict[str, list[Any]]]:
    """Section -> {"classes", "templates"} of prompts.md, read as literals and never run."""
    sections = re.finditer(r"^## (\w+)\n+```bash\n(.*?)```", path.read_text("utf-8"), re.S | re.M)
    found: dict[str, dict[str, list[Any]]] = {}
    for section in sections:
        for line in ast.parse(section[2]).body:
            assert isinstance(line, ast.Assign)
            found.setdefault(section[1], {})[ast.unparse(line.targets[0])] = ast.literal_eval(line.value)
    return found


def spaced(name: str) -> str:
    return re.sub(r" +", "_", name)


def sun_path(name: str) -> str:
    """`/a/apartment_building/outdoor` of "apartment building outdoor": ClassName.txt of SUN397's partitions."""
    word = spaced(name)
    for place, rooms in SUN_PLACES.items():
        if word.endswith(f"_{place}") and word.removesuffix(f"_{place}") in rooms.split():
            return f"/{word[0]}/{word.removesuffix(f'_{place}')}/{place}"
    return f"/{word[0]}/" + re.sub(r"_(indoor|outdoor)$", r"/\1", word)


def countries(names: Iterable[str]) -> list[str]:
    """ISO 3166 codes of Country211's names (the dataset's folders)."""
    plain = lambda name: re.sub("[^a-z]", "", name.lower())  # noqa: E731
    lines = Path("/usr/share/zoneinfo/iso3166.tab").read_text("utf-8").splitlines()
    codes = {plain(line.split("\t")[1]): line[:2] for line in lines if not line.startswith("#")}
    others = iter(CODES)
    found = [codes.get(plain(name)) or next(others) for name in names]
    assert found == sorted(set(found))
    assert len(found) == 211
    return found


def pet(name: str) -> str:
    return spaced(name)


KEYS: dict[str, tuple[str, str, str, Callable[[list[Any]], list[str]]]] = {
    # our file: (section, what the keys are, CLIP_benchmark's name of its templates or "", names -> keys)
    "food101": ("Food101", "folders of images/", "food101", lambda names: [spaced(name) for name in names]),
    "cifar10": ("CIFAR10", "label_names of batches.meta", "cifar10", lambda names: list(names)),
    "cifar100": ("CIFAR100", "fine_label_names of meta", "cifar100", lambda names: [spaced(name) for name in names]),
    "birdsnap": ("Birdsnap", "folders, `dir` of species.txt", "", lambda names: [spaced(name) for name in names]),
    "sun397": ("SUN397", "lines of ClassName.txt", "sun397", lambda names: [sun_path(name) for name in names]),
    "cars": ("StanfordCars", "class of cars_annos.mat, 1 to 196", "cars", lambda names: numbers(names, 1)),
    "fgvc-aircraft": ("FGVCAircraft", "lines of variants.txt", "fgvc_aircraft", lambda names: list(names)),
    "voc2007": ("PascalVOC2007", "`name` of the XML files", "voc2007", lambda names: list(names)),
    "dtd": ("DescribableTextures", "folders of images/", "dtd", lambda names: list(names)),
    "pets": ("OxfordPets", "file names without their number", "pets", lambda names: [pet(name) for name in names]),
    "caltech101": (
        "Caltech101",
        "folders of 101_ObjectCategories/",
        "caltech101",
        lambda names: [CALTECH.get(name, spaced(name)) for name in names],
    ),
    "flowers102": ("Flowers102", "label of imagelabels.mat, 1 to 102", "flowers", lambda names: numbers(names, 1)),
    "mnist": ("MNIST", "digits of the label file", "mnist", lambda names: list(names)),
    "fer2013": ("FacialEmotionRecognition2013", "`emotion` of the csv", "fer2013", lambda names: numbers(names, 0)),
    "stl10": ("STL10", "lines of class_names.txt", "stl10", lambda names: list(names)),
    "eurosat": (
        "EuroSAT",
        "folders",
        "eurosat",
        lambda names: [{value: key for key, value in EUROSAT.items()}[name] for name in names],
    ),
    "resisc45": ("RESISC45", "folders", "", lambda names: [spaced(name) for name in names]),
    "gtsrb": ("GTSRB", "ClassId, 0 to 42", "gtsrb", lambda names: numbers(names, 0)),
    "kitti-distance": (
        "KITTI",
        "VTAB's class of the nearest vehicle's distance: 0 under 8 m, 1 under 20 m, 2 farther, 3 none",
        "kitti_closest_vehicle_distance",
        lambda names: numbers(names, 0),
    ),
    "country211": ("Country211", "folders: ISO 3166 codes", "country211", countries),
    "pcam": ("PatchCamelyon", "label: 1 where the centre holds tumour", "", lambda names: numbers(names, 0)),
    "ucf101": ("UCF101", "names of classInd.txt", "", lambda names: [ucf(name) for name in names]),
    "kinetics700": ("Kinetics700", "`label` of the csv files", "", lambda names: list(names)),
    "clevr-counts": ("CLEVRCounts", "number of objects, 3 to 10", "", lambda names: list(names)),
    "hateful-memes": ("HatefulMemes", "`label` of the jsonl files", "", lambda names: numbers(names, 0)),
    "rendered-sst2": ("SST2", "folders", "renderedsst2", lambda names: list(names)),
}
ORDER: dict[str, Callable[[str], Any]] = {
    "pets": str.lower,  # list.txt of the annotations, and TFDS
    "voc2007": str,  # the ids of the development kit
    "eurosat": str,
    "clevr-counts": int,
}


def numbers(names: list[Any], start: int) -> list[str]:
    return [str(number) for number in range(start, start + len(names))]


def ucf(name: str) -> str:
    return name.replace(" ", "").replace("HandStandPushups", "HandstandPushups")


def write(name: str, source: str, keys: str, body: dict[str, Any]) -> None:
    """One class a line, so that a change can be read. Words that were added by hand (`also`) stay."""
    path = OUT / f"{name}.json"
    if path.exists() and (also := json.loads(path.read_text("utf-8")).get("also")):
        templates = {key: value for key, value in body.items() if key == "templates"}
        body = {key: value for key, value in body.items() if key not in templates} | {"also": also} | templates
    lines = [f' "source": {dump(source)}', f' "keys": {dump(keys)}']
    for part, value in body.items():
        if isinstance(value, dict):
            rows = ",\n".join(f"  {dump(key)}: {dump(names)}" for key, names in value.items())
            lines.append(f" {dump(part)}: {{\n{rows}\n }}")
        elif isinstance(value, list):
            width = 10 if part == "only" else 1
            rows = ",\n".join(
                "  " + ", ".join(map(dump, value[start : start + width])) for start in range(0, len(value), width)
            )
            lines.append(f" {dump(part)}: [\n{rows}\n ]")
        else:
            lines.append(f" {dump(part)}: {dump(value)}")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n", "utf-8")


def dump(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def templates_of(values: Iterable[str]) -> list[str]:
    return [re.sub(r"\{c?\}", "{}", value) for value in values]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder with openai-clip/ and clip_benchmark/")
    parser.add_argument("--timm", type=Path, required=True, help="timm/data/_info of the timm wheel")
    options = parser.parse_args()
    lists = clip_lists(options.reference / "openai-clip/data/prompts.md")
    folder = options.reference / "clip_benchmark/clip_benchmark/datasets"
    names = json.loads((folder / "en_classnames.json").read_text("utf-8"))
    templates = json.loads((folder / "en_zeroshot_classification_templates.json").read_text("utf-8"))
    for name, (section, keys, theirs, to_keys) in KEYS.items():
        found = lists[section]
        table = {
            key: [each] if isinstance(each, str) else each
            for key, each in zip(to_keys(found["classes"]), found["classes"], strict=True)
        }
        assert len(table) == len(found["classes"]), name
        if name in ORDER:
            table = dict(sorted(table.items(), key=lambda row: ORDER[name](row[0])))
        assert not theirs or templates_of(templates[theirs]) == templates_of(found["templates"]), name
        write(name, CLIP, keys, {"classes": table, "templates": templates_of(found["templates"])})
    from_clip_benchmark(names, templates)
    imagenet(options.timm, names["imagenet1k"], templates_of(templates["imagenet1k"]))
    frames(templates_of(templates["imagenet1k"]))


def from_clip_benchmark(names: dict[str, list[str]], templates: dict[str, list[str]]) -> None:
    """The three sets where its templates differ from the paper's, and SVHN, which the paper has not."""
    for name, key in (("pcam", "pcam"), ("resisc45", "resisc45")):
        body = {"classes_from": name, "templates": templates_of(templates[key])}
        write(f"{name}.clip-benchmark", CB, f"those of {name}", body)
    counts = {str(number): [word] for number, word in zip(range(3, 11), names["clevr_count_all"], strict=True)}
    body = {"classes": counts, "templates": templates_of(templates["clevr_count_all"])}
    write("clevr-counts.clip-benchmark", CB, "number of objects, 3 to 10", body)
    digits = {str(number): [word] for number, word in enumerate(names["svhn"])}
    write(
        "svhn",
        CB,
        "the digit; the .mat files say 10 for 0",
        {"classes": digits, "templates": templates_of(templates["svhn"])},
    )


def imagenet(timm: Path, names: list[str], templates: list[str]) -> None:
    """Keyed by synset: 'missile' and 'sunglasses' are the names of two classes each."""
    synsets = (timm / "imagenet_synsets.txt").read_text().split()
    lemmas = dict(line.split("\t") for line in (timm / "imagenet_synset_to_lemma.txt").read_text("utf-8").splitlines())
    by_lemma = {lemmas[synset].split(", ")[0]: synset for synset in synsets}
    source = f"names and templates: {CB}, equal to the lists of OpenAI's notebook; synsets: timm (Apache-2.0)"
    table = {synset: [name] for synset, name in zip(synsets, names, strict=True)}
    write(
        "imagenet",
        source,
        "synsets; their alphabetical order is ImageNet's",
        {"classes": table, "templates": templates},
    )
    for short in "ar":
        only = (timm / f"imagenet_{short}_synsets.txt").read_text().split()
        body = {"classes_from": "imagenet", "only": only, "templates_from": "imagenet"}
        write(f"imagenet-{short}", f"list of classes: timm (Apache-2.0); {source}", "synsets", body)
    rows = [line.split("\t") for line in (HERE / "objectnet.tsv").read_text("utf-8").splitlines()]
    body = {
        "classes": {folder: [label.lower() if label not in ("TV", "T-shirt") else label] for folder, label, _ in rows},
        "templates_from": "imagenet",
        "imagenet": {folder: [by_lemma[word] for word in words.split("; ")] for folder, _, words in rows},
    }
    write("objectnet", "ObjectNet's own labels and mapping, as in mlfoundations/wise-ft (MIT)", "folders", body)


def frames(templates: list[str]) -> None:
    """Vid-Robust and YTBB-Robust: labels of their annotation files, and which ImageNet classes fall on each."""
    text = (HERE / "frames.tsv").read_text("utf-8").splitlines()
    synsets = list(json.loads((OUT / "imagenet.json").read_text("utf-8"))["classes"])
    found: dict[str, dict[str, list[str]]] = {"imagenet-vid-robust": {}, "ytbb-robust": {}}
    for line in text:
        name, label, ranges = line.split("\t")
        spans = [(*map(int, part.split("-")),) for part in ranges.split()]
        found[name][label] = [synsets[at] for span in spans for at in range(span[0], span[-1] + 1)]
    for name, table in found.items():
        named = dict(enumerate(VID)) if name.startswith("imagenet") else YTBB
        body = {
            "classes": {label: [named[int(label)].replace("_", " ")] for label in table},
            "templates_from": "imagenet",
            "imagenet": table,
        }
        write(
            name,
            "class lists of modestyachts/imagenet-testbed and mlfoundations/wise-ft (MIT)",
            "ids of the labels",
            body,
        )


if __name__ == "__main__":
    main()
