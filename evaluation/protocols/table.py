"""The ways of measuring, by the name that recipes give them, in the order in which a report shows them."""

from evaluation.protocols.inside import Inside
from evaluation.protocols.linear_probe import LinearProbe
from evaluation.protocols.occlusion import Occlusion
from evaluation.protocols.protocol import Measure
from evaluation.protocols.retrieval import Retrieval
from evaluation.protocols.robustness import Robustness
from evaluation.protocols.zero_shot import ZeroShot

PROTOCOLS: dict[str, Measure] = {
    each.name: each for each in (ZeroShot(), Robustness(), LinearProbe(), Retrieval(), Occlusion(), Inside())
}
