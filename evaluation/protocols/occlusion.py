"""Does a model keep its answer when patches of the picture are black? (arXiv:2105.10497, section 3.1; corruptions/patches.py.)

Per order (random, salient first, background first) and share of black patches: the accuracy, and the share of pictures whose
answer is the one given on the whole picture, right or wrong.
"""

from collections.abc import Sequence

import numpy as np

from evaluation.catalog.benchmarks import Task
from evaluation.corruptions.patches import OCCLUSIONS, shares
from evaluation.corruptions.variant import Variant
from evaluation.features.wanted import Wanted
from evaluation.models.encoder import Encoder
from evaluation.pictures.pictures import Pictures
from evaluation.protocols.answers import answerer, unable, want
from evaluation.protocols.classified import label_positions
from evaluation.protocols.outcomes import add_answered_rows, asked_of
from evaluation.protocols.protocol import Findings, Question
from evaluation.protocols.robustness import drawn_for, places_of
from evaluation.protocols.truth import clusters_of
from evaluation.statistics.clustered import share_interval


class Occlusion:
    name = "occlusion"
    learns = False

    def unfit(self, task: Task, encoder: Encoder) -> str | None:
        return unable(task, encoder) if task.kind == "classification" else "has no classes"

    def reads(self, question: Question) -> Sequence[tuple[Pictures, Wanted]]:
        drawn, step = drawn_for(question), question.config.robustness.occlusion_step
        masked = [Variant(order, share) for order in OCCLUSIONS for share in shares(step)]
        return [(drawn, want(question.encoder, variant)) for variant in (None, *masked)]

    def measure(self, question: Question) -> Findings:
        assert question.prompts is not None
        findings = Findings(question.task.name, self.name)
        answer = answerer(question)
        wanted = self.reads(question)
        drawn = wanted[0][0]
        labels_N = label_positions(drawn, question.task.label, question.prompts)
        features = question.features(drawn, [each for _, each in wanted])
        answers = {each.variant: answer(features[each]) for _, each in wanted}
        whole_N = answers[None]
        classes = np.array(list(question.prompts.classes))
        spoken = classes[labels_N].tolist()
        whole, places_N = question.pictures, places_of(question)
        asked_of(findings, identity=whole.identity)
        add_answered_rows(findings, whole, "whole", spoken, classes[whole_N].tolist(), places_N)
        clusters_N = clusters_of(drawn)
        findings.add("top1", "whole", share_interval(whole_N == labels_N, clusters_N), len(labels_N))
        curves: dict[str, dict[str, list[float]]] = {}
        for variant, answers_N in answers.items():
            if variant is None:
                continue
            order = variant.corruption.removeprefix("occluded_")
            kept_N = (answers_N == whole_N).astype(np.float32)
            name = f"{order}/{variant.severity}"
            add_answered_rows(findings, whole, name, spoken, classes[answers_N].tolist(), places_N, value=kept_N)
            curve = curves.setdefault(order, {"share": [], "top1": [], "kept": []})
            curve["share"].append(variant.severity / 100)
            for metric, hits_N in (("top1", answers_N == labels_N), ("kept", answers_N == whole_N)):
                interval = share_interval(hits_N, clusters_N)
                findings.add(metric, name, interval, len(labels_N))
                curve[metric].append(round(interval.value, 6))
        findings.details["whole"] = round(float((whole_N == labels_N).mean()), 6)
        findings.details["curves"] = curves
        return findings
