"""What of a model decides which protocols it can be asked and which features they read: known without its weights.

An encoder has the same members (encoder.py), so protocols say of either what they would read.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from evaluation.models.layers import EMBEDDING, LAYER, PENULTIMATE


@dataclass(frozen=True)
class Abilities:
    """As given here, of a model that nothing is known of: it reads text and gives one layer, as CLIP does. `checkpoint_id` is None
    until there is a checkpoint; of one that `learns_classes` until then, their names are not known."""

    name: str
    checkpoint_id: str | None = None
    reads_text: bool = True
    class_names: tuple[str, ...] = ()
    probe_layers: Sequence[str] = (PENULTIMATE,)
    known: bool = False
    learns_classes: bool = False

    def for_classes(self, names: Sequence[str]) -> "Abilities":
        """Where its classes are not known yet: taken to be these."""
        return replace(self, class_names=tuple(names)) if self.learns_classes else self

    @property
    def spec(self) -> "Abilities":
        return self

    @property
    def by_the_way(self) -> tuple[str, ...]:
        return layers_by_the_way(self.reads_text)


def abilities_of(
    spec: Any, checkpoint_id: str | None = None, classes: Sequence[str] = (), learns_classes: bool = False
) -> Abilities:
    """Of a model of this spec, built without values; `classes` are the names that its checkpoint gives."""
    from evaluation.models.own_classes import tells_classes
    from training.models.shapes import shapes_alone

    with shapes_alone():
        model = spec.build()
    names = tuple(classes) if tells_classes(model) else ()
    layers = probe_layers_of(model, spec)
    return Abilities(spec.name, checkpoint_id, reads_text(model), names, layers, not learns_classes, learns_classes)


def reads_text(model: Any) -> bool:
    """Whether it can be asked in words; a model of pictures alone has features for probes only."""
    return hasattr(model, "encode_text")


def probe_layers_of(model: Any, spec: Any) -> list[str]:
    """Where a linear probe may read: where the best features lie is not known before for models of pixels."""
    every = hasattr(model, "features_of_all_layers")
    return [f"{LAYER}{n}" for n in range(spec.layers + 1)] if every else [PENULTIMATE]


def layers_by_the_way(words: bool) -> tuple[str, ...]:
    """Layers that one forward gives together: zero-shot reads the one, probes the other."""
    return (EMBEDDING, PENULTIMATE) if words else ()
