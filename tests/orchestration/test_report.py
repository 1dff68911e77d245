"""The report: complete, self-contained, safe to open whatever the web said, equal for equal facts."""

import functools
import io
import itertools
import json
import math
import re
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from runs import STEPS

from evaluation.report import OUTCOMES, Report, Score
from evaluation.statistics.intervals import wilson
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
from orchestration.report_view import thinned
from orchestration.report_words import duration_text, size_text
from pipeline.execution.ledger import Fate
from tests.browser import open_page

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
        (
            jpeg(Image.fromarray((255 - image * 15.9).astype("uint8")).resize((64, 64), Image.Resampling.BICUBIC)),
            int(label),
        )
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
    corruptions = (
        "gaussian_noise",
        "shot_noise",
        "impulse_noise",
        "defocus_blur",
        "motion_blur",
        "brightness",
        "contrast",
        "pixelate",
    )
    scores, details = [], {}
    for task, names in classes.items():
        n = 360 if task == "digits" else 400
        details[task] = {}
        for protocol, variant, value in (("zero_shot", "ensemble", 0.94), ("linear_probe", "test", 0.975)):
            scores += [score(task, protocol, metric, variant, value, n) for metric in ("top1", "mean_per_class")]
            counts = np.diag([round(value * n / len(names))] * len(names)) + rng.integers(
                0, 2, (len(names), len(names))
            )
            details[task][protocol] = {"classes": names, "confusion": counts.tolist()}
        curves = {"clean": 0.94} | {
            name: [max(0.1, 0.94 - severity * rng.uniform(0.02, 0.13)) for severity in range(1, 6)]
            for name in corruptions
        }
        for name in corruptions:
            scores += [score(task, "robustness", "top1", f"{name}/{s + 1}", v, 100) for s, v in enumerate(curves[name])]
        scores.append(score(task, "robustness", "top1", "mean", 0.71, 100))
        details[task]["robustness"] = {"curves": curves}
        details[task]["zero_shot"]["templates"] = [
            {"template": f"prompt {i} {{}}", "value": float(rng.uniform(0.8, 0.95))} for i in range(9)
        ]
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
        details=details,
        overlaps=(
            {
                "task": "digits", "protocol": "zero_shot", "variant": "ensemble",
                "pictures": 360, "overlapping": 12, "all": 0.9, "clean": 0.8966,
                "overlap": 1.0, "overlap_low": 0.6082, "overlap_high": 1.0, "all_minus_clean": 0.0034, "low": -0.0096,
                "high": 0.0034, "p_value": 0.27, "significant": False, "removed": False,
            },
        ),
    )  # fmt: skip


def example() -> ReportData:
    """A made-up run with every section filled; its numbers are invented and stand in no document."""
    fates: dict[str, dict[str, Fate]] = {
        "crawl": {"pages": fate(312, meta_opt_out=6, header_opt_out=4, robots_txt=9, not_found=3), "pairs": fate(4012)},
        "select": {
            "pairs": fate(
                4012, text_boilerplate=140, text_empty=122, text_language=61, no_query=37, balanced_out=402,
                duplicate_pair=18,
            )
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
    heads = (
        "4,012 pictures",
        "1,200 pictures",
        "4,012 pairs",
        "3,232 pairs",
        "3,131 pictures",
        "2,979 pairs",
        "2,954 pairs",
        "3 shards",
        "600 steps",
        "34 scores",
        "",
    )
    seconds = (14.2, 3.1, 9.4, 6.0, 21.7, 5.2, 2.4, 1.9, 214.0, 41.3, 2.2)
    steps = [
        StepFact(
            name, f"{i:02d}" + "9fa3c1d27e" * 6, s, "done", {"pages_per_item": 16, "network": {"retries": 3}}, head
        )
        for i, (name, head, s) in enumerate(zip(STEPS, heads, seconds, strict=True))
    ]
    lineage = {later: [earlier] for earlier, later in itertools.pairwise(STEPS)} | {"references": [], "crawl": ["web"]}
    lineage["decontaminate"] = ["deduplicate", "references"]
    rng = np.random.default_rng(0)
    training = [
        {
            "step": step,
            "loss": 0.5 + 4.4 * math.exp(-step / 120) + float(rng.normal(0, 0.08)),
            "learning_rate": 5e-4 * min(1, step / 60) * 0.5 * (1 + math.cos(math.pi * step / 600)),
            "logit_scale": 14.3 + 20 * step / 600,
            "samples_per_second": 610 + float(rng.normal(0, 12)),
            "accuracy": min(1.0, step / 500),
            "mfu": 0.31,
        }
        for step in range(1, 601)
    ]
    kept = [KeptSample(image, f"a handwritten digit {label}, scanned from a form") for image, label in digits()[:18]]
    kept += [KeptSample(drawn(seed), "a blue circle with stripes on a table") for seed in range(18)]
    dropped = {
        "near_duplicate": [
            DroppedSample(drawn(i), "a red square", f"http://a.example/{i}.jpg", "2 bits from kept 4f1a")
            for i in range(6)
        ],
        "near_evaluation": [
            DroppedSample(digits()[20 + i][0], "the digit", f"http://a.example/{i}.png", "digits/test/17")
            for i in range(5)
        ],
        "image_too_small": [
            DroppedSample(drawn(50 + i, 24), "logo", f"http://a.example/{i}.gif", "24 x 24 pixels") for i in range(4)
        ],
        "aspect_too_extreme": [
            DroppedSample(jpeg(Image.new("RGB", (300, 20), "#2e86ab")), "banner", "http://a.example/b", "15 : 1")
        ],
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
        balance=Balance(
            [900 // (i + 1) + 4 for i in range(60)], [min(120, 900 // (i + 1) + 4) for i in range(60)], 120
        ),
        dataset=DatasetFacts("cd34" * 16, 2954, 9_840_112, 3, sizes),
        kept=kept,
        dropped=dropped,
        training=training,
        while_training=[{"step": step, "digits/zero_shot/top1/ensemble": step / 700} for step in (200, 400, 600)],
        evaluation=evaluation(),
        environment={
            "openwit": "0.1.0",
            "python": "3.11.9",
            "torch": "2.13.0",
            "machine": "2 cores, 24 GiB",
            "commit": "b85e01a",
        },
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


@pytest.fixture(scope="module")
def html() -> str:
    return build_html(example())


@pytest.fixture(scope="module")
def attacked() -> str:
    """A report in which everything that can come from the web is hostile."""
    data = example()
    pictures = [drawn(1), b"", b"\xff\xd8\xff broken", b"<svg onload=alert(1)>"]
    return build_html(
        replace(
            data,
            recipe=HOSTILE[0],
            kept=[KeptSample(pictures[i % 4], text) for i, text in enumerate(HOSTILE)],
            dropped={
                "near_duplicate": [DroppedSample(pictures[i % 4], t, t, t) for i, t in enumerate(HOSTILE[:6])],
                HOSTILE[1]: [DroppedSample(drawn(2), HOSTILE[2], HOSTILE[2], HOSTILE[3])],
                "text_language": [DroppedSample(None, t, t, t) for t in HOSTILE],
                "not_found": [DroppedSample(None, t, t, t) for t in HOSTILE[6:]],
            },
            fates=dict(data.fates) | {"fetch": {HOSTILE[1]: Fate(5, 3, {HOSTILE[0]: 2})}},
            steps=[replace(data.steps[0], config={HOSTILE[1]: HOSTILE[0], "seeds": [HOSTILE[2]]}), *data.steps[1:]],
            environment={HOSTILE[8]: HOSTILE[8]},
            training=(),
            evaluation=replace(
                data.evaluation or evaluation(),
                details={HOSTILE[8]: {"zero_shot": {"classes": HOSTILE[:2], "confusion": [[3, 1], [0, 4]]}}},
            ),
        )
    )


def test_every_section_is_there_and_every_link_of_the_page_leads_into_the_page(html: str) -> None:
    page = Page(html)
    ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
    assert {
        "results",
        "chain",
        "curation",
        "kept",
        "dropped",
        "training",
        "evaluation",
        "lineage",
        "environment",
    } <= set(ids)
    assert len(ids) == len(set(ids))
    links = [attributes["href"] or "" for tag, attributes in page.tags if tag == "a"]
    assert links
    assert {link[0] for link in links} == {"#"}
    assert {link[1:] for link in links} <= set(ids)
    drawn_from = {a["xlink:href"] or "" for _, a in page.tags if "xlink:href" in a}
    assert {reference[1:] for reference in drawn_from} <= set(ids)


def test_the_page_tells_what_overlap_with_the_training_data_does(html: str) -> None:
    table = html.split("Overlap of 1 results with the training data")[1].split("</table>")[0]
    for cell in ("digits · zero shot", "12 of 360", "90.00", "89.66", "+0.34 (-0.96 to +0.34)", "0.27"):
        assert cell in table


def test_the_page_tells_the_facts_of_the_run(html: str) -> None:
    text = Page(html).text
    for said in ("93.9 %", "90.9", "n = 360", "2,954", "23 of 23 planted kinds counted exactly", "6 min 42 s", "3.2 GiB",
                 "duplicate_bytes", "the very same bytes as a kept picture", "openwit run demo", "2.13.0", "robots_txt",
                 "2 bits from kept 4f1a", "Disallow: /private/", "balanced_out"):  # fmt: skip
        assert said in text.replace("\u202f", " "), said


def test_a_count_that_differs_from_what_was_planted_is_said_aloud() -> None:
    data = example()
    planted = {"fetch": {"pairs": {"not_found": 32, "pixel_limit": 1}}}
    fates = {"fetch": {"pairs": Fate(40, 7, {"not_found": 31, "timeout": 2})}}
    wrong = replace(data, fates=fates, planted=planted, planted_recovered={"retried": 12}, recovered={})
    assert [(row.reason, row.planted, row.counted, row.equal) for row in compare(wrong)] == [
        ("not_found", 32, 31, False),
        ("pixel_limit", 1, 0, False),
        ("timeout", 0, 2, False),  # nobody planted it, so pairs were lost that should have stayed
        ("retried", 12, 0, False),
    ]
    page = build_html(replace(wrong, evaluation=None, training=(), kept=(), dropped={}))
    assert "0 of 4 planted kinds counted exactly" in Page(page).text
    assert page.count("not equal") == 4


def test_nothing_is_loaded_from_outside_and_nothing_runs(html: str, attacked: str) -> None:
    for text in (html, attacked):
        page = Page(text)
        policy = next(a["content"] for _, a in page.tags if a.get("http-equiv") == "Content-Security-Policy") or ""
        assert policy.startswith("default-src 'none'; img-src data:; style-src 'unsafe-inline'")
        tags = {tag for tag, _ in page.tags}
        assert not tags & {"script", "iframe", "object", "embed", "form", "base", "input", "video", "audio"}
        assert [a["href"] for tag, a in page.tags if tag == "link"] == ["data:,"]
        for tag, attributes in page.tags:
            assert not [name for name in attributes if name.startswith("on")], (tag, attributes)
            for name in ("src", "href", "xlink:href", "action", "srcset", "data"):
                value = attributes.get(name)
                assert value is None or value.startswith(("data:image/jpeg;base64,", "data:,", "#")), (tag, name, value)
        assert not re.search(r"url\((?!#)|@import", text)


def test_what_the_web_said_is_shown_as_text_and_cannot_steer_the_page(attacked: str) -> None:
    assert attacked.encode("utf-8")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in attacked
    assert "{{ 7 * 7 }}" in attacked
    assert Page(attacked).text.count("javascript:alert(document.domain)") >= 3
    for character in "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\x1b\x00\x07\x9b\ufffe":
        assert character not in attacked, f"U+{ord(character):04X}"
    assert "‹U+202E›" in attacked
    assert "x" * 400 not in attacked
    assert '<bdi dir="auto">صورة رقم ثلاثة</bdi>' in attacked


def test_every_picture_has_an_alt_text_and_every_table_its_headers(html: str) -> None:
    page = Page(html)
    assert all(attributes.get("alt") for tag, attributes in page.tags if tag == "img")
    plots = [attributes for tag, attributes in page.tags if tag == "svg" and attributes.get("class") == "plot"]
    assert len(plots) >= 10
    assert all(plot["role"] == "img" and plot["aria-label"] for plot in plots)
    tags = [tag for tag, _ in page.tags]
    assert tags.count("table") == tags.count("caption") == tags.count("thead")
    assert all("scope" in attributes for tag, attributes in page.tags if tag == "th")


def test_equal_facts_give_the_same_page_and_the_same_pictures() -> None:
    data = replace(example(), kept=example().kept[:2])
    small = replace(data, evaluation=None, dropped={}, training=data.training[:5])
    assert build_html(small) == build_html(replace(small))
    assert build_pictures(small) == build_pictures(small)


def test_a_report_with_sixty_thumbnails_of_noise_and_all_plots_stays_below_three_megabytes(html: str) -> None:
    rng = np.random.default_rng(0)
    noise = [jpeg(Image.fromarray(rng.integers(0, 255, (256, 256, 3), dtype=np.uint8))) for _ in range(60)]
    dropped = {
        f"reason_{group}": [DroppedSample(n, "noise", "http://a.example/n") for n in noise[start : start + 6]]
        for group, start in enumerate(range(36, 60, 6))
    }
    kept = [KeptSample(n, "noise") for n in noise[:36]]
    page = build_html(replace(example(), kept=kept, dropped=dropped, training=(), evaluation=None))
    assert page.count("<img ") == 60
    # `html` is the example with all its plots.
    assert len(page.encode()) + len(html.encode()) < 3_000_000


def test_a_run_of_which_nothing_is_known_but_its_name_still_has_a_report() -> None:
    data = ReportData(recipe="empty", run_id="r", reproduce="openwit run empty")
    assert "empty" in Page(build_html(data)).text
    assert build_json(data)["results"]["evaluation"] is None
    assert build_pictures(data) == {}


def test_report_json_is_plain_json_and_only_its_measured_part_differs_between_equal_runs() -> None:
    first = build_json(example())
    assert json.loads(json.dumps(first, allow_nan=False)) == first
    data = example()
    slower = replace(
        data,
        run_id="another",
        total_seconds=999.0,
        peak_memory_bytes=1,
        steps=[replace(step, seconds=step.seconds * 2, state="up to date") for step in data.steps],
        environment={"machine": "another"},
        training=data.training[:10],
    )
    second = build_json(slower)
    assert second["results"] == first["results"]
    assert second["measured"] != first["measured"]
    assert first["results"]["fates"]["deduplicate"]["pairs"] == {
        "rows_in": 3131,
        "kept": 2979,
        "reasons": {"duplicate_bytes": 64, "near_duplicate": 88},
    }
    assert first["results"]["evaluation"]["scores"][0]["n"] == 360


def test_report_json_can_be_written_whatever_the_web_said() -> None:
    data = replace(example(), kept=[KeptSample(b"", text) for text in HOSTILE])
    assert json.dumps(build_json(data), ensure_ascii=False).encode("utf-8")


def test_a_long_training_curve_is_thinned_evenly_and_keeps_its_ends() -> None:
    rows = [{"step": float(i)} for i in range(12_345)]
    few = thinned(rows, 100)
    assert (few[0], few[-1], len(few)) == (rows[0], rows[-1], 100)
    gaps = np.diff([row["step"] for row in few])
    assert gaps.max() - gaps.min() <= 1
    assert thinned(rows[:7]) == rows[:7]


def test_numbers_are_said_as_people_say_them() -> None:
    assert [duration_text(s) for s in (0.04, 9.94, 59.6, 402, 3661)] == [
        "0.0 s",
        "9.9 s",
        "1 min 0 s",
        "6 min 42 s",
        "1 h 1 min",
    ]
    assert [size_text(b) for b in (12, 2048, 3_412_000_000)] == ["12 B", "2.0 KiB", "3.2 GiB"]


@pytest.mark.browser
def test_chromium_draws_every_picture_asks_for_nothing_more_and_has_no_errors_even_in_a_sandbox(
    tmp_path: Path, html: str, attacked: str
) -> None:
    (tmp_path / "report.html").write_text(html, "utf-8")
    (tmp_path / "attacked.html").write_text(attacked, "utf-8")
    # MLflow shows artifacts in such a frame.
    frames = '<!doctype html><link rel="icon" href="data:,"><iframe sandbox="allow-scripts" src="{}" width=900 height=900></iframe>'
    (tmp_path / "framed.html").write_text(frames.format("attacked.html"), "utf-8")
    with served(tmp_path) as (address, asked), open_page(f"{address}/report.html", width=1280) as page:
        assert page.undrawn_pictures() == []
        assert page.script("return document.images.length") > 40
        assert page.script("return document.documentElement.scrollWidth <= window.innerWidth")
        page.script("document.querySelector('nav a[href=\"#evaluation\"]').click()")
        assert page.script("return location.hash") == "#evaluation"
        assert page.script("return getComputedStyle(document.querySelector('svg.plot text')).fontFamily").startswith(
            "system-ui"
        )
        assert page.errors() == []
        page.driver.get(f"{address}/framed.html")
        page.driver.switch_to.frame(0)
        assert page.script("return document.images.length") > 3
        assert page.undrawn_pictures() == []
        assert page.errors() == []
        assert asked == ["/report.html", "/framed.html", "/attacked.html"]


@pytest.mark.browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_wider_than_the_screen_and_text_has_contrast(
    tmp_path: Path, html: str, scheme: str
) -> None:
    path = tmp_path / "report.html"
    path.write_text(html, "utf-8")
    with open_page("about:blank", width=520) as page:
        command = page.driver.execute_cdp_cmd
        command("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
        command(
            "Emulation.setDeviceMetricsOverride", {"width": 400, "height": 800, "deviceScaleFactor": 1, "mobile": True}
        )
        page.driver.get(path.as_uri())
        assert page.script("return document.documentElement.scrollWidth") <= 400
        colours = page.script(
            "return ['--ink','--soft','--muted','--accent','--drop'].map(name => {"
            "const e = document.createElement('i'); e.style.color = `var(${name})`; e.style.backgroundColor = 'var(--ground)';"
            "document.body.append(e); const s = getComputedStyle(e); return [name, s.color, s.backgroundColor]})"
        )
        for name, text, ground in colours:
            assert contrast(text, ground) >= 4.5, (scheme, name)


def contrast(one: str, other: str) -> float:
    """WCAG 2.2 contrast ratio of two "rgb(r, g, b)" colours."""

    def luminance(colour: str) -> float:
        channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@contextmanager
def served(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """The folder over HTTP on loopback, and the paths that were asked for."""
    asked: list[str] = []

    class Handler(SimpleHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            super().do_GET()

        def log_message(self, format: str, *values: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Handler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
