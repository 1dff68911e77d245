"""Shape or texture? Pictures whose shape is of one class and whose texture of another (Geirhos et al. 2019, arXiv:1811.12231).

    shape bias = answers by shape / (answers by shape + answers by texture)

over the pictures whose two cues differ and whose answer is one of them. People are at 0.96, ResNet-50 at 0.22 in the paper.
Outcomes are of the pictures whose cues differ: right is an answer by shape, `value` is 1 by shape, 0 by texture, else null.
"""

from collections.abc import Sequence

import numpy as np

from evaluation.catalog.benchmarks import Task
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.answers import answerer, unable, want
from evaluation.protocols.outcomes import add_answered_rows, asked_of
from evaluation.protocols.protocol import Findings, Question, significant
from evaluation.statistics.intervals import wilson
from pipeline.errors import DataError

LAYOUT = "cue-conflict"
TEXTURE = "texture"


class ShapeBias:
    name = "shape_bias"
    learns = False

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        return unable(task, encoder) if LAYOUT in task.layouts else "has no textures of other classes"

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        return [(question.pictures, want(question.encoder))]

    def measure(self, question: Question) -> Findings:
        assert question.prompts is not None
        findings = Findings(question.task.name, self.name)
        wanted = want(question.encoder)
        answers_N = answerer(question)(question.features(question.pictures, [wanted])[wanted])
        names = np.array(list(question.prompts.classes))[answers_N]
        shape, texture = (np.array(question.pictures.column(cue)) for cue in (question.task.label, TEXTURE))
        differ = shape != texture
        by_shape, by_texture = differ & (names == shape), differ & (names == texture)
        decided = int(by_shape.sum() + by_texture.sum())
        if not differ.any():
            raise DataError(
                f"{question.pictures.name}: has no picture whose shape and texture are of different classes"
            )
        asked_of(findings, identity=question.pictures.identity)
        of_cues = np.where(by_shape, 1.0, np.where(by_texture, 0.0, np.nan))[differ]
        add_answered_rows(
            findings, question.pictures, "all", shape[differ].tolist(), names[differ].tolist(), np.flatnonzero(differ),
            value=[None if np.isnan(each) else each for each in of_cues],
        )  # fmt: skip
        if decided:
            findings.add("shape_bias", "all", wilson(int(by_shape.sum()), decided), decided)
        else:
            findings.lacks("no answer is by shape or by texture, so there is no shape bias of this model", "unfit")
        asked = int(differ.sum())
        findings.add("either_cue", "all", wilson(decided, asked), asked)
        by_class = {}
        for name in question.prompts.classes:
            here = shape == name
            both = int((by_shape & here).sum()), int((by_texture & here).sum())
            by_class[name] = {"shape": both[0], "texture": both[1], "pictures": int((differ & here).sum())}
        findings.details |= {
            "classes": by_class,
            "bias": significant(int(by_shape.sum()) / decided) if decided else None,
        }
        return findings
