"""What accelerators can do at best: the denominator of MFU (Chowdhery et al. 2022, arXiv:2204.02311, appendix B).

Peaks are the makers' data sheets, dense (without 2:4 sparsity), in TFLOP/s: matrix units with 16-bit inputs, and plain
float32, which is what torch uses for float32 unless TF32 is asked for. Reading this module imports no torch.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Card:
    """A kind of GPU. `words` all stand in the name that its driver gives, lower-cased."""

    words: tuple[str, ...]
    half_teraflops: float
    float_teraflops: float
    memory_gib: float

    def peak_flops(self, precision: str) -> float:
        """FLOP/s at best in `precision`, a value of train.precision."""
        return 1e12 * (self.float_teraflops if precision == "float32" else self.half_teraflops)


CARDS: dict[str, Card] = {
    "b200": Card(("b200",), 2250, 75, 180),
    "h200": Card(("h200",), 989, 67, 141),
    "h100-pcie": Card(("h100", "pcie"), 756, 51, 80),
    "h100": Card(("h100",), 989, 67, 80),
    "a100-40g": Card(("a100", "40gb"), 312, 19.5, 40),
    "a100": Card(("a100",), 312, 19.5, 80),
    "l40s": Card(("l40s",), 362, 91.6, 48),
    "l4": Card(("l4",), 121, 30.3, 24),
    "a10g": Card(("a10g",), 70, 35, 24),
    "a10": Card(("a10",), 125, 31.2, 24),
    "v100": Card(("v100",), 125, 15.7, 32),
    "t4": Card(("t4",), 65, 8.1, 16),
    "rtx-4090": Card(("4090",), 165, 82.6, 24),
    "rtx-3090": Card(("3090",), 71, 35.6, 24),
    "mi300x": Card(("mi300x",), 1307, 163.4, 192),
    "mi250x": Card(("mi250x",), 383, 47.9, 128),
    "cpu": Card(("no such device",), 0.1, 0.2, 8),
}
"""More particular names first: the first whose words all stand in the device's name is it. `cpu` is one core with AVX-512
(training/models/linear.py measured 0.225 on an EPYC) and 8 GiB, for forecasts only: while a run goes on, CPUs are measured."""

DEFAULT = "h100"


def card_called(device_name: str) -> Card | None:
    """The card that a driver's name such as `NVIDIA H100 80GB HBM3` means; None where it is not in the table."""
    given = device_name.lower()
    parts = set(given.replace("-", " ").split())
    for card in CARDS.values():
        if all(word in parts or (len(word) > 3 and word in given) for word in card.words):
            return card
    return None
