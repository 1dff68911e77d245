"""What one rank needs, in closed form, before anything is started: weights, gradients, moments, buckets, activations.

Model states under ZeRO: Rajbhandari et al. 2019, arXiv:1910.02054, section 3.1, with the numbers of this engine: weights in
float32 in every precision (training/engine/precision.py), so 4 bytes where that paper has 2, and DeepSpeed's own float32 copy of
what a rank updates under ZeRO 1-3. Activations are what the backward pass reads, per block, as training/models/ computes them;
`tests/training/test_memory_estimate.py` counts the bytes of real tensors beside it. No torch is imported here.
"""

from dataclasses import dataclass, fields
from typing import Any

from training.config import TrainConfig
from training.specs.base import ModelSpec

FLOAT = 4
BUCKET = 50_000_000
SUB_GROUP = 50_000_000
"""Numbers that a rank updates at a time where its optimizer's state comes from NVMe."""
MOMENT_BYTES = {"adamw": 8, "lamb": 8, "sgd": 4, "adafactor": 2}
"""Of optimizer state, per number that learns; Adafactor's rows and columns are too few to count."""


@dataclass(frozen=True)
class MemoryEstimate:
    """Bytes of one rank. `working` are weights that ZeRO 3 holds whole for a while; `host` is on the CPU's side where something
    was offloaded, all the rest on the device."""

    weights: int
    gradients: int
    moments: int
    average: int
    buckets: int
    working: int
    activations: int
    host: int

    @property
    def states(self) -> int:
        """All that does not grow with the batch."""
        return self.device - self.activations

    @property
    def device(self) -> int:
        """All of the device; the GPU's own context and fragmentation come on top (about 1 GiB and a tenth)."""
        return sum(getattr(self, field.name) for field in fields(self)) - self.host


def estimate(spec: ModelSpec, config: TrainConfig, world_size: int, text_tokens: int | None = None) -> MemoryEstimate:
    """For `config` on so many ranks; texts of `text_tokens` tokens, or of the whole context."""
    numbers = spec.parameters()
    learns = learning_numbers(spec, config)
    stage, memory = config.zero_stage, config.memory
    cut = world_size if stage >= 1 else 1
    copies = 0 if stage == 0 else FLOAT * learns // cut  # DeepSpeed's own float32 weights, which the optimizer updates
    moments = MOMENT_BYTES[config.optimizer.kind] * learns // cut
    gradients = FLOAT * learns // (world_size if stage >= 2 else 1)
    # ZeRO 1 sums whole gradients and then cuts out a copy of its share; ZeRO 2 and 3 cut what a backward pass brings.
    gradients += FLOAT * learns // cut if stage == 1 else 0
    weights = FLOAT * numbers // (world_size if stage == 3 else 1)
    half = 2 * numbers if config.precision != "float32" else 0  # autocast keeps a half-precision copy during a pass
    working = _working_set(spec, numbers) if stage == 3 else 0
    bucket = 0 if stage == 0 else FLOAT * min(BUCKET, numbers)
    host = 0
    if memory.offload_optimizer != "none":
        # Under ZeRO 1 and 2 updated weights pass through a buffer of their size on the way back; 2 adds gradients up there too.
        off = copies + moments + FLOAT * learns // cut + {1: copies, 2: 2 * copies}.get(stage, 0)
        # NVMe: weights, two moments and gradients have a buffer of a sub-group's size each, and gradients wait for it in memory.
        on_disk = FLOAT * learns // cut + 4 * FLOAT * min(SUB_GROUP, learns // cut)
        host += off if memory.offload_optimizer == "cpu" else on_disk
        copies, moments = 0, 0
        gradients = 0 if stage >= 2 else FLOAT * learns
    if memory.offload_parameters != "none":
        host += weights if memory.offload_parameters == "cpu" else FLOAT * min(SUB_GROUP, learns // cut)
        weights = 0
    return MemoryEstimate(
        weights=weights + copies + half,
        gradients=gradients,
        moments=moments,
        average=FLOAT * numbers // world_size if config.optimizer.ema_decay else 0,
        buckets=bucket,
        working=working,
        activations=activations(spec, config, world_size, text_tokens),
        host=host,
    )


def learning_numbers(spec: ModelSpec, config: TrainConfig) -> int:
    """Parameters that have gradients and moments."""
    numbers = spec.parameters()
    if config.optimizer.lora.rank:
        # Factors of the four matrices of each block: rank x (4 + 2 + 5 + 5) widths; and a head of classes in full.
        head = numbers - spec.with_classes(0).parameters()
        return head + sum(16 * config.optimizer.lora.rank * tower.width * tower.layers for tower in _transformers(spec))
    for part in config.freeze:
        tower = getattr(spec, part, None)
        numbers -= tower.parameters() if tower is not None else 0
    return max(0, numbers)


def activations(spec: ModelSpec, config: TrainConfig, world_size: int, text_tokens: int | None = None) -> int:
    """Bytes that the backward pass reads, at the end of the forward pass over one chunk of one rank's rows."""
    rows = config.global_batch_size // world_size
    chunk = -(-rows // min(config.memory.chunks, rows))
    per_row = sum(
        _tower_bytes(spec, tower, config, text_tokens)
        for tower in _towers(spec)
        if not any(getattr(spec, part, None) is tower for part in config.freeze)
    )
    pixels = 3 * spec.image_size**2 * (1 + FLOAT)  # as bytes, and normalised for the first convolution
    per_row += _answer_bytes(spec, config, text_tokens)
    return chunk * (per_row + pixels) + _shared_columns(spec, config, rows)


def _answer_bytes(spec: ModelSpec, config: TrainConfig, text_tokens: int | None) -> int:
    """What models that answer in words keep beside their towers: log-probabilities of the whole vocabulary (and, of a bag of
    words, the shares that they are held against); a writer's looks at the picture: five widths a token, keys and values a place."""
    if spec.family == "words":
        return 2 * FLOAT * int(getattr(spec, "vocabulary", 0))
    if spec.family != "captioner":
        return 0
    picture, text = getattr(spec, "image", None), getattr(spec, "text", None)
    assert picture is not None
    assert text is not None
    tokens = (text_tokens or text.context) - 1
    look = _item(config) * text.width * (5 * tokens + 2 * picture.grid**2)
    return FLOAT * text.vocabulary * tokens + look * (1 if config.memory.activation_checkpointing else text.layers)


def _shared_columns(spec: ModelSpec, config: TrainConfig, rows: int) -> int:
    """Embeddings of the global batch, twice (gathered, and their gradients), and this rank's."""
    width = getattr(spec, "embedding", 0)
    return 2 * width * FLOAT * (2 * config.global_batch_size + 2 * rows)


def _towers(spec: ModelSpec) -> list[Any]:
    """A family's towers are its fields `image`, `text`, `decoder`; or it is a tower itself (iGPT)."""
    found = [
        getattr(spec, name) for name in ("image", "text", "decoder") if hasattr(getattr(spec, name, None), "width")
    ]
    return found or [spec]


def _transformers(spec: ModelSpec) -> list[Any]:
    return [tower for tower in _towers(spec) if hasattr(tower, "layers")]


def _tower_bytes(spec: ModelSpec, tower: Any, config: TrainConfig, text_tokens: int | None) -> int:
    if hasattr(tower, "blocks"):
        return _resnet_bytes(tower, config)
    if not hasattr(tower, "layers"):
        return 0  # a bag of words keeps its token ids
    tokens = getattr(tower, "tokens", None)
    if tokens is None:
        tokens = text_tokens or tower.context
    else:
        tokens = round(tokens * (1 - config.patch_dropout))
    bytes_per_token = block_bytes(tower.width, _hidden(tower), _activation(spec), config.precision)
    kept = _item(config) * tower.width if config.memory.activation_checkpointing else bytes_per_token
    again = bytes_per_token if config.memory.activation_checkpointing else 0
    colours = 2 * FLOAT * getattr(tower, "colours", 0)  # iGPT: logits and their softmax at each place
    return int(tokens * (tower.layers * kept + again + colours)) + _stem_bytes(tower, config)


def block_bytes(width: int, hidden: int, activation: str, precision: str) -> int:
    """Per token, kept by one transformer block for its backward pass.

    In widths: two inputs of norms, two outputs of norms, three of queries, keys and values, two of what attention gives (as it
    gives it, and rearranged for the projection); the MLP's inner layer before and after its activation, and for the quick
    GELU, which is three operations, the sigmoid and its argument too.
    """
    inner = {"gelu": 2, "quick_gelu": 4}[activation] * hidden
    if precision == "float32":
        return FLOAT * (9 * width + inner)
    return 2 * (7 * width + inner) + FLOAT * 2 * width  # norms read a float32 copy


def _stem_bytes(tower: Any, config: TrainConfig) -> int:
    """Pictures to patches by small convolutions: norm and GELU each keep the result of theirs, the next one its input."""
    if getattr(tower, "stem", "patch") != "convolutions":
        return 0
    halvings = tower.patch.bit_length() - 1
    kept = sum(3 * (tower.width >> (halvings - 1 - step)) * (tower.size >> (step + 1)) ** 2 for step in range(halvings))
    return _item(config) * kept


def _resnet_bytes(tower: Any, config: TrainConfig) -> int:
    """Each convolution's result twice: for its batch norm, and after it for what reads that."""
    kept = sum(2 * channels * side**2 for _, _, channels, side in tower.convolutions())
    if config.memory.activation_checkpointing:
        kept = kept // 4  # blocks keep their inputs: a fourth of the three results' widths at least
    return (FLOAT if config.precision == "float32" else 3) * kept


def _working_set(spec: ModelSpec, numbers: int) -> int:
    """ZeRO 3 holds some layers whole at a time: what it fetches ahead (50 million numbers) and its largest tensors."""
    return FLOAT * min(numbers, 2 * BUCKET)


def _hidden(tower: Any) -> int:
    hidden: int = getattr(tower, "hidden", 0) or 4 * tower.width
    return hidden


def _activation(spec: ModelSpec) -> str:
    return str(getattr(spec, "activation", "gelu"))  # iGPT's own block has one fused kernel, as GELU is


def _item(config: TrainConfig) -> int:
    return FLOAT if config.precision == "float32" else 2
