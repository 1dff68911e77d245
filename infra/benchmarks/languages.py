"""The language rule on captions whose language is known: how many foreign ones fall, and how many English ones with them.

    foreign   CLIP_benchmark's prompts in the languages that the model tells (translated by NLLB), each filled with a class name of
              Babel-ImageNet in that language; and such names alone, one or two words
    English   CC3M's validation captions, ImageNet's class names alone, and these in CLIP's prompts

`likeliest` is the presets' rule (odds 1), `cut to 30` what stood here before: the package itself cut to 30 languages, a text falls
where another of them has a probability of 0.7. All texts but CC3M's are drawn to LANGUAGE_TEXTS of each language.

    LANGUAGE_TEXTS=5 python infra/benchmarks/languages.py     a quick look
"""

import json
import os
import unicodedata
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
from harness import write_facts
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from pipeline.selection import language
from pipeline.selection.text_config import TextConfig

SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"
DATASETS = SHARED / "reference" / "clip_benchmark" / "clip_benchmark" / "datasets"
TEXTS = int(os.environ.get("LANGUAGE_TEXTS", "40"))
_CUT = "ar bn cs da de el en es fa fi fr he hi hu id it ja ko nl no pl pt ro ru sv th tr uk vi zh"
CUT = _CUT.split()
CUT_PROBABILITY = 0.7


def clean(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def foreign_texts() -> tuple[dict[str, list[str]], dict[str, list[str]]]:
    """Prompts and names by language, of those languages that both files and the model have."""
    prompts = json.loads((DATASETS / "nllb_dist13b_prompts.json").read_text("utf-8"))
    names = json.loads((DATASETS / "babel_imagenet.json").read_text("utf-8"))
    known = set(language.model(("en",)).languages)
    filled: dict[str, list[str]] = {}
    alone: dict[str, list[str]] = {}
    for code in sorted(set(prompts) & set(names) - {"EN"}):
        if code.lower() not in known:
            continue
        words = names[code][1]
        step = max(1, len(words) // TEXTS)
        chosen = [words[number * step % len(words)] for number in range(TEXTS)]
        alone[code] = sorted({clean(word) for word in chosen})
        patterns = [prompts[code][number % len(prompts[code])] for number in range(TEXTS)]
        filled[code] = sorted({clean(p.replace("{}", word)) for p, word in zip(patterns, chosen, strict=True)})
    return filled, alone


def english_texts() -> dict[str, list[str]]:
    table = SHARED / "cc3m-validation-tsv" / "Validation_GCC-1.1.0-Validation.tsv"
    names = json.loads((DATASETS / "en_classnames.json").read_text("utf-8"))["imagenet1k"]
    templates = json.loads((DATASETS / "en_zeroshot_classification_templates.json").read_text("utf-8"))["imagenet1k"]
    filled = [templates[number % len(templates)].replace("{c}", name) for number, name in enumerate(names)]
    return {
        "CC3M's validation captions": [clean(line.split("\t")[0]) for line in table.read_text("utf-8").splitlines()],
        "ImageNet's class names in CLIP's prompts": [clean(text) for text in filled],
        "ImageNet's class names alone": [clean(name) for name in names],
    }


def falls(texts: Sequence[str], odds: float) -> np.ndarray:
    return language.foreign(pa.array(texts, pa.string()), ("en",), odds)[0]


def cut_falls(texts: Sequence[str]) -> np.ndarray:
    """The former rule, by the package's own classes: the likeliest of 30 languages is not English, and sure of it."""
    found = []
    for text in texts:
        name, probability = CUT_MODEL.classify(text)
        found.append(name != "en" and probability >= CUT_PROBABILITY)
    return np.array(found)


def line(what: str, texts: Sequence[str]) -> list[str]:
    shares = [falls(texts, TextConfig().language_odds), falls(texts, 1.0), cut_falls(texts)]
    return [what, f"{len(texts):,}", *(f"{100 * share.mean():.2f}" for share in shares)]


CUT_MODEL = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
CUT_MODEL.set_languages(CUT)


def main() -> None:
    filled, alone = foreign_texts()
    rows = [
        line(f"foreign: prompts in {len(filled)} languages", [text for texts in filled.values() for text in texts]),
        line(f"foreign: names alone in {len(alone)} languages", [text for texts in alone.values() for text in texts]),
    ]
    rows += [line(f"English: {what}", texts) for what, texts in english_texts().items()]
    worst = sorted((float(falls(texts, TextConfig().language_odds).mean()), code) for code, texts in filled.items())
    told = ", ".join(f"{code} {100 * share:.0f}" for share, code in worst[:5])
    rows.append(["foreign prompts: languages of which the fewest fall", "", told, "", ""])
    odds = f"{TextConfig().language_odds:g}"
    headings = [
        "captions",
        "texts",
        f"fall by default (odds {odds}), %",
        "likeliest (presets), %",
        "cut to 30 (before), %",
    ]
    write_facts("languages", f"up to {TEXTS} texts of each language; wanted: en", headings, rows)


if __name__ == "__main__":
    main()
