"""Which queries stand in a caption: our dictionary of token windows beside an Aho-Corasick automaton (pyahocorasick).

Every caption of a crawl goes through this, so its speed per core bounds the text side of curation. On real captions (CC3M's
validation set and the alt texts of three OpenStax books) and real queries (all WordNet noun forms) where ../shared/data is
there, on generated ones elsewhere.
"""

import json
import random
import tempfile
from pathlib import Path

from harness import Row, cpu_seconds, paired, peer, write

from pipeline.matcher import Matcher

PEER = "pyahocorasick"
VERSION = "2.2.0"
TEXTS = 100_000
REPEATS = 5
SHARED = Path(__file__).resolve().parents[3] / "shared" / "data"


def real_data() -> tuple[list[str], list[str]]:
    """(queries, captions); the captions are repeated to TEXTS, the queries are each WordNet noun form once."""
    words = (SHARED / "reference" / "wordnet-words" / "words.txt").read_text("utf-8").splitlines()
    forms = dict.fromkeys(form.strip() for line in words for form in line.split("\t", 1)[1].split(","))
    table = SHARED / "cc3m-validation-tsv" / "Validation_GCC-1.1.0-Validation.tsv"
    captions = [line.split("\t", 1)[0] for line in table.read_text("utf-8").splitlines()]
    for book in sorted((SHARED / "openstax").glob("*/pairs.jsonl")):
        captions += [json.loads(line)["alt"] for line in book.read_text("utf-8").splitlines()]
    return [form for form in forms if form], captions


def generated_data() -> tuple[list[str], list[str]]:
    draw = random.Random(0)
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 9))) for _ in range(40_000)]
    queries = list(
        dict.fromkeys(" ".join(draw.choices(words, k=draw.choice((1, 1, 1, 2, 2, 3)))) for _ in range(100_000))
    )
    return queries, [" ".join(draw.choices(words, k=draw.randint(4, 20))) for _ in range(20_000)]


def main() -> None:
    is_real = (SHARED / "reference" / "wordnet-words").is_dir()
    all_queries, captions = real_data() if is_real else generated_data()
    texts = [captions[number % len(captions)] for number in range(TEXTS)]
    rows = []
    for queries in (all_queries[:1000], all_queries):
        with (
            tempfile.TemporaryDirectory() as folder,
            peer(PEER, [f"{PEER}=={VERSION}"], {"queries": queries, "texts": texts}, Path(folder)) as other,
        ):
            case = f"{len(queries):,} queries"
            built = paired(
                lambda q=queries: cpu_seconds(lambda: Matcher(q)), lambda: other.ask("build")["seconds"], REPEATS
            )
            matcher = Matcher(queries)
            ours = matcher.match(texts)
            other.ask("match")
            if other.ask("answer")["found"] != ours:
                raise SystemExit(f"{case}: the matches differ from {PEER}'s; no speed is reported")
            speed = paired(
                lambda m=matcher: cpu_seconds(lambda: m.match(texts)), lambda: other.ask("match")["seconds"], REPEATS
            )
        rows.append(Row(case, "captions matched", "per CPU second", TEXTS / speed[0], TEXTS / speed[1], PEER))
        rows.append(Row(case, "time to build", "CPU s", built[0], built[1], PEER, higher_is_better=False))
    kind = "CC3M validation and OpenStax alt texts, WordNet noun forms" if is_real else "generated words"
    data = f"{TEXTS:,} captions ({len(captions):,} different); {kind}"
    write("query_matching", data, rows, {PEER: VERSION})


if __name__ == "__main__":
    main()
