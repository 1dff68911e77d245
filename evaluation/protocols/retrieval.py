"""Retrieval as a protocol: recall at 1, 5 and 10, from pictures to texts and back, with one or several captions a picture.

Captions of one picture are found or missed together: their interval is of pictures (statistics/clustered.py).
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from evaluation.catalog.benchmarks import Task
from evaluation.features.wanted import Wanted
from evaluation.models.directions import unit
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.outcomes import add_rows, name_of
from evaluation.protocols.protocol import Findings, Question
from evaluation.protocols.ranks import DEPTHS, Matches, Ranks, captions_and_matches, match_ranks
from evaluation.statistics.clustered import share_interval
from pipeline.errors import DataError


class Retrieval:
    name = "retrieval"
    learns = False

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        if not encoder.reads_text:
            return f"asks in words, and {encoder.spec.name} reads none"
        return None if task.kind == "retrieval" else "has no captions"

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        return [(question.pictures, Wanted())]

    def measure(self, question: Question) -> Findings:
        findings = Findings(question.task.name, self.name)
        config = question.config.retrieval
        column = question.pictures.column(question.task.label)
        texts, to_texts = captions_and_matches(column, config.equal_captions == "one text")
        without = sorted(set(range(len(column))) - set(to_texts.queries.tolist()))
        if without:
            raise DataError(f"{question.pictures.name}: picture {without[0]} has no caption; leave it out or add one")
        text_MD = question.embed([config.prefix + text for text in texts])
        image_ND = question.features(question.pictures, [Wanted()])[Wanted()]
        if not all(np.isfinite(unit(np.asarray(each))).all() for each in (image_ND, text_MD)):
            raise DataError(f"{question.pictures.name}: embeddings of this checkpoint are NaN, infinite or zero")
        names = name_of(question.pictures, np.arange(len(column)))
        for variant, ranks, matches, queries, items in (
            ("image_to_text", match_ranks(image_ND, text_MD, to_texts), to_texts, names, texts),
            ("text_to_image", match_ranks(text_MD, image_ND, to_texts.turned()), to_texts.turned(), texts, names),
        ):
            of_Q = pictures_of(matches, len(queries)) if variant == "text_to_image" else None
            for depth in DEPTHS:
                hit_Q = ranks.first < depth
                findings.add(f"recall@{depth}", variant, share_interval(hit_Q, of_Q), len(queries))
            add_ranked(findings, variant, ranks, matches, queries, items, of_Q)
        findings.details["pictures"] = {"identity": question.pictures.identity, "asked": len(column)}
        findings.details["captions"] = {
            "texts": len(texts),
            "captions": sum(1 if isinstance(each, str) else len(each) for each in column),
            "prefix": config.prefix,
            "equal_captions": config.equal_captions,
        }
        return findings


def pictures_of(matches: Matches, texts: int) -> NDArray[np.int64] | None:
    """(Q,) the picture of each text, the first one's where equal captions are one text; None where each has its own."""
    firsts_Q = _firsts(matches, texts)
    return firsts_Q if len(np.unique(firsts_Q)) < texts else None


def _firsts(matches: Matches, queries: int) -> NDArray[np.int64]:
    """(Q,) the first matching item of each query."""
    return matches.items[np.searchsorted(matches.queries, np.arange(queries))]


def add_ranked(
    findings: Findings,
    variant: str,
    ranks: Ranks,
    matches: Matches,
    queries: Sequence[str],
    items: Sequence[str],
    of_Q: NDArray[np.int64] | None = None,
) -> None:
    """A row per query: `id` is the query, `label` its first match, `prediction` the nearest item, `group` the place of its
    picture, where several queries are of one."""
    firsts = _firsts(matches, len(queries))
    add_rows(
        findings,
        variant,
        {
            "index": np.arange(len(queries), dtype=np.int32),
            "id": list(queries),
            "label": [items[first] for first in firsts],
            "prediction": [items[row[0]] for row in ranks.nearest],
            "correct": ranks.first == 0,
            "rank": ranks.first.astype(np.int32),
            "margin": np.round(ranks.margin, 4),
            "top5": [[items[each] for each in row] for row in ranks.nearest],
        }
        | ({} if of_Q is None else {"group": [str(place) for place in of_Q]}),
    )
