"""The report: complete, self-contained, safe to open whatever the web said, equal for equal facts."""

import io
import json
import math
import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw

from evaluation.report import OUTCOMES, Report, Score
from evaluation.statistics import wilson
from orchestration.report import build_html, build_json, build_pictures
from orchestration.report_data import (
    Balance,
    DatasetFacts,
    DroppedSample,
    KeptSample,
    ReportData,
    StepFact,
    compare,
)
from pipeline.ledger import Fate

HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>' onload='alert(2)",
    "javascript:alert(document.domain)",
    "\u202egnp.exe\u202c right to left \u2066unclosed",
    "\x1b[31mred\x1b[0m \x00\x07\x9b bell",
    "lone \ud800 surrogate \ufffe",
    "{{ 7 * 7 }}{% raw %}",
    "Z̸̢̛a̷̡͝l̵̨͠g̶̢͠o " * 20,
    "</style></svg></title><base href=//evil.example>",
    "صورة رقم ثلاثة",
    "x" * 5000,
    "",
)


def jpeg(picture: Image.Image) -> bytes:
    sink = io.BytesIO()
    picture.save(sink, "JPEG", quality=90)
    return sink.getvalue()


def drawn(seed: int, side: int = 96) -> bytes:
    """A picture with a coloured shape."""
    rng = np.random.default_rng(seed)
    colours = ("#d1495b", "#2e86ab", "#3b7a57", "#edae49", "#6b4c9a", "#30638e")
    picture = Image.new("RGB", (side, side), str(rng.choice(["#f3efe6", "#dfe8ee", "#222831", "#e8e2d0"])))
    draw = ImageDraw.Draw(picture)
    box = (side * 0.2, side * 0.2, side * 0.8, side * 0.8)
    colour = colours[rng.integers(len(colours))]
    (draw.ellipse, draw.rectangle)[seed % 2](box, fill=colour)
    return jpeg(picture)


@cache
def digits() -> tuple[tuple[bytes, int], ...]:
    from sklearn.datasets import load_digits

    data = load_digits()
    return tuple(
        (jpeg(Image.fromarray((255 - image * 15.9).astype("uint8")).resize((64, 64), Image.Resampling.BICUBIC)), int(label))
        for image, label in zip(data.images[:40], data.target[:40], strict=True)
    )


def evaluation() -> Report:
    rng = np.random.default_rng(1)

    def score(task: str, protocol: str, metric: str, variant: str, value: float, n: int) -> Score:
        return Score(task, protocol, metric, variant, *wilson(round(value * n), n), n)

    classes = {
        "digits": [str(i) for i in range(10)],
        "scenes": ["circle", "square", "triangle", "star", "ring", "cross", "crescent", "hexagon"],
    }
    corruptions = ("gaussian_noise", "shot_noise", "impulse_noise", "defocus_blur", "motion_blur", "brightness", "contrast", "pixelate")
    scores, confusions, curves, templates = [], {}, {}, []
    for task, names in classes.items():
        n = 360 if task == "digits" else 400
        confusions[task] = {"classes": names}
        for protocol, variant, value in (("zero_shot", "ensemble", 0.94), ("linear_probe", "test", 0.975)):
            scores += [score(task, protocol, metric, variant, value, n) for metric in ("top1", "mean_per_class")]
            counts = np.diag([round(value * n / len(names))] * len(names)) + rng.integers(0, 2, (len(names), len(names)))
            confusions[task][protocol] = counts.tolist()
        curves[task] = {"clean": 0.94} | {
            name: [max(0.1, 0.94 - severity * rng.uniform(0.02, 0.13)) for severity in range(1, 6)] for name in corruptions
        }
        for name in corruptions:
            scores += [score(task, "robustness", "top1", f"{name}/{s + 1}", v, 100) for s, v in enumerate(curves[task][name])]
        scores.append(score(task, "robustness", "top1", "mean", 0.71, 100))
        templates += [{"task": task, "template": f"prompt {i} {{}}", "value": float(rng.uniform(0.8, 0.95))} for i in range(9)]
    for variant in ("image_to_text", "text_to_image"):
        for depth, value in ((1, 0.61), (5, 0.88), (10, 0.95)):
            scores.append(score("scenes-retrieval", "retrieval", f"recall@{depth}", variant, value, 400))
    metrics = {"digits": "top1", "scenes": "top1", "scenes-retrieval": "recall@1"}
    return Report(
        checkpoint_id="5f2c9d1e7ab04c33" * 4,
        config={"metrics": metrics},
        versions={"code": "8d1f", "prompts": {"digits": "1a2b"}},
        scores=tuple(scores),
        outcomes=OUTCOMES.empty_table(),
        confusions=confusions,
        templates=tuple(templates),
        curves=curves,
    )


def example() -> ReportData:
    """A made-up run with every section filled; its numbers are invented and stand in no document."""
    fates: dict[str, dict[str, Fate]] = {
        "crawl": {"pages": fate(312, meta_opt_out=6, header_opt_out=4, robots_txt=9, not_found=3), "pairs": fate(4012)},
        "select": {
            "pairs": fate(4012, text_boilerplate=140, text_empty=122, text_language=61, no_query=37, balanced_out=402, duplicate_pair=18)
        },
        "fetch": {
            "pairs": fate(
                3232, not_found=31, image_too_small=24, aspect_too_extreme=12, decode_failed=15, not_an_image=9, too_slow=2,
                redirect_loop=3, http_error=5,
            )
        },
        "deduplicate": {"pairs": fate(3131, duplicate_bytes=64, near_duplicate=88)},
        "decontaminate": {"pairs": fate(2979, near_evaluation=25)},
    }  # fmt: skip
    planted = {p: {u: dict(f.reasons) for u, f in units.items() if f.reasons} for p, units in fates.items()}
    del planted["select"]["pairs"]["balanced_out"]
    names = ("web", "references", "crawl", "select", "fetch", "deduplicate", "decontaminate", "pack", "train", "evaluate", "report")
    heads = ("4,012 pictures", "1,200 pictures", "4,012 pairs", "3,232 pairs", "3,131 pictures", "2,979 pairs", "2,954 pairs", "3 shards", "600 steps", "34 scores", "")
    seconds = (14.2, 3.1, 9.4, 6.0, 21.7, 5.2, 2.4, 1.9, 214.0, 41.3, 2.2)
    steps = [
        StepFact(name, f"{i:02d}" + "9fa3c1d27e" * 6, s, "done", {"pages_per_item": 16, "network": {"retries": 3}}, head)
        for i, (name, head, s) in enumerate(zip(names, heads, seconds, strict=True))
    ]
    lineage = {later: [earlier] for earlier, later in zip(names[2:], names[3:], strict=False)} | {"crawl": ["web"]}
    lineage["decontaminate"] = ["deduplicate", "references"]
    rng = np.random.default_rng(0)
    training = [
        {
            "step": step,
            "loss": 0.5 + 4.4 * math.exp(-step / 120) + float(rng.normal(0, 0.08)),
            "learning_rate": 5e-4 * min(1, step / 60) * 0.5 * (1 + math.cos(math.pi * step / 600)),
            "logit_scale": 14.3 + 20 * step / 600,
            "samples_per_second": 610 + float(rng.normal(0, 12)),
        }
        for step in range(1, 601)
    ]
    kept = [KeptSample(image, f"a handwritten digit {label}, scanned from a form") for image, label in digits()[:18]]
    kept += [KeptSample(drawn(seed), "a blue circle with stripes on a table") for seed in range(18)]
    dropped = {
        "near_duplicate": [DroppedSample(drawn(i), "a red square", f"http://a.example/{i}.jpg", "2 bits from kept 4f1a") for i in range(6)],
        "near_evaluation": [DroppedSample(digits()[20 + i][0], "the digit", f"http://a.example/{i}.png", "digits/test/17") for i in range(5)],
        "image_too_small": [DroppedSample(drawn(50 + i, 24), "logo", f"http://a.example/{i}.gif", "24 x 24 pixels") for i in range(4)],
        "aspect_too_extreme": [DroppedSample(jpeg(Image.new("RGB", (300, 20), "#2e86ab")), "banner", "http://a.example/b", "15 : 1")],
        "text_boilerplate": [DroppedSample(None, "IMG_1234.jpg", "http://a.example/IMG_1234.jpg", "a file name")] * 3,
        "robots_txt": [DroppedSample(None, "", "http://a.example/private/1", "Disallow: /private/")],
        "not_found": [DroppedSample(None, "a green star", "http://a.example/gone.jpg", "404")],
    }
    sizes = {"under 32": 40, "32 to 63": 310, "64 to 127": 1804, "128 to 255": 640, "256 and more": 160}
    return ReportData(
        recipe="demo",
        run_id="20260101-120000-7f3a",
        reproduce="openwit run demo",
        created_from={"web": "ab12" * 16, "dataset": "cd34" * 16, "checkpoint": "5f2c9d1e7ab04c33" * 4},
        steps=steps,
        lineage=lineage,
        fates=fates,
        planted=planted,
        planted_recovered={"retried": 12, "redirected": 30, "cmyk": 6},
        recovered={"retried": 12, "redirected": 30, "cmyk": 6},
        balance=Balance([900 // (i + 1) + 4 for i in range(60)], [min(120, 900 // (i + 1) + 4) for i in range(60)], 120),
        dataset=DatasetFacts("cd34" * 16, 2954, 9_840_112, 3, sizes),
        kept=kept,
        dropped=dropped,
        training=training,
        evaluation=evaluation(),
        environment={"openwit": "0.1.0", "python": "3.11.9", "torch": "2.13.0", "machine": "2 cores, 24 GiB", "commit": "b85e01a"},
        peak_memory_bytes=3_412_000_000,
        total_seconds=402.0,
    )


def fate(rows_in: int, **reasons: int) -> Fate:
    return Fate(rows_in, rows_in - sum(reasons.values()), reasons)


class Page(HTMLParser):
    """Tags with their attributes, ids, and the text outside <style>."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, Mapping[str, str | None]]] = []
        self.words: list[str] = []
        self._style = False
        self.feed(text)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self._style = tag == "style"

    def handle_endtag(self, tag: str) -> None:
        self._style = False

    def handle_data(self, data: str) -> None:
        if not self._style:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())
