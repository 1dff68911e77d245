"""Retrieval as a protocol: recall at 1, 5 and 10, from pictures to texts and back."""

from collections.abc import Sequence

import numpy as np

from evaluation.catalog.benchmarks import Task
from evaluation.features.store import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.protocol import Findings, Question
from evaluation.protocols.ranks import DEPTHS, first_match_ranks, group_captions
from evaluation.statistics.intervals import wilson


class Retrieval:
    name = "retrieval"

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        if not encoder.reads_text:
            return f"asks in words, and {encoder.spec.name} reads none"
        return None if task.kind == "retrieval" else f"{task.name} has no captions"

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        return [(question.pictures, Wanted())]

    def measure(self, question: Question) -> Findings:
        findings = Findings(question.task.name, self.name)
        texts, group_N = group_captions(question.pictures.column(question.task.label))
        text_MD = question.encoder.texts(texts)
        image_ND = question.features(question.pictures, [Wanted()])[Wanted()]
        group_M = np.arange(len(texts))
        for variant, ranks in (
            ("image_to_text", first_match_ranks(image_ND, text_MD, group_N, group_M)),
            ("text_to_image", first_match_ranks(text_MD, image_ND, group_M, group_N)),
        ):
            for depth in DEPTHS:
                findings.add(f"recall@{depth}", variant, wilson(int((ranks < depth).sum()), len(ranks)), len(ranks))
        return findings
