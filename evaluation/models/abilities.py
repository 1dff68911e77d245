"""What of a model decides which protocols it can be asked and which features they read: known without its weights.

An encoder has the same members (encoder.py), so protocols say of either what they would read.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from evaluation.models.layers import EMBEDDING, LAYER, PENULTIMATE


@dataclass(frozen=True)
class Abilities:
    """Of a model that nothing is known of: it reads text and gives one layer, as CLIP does. `class_names` are () until it was
    trained on classes; `checkpoint_id` is None until there is a checkpoint."""

    name: str
    checkpoint_id: str | None = None
    reads_text: bool = True
    class_names: tuple[str, ...] = ()
    probe_layers: Sequence[str] = (PENULTIMATE,)
    known: bool = False

    @property
    def spec(self) -> "Abilities":
        return self

    @property
    def by_the_way(self) -> tuple[str, ...]:
        return layers_by_the_way(self.reads_text)


def abilities_of(spec: Any, checkpoint_id: str | None = None, classes: Sequence[str] = ()) -> Abilities:
    """Of a model of this spec, built without values; `classes` are the names that its checkpoint gives."""
    from evaluation.models.own_classes import tells_classes
    from training.models.shapes import shapes_alone

    with shapes_alone():
        model = spec.build()
    names = tuple(classes) if tells_classes(model) else ()
    return Abilities(spec.name, checkpoint_id, reads_text(model), names, probe_layers_of(model, spec), True)


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
