"""The ways of measuring, by the name that recipes give them, in the order in which a report shows them."""

from evaluation.protocols.bias import Bias
from evaluation.protocols.inside import Inside
from evaluation.protocols.linear_probe import LinearProbe
from evaluation.protocols.natural_shift import NaturalShift
from evaluation.protocols.occlusion import Occlusion
from evaluation.protocols.protocol import Measure
from evaluation.protocols.retrieval import Retrieval
from evaluation.protocols.robustness import Robustness
from evaluation.protocols.shape_bias import ShapeBias
from evaluation.protocols.stored_corruptions import StoredCorruptions
from evaluation.protocols.zero_shot import ZeroShot

PROTOCOLS: dict[str, Measure] = {
    each.name: each
    for each in (
        ZeroShot(),
        Robustness(),
        LinearProbe(),
        Retrieval(),
        Occlusion(),
        StoredCorruptions(),
        NaturalShift(),
        ShapeBias(),
        Bias(),
        Inside(),
    )
}
