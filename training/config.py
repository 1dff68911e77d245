"""TrainConfig: the `train:` section of a recipe.

Defaults are those of CLIP ViT-B/32 (Radford et al. 2021, arXiv:2103.00020, tables 18 and 20) where the paper gives one.
Reading this module imports no torch, so that `openwit plan` and `--help` stay fast.
"""

import difflib
from typing import Any, Literal

from pydantic import Field, field_validator, model_validator

from pipeline.settings import Settings
from training.config_checks import mistakes
from training.data.config import DataConfig
from training.engine.memory_config import MemoryConfig
from training.launch_config import LaunchConfig
from training.objectives.config import ObjectiveConfig
from training.optim.config import OptimizerConfig
from training.saving.checkpoints_config import CheckpointsConfig
from training.spec import REGISTRY
from training.watching.watch_config import WatchConfig


class TrainConfig(Settings):
    """How to train one model on one dataset."""

    model: str = "clip-vit-b-32"
    """A name from `openwit models`."""
    image_size: int | None = Field(default=None, ge=8, le=4096)
    """Side of the pictures in pixels, where it is another than the model's own: fine-tuning at a higher resolution, FLIP."""
    vocabulary_size: int = Field(default=49_408, ge=260, le=1_000_000)
    """Rows of the token table: 256 bytes, merges, start and end. CLIP's is 49,152 merges and bytes + specials."""
    context_length: int = Field(default=77, ge=3, le=4096)
    """Tokens per text at most, start and end included (CLIP's code: 77); longer texts are cut."""
    vocabulary: str | None = None
    """Folder or file of CLIP's released vocabulary (bpe_simple_vocab_16e6.txt.gz, vocab.json with merges.txt, tokenizer.json);
    left out, one of `vocabulary_size` entries is trained on the captions."""
    global_batch_size: int = Field(default=32_768, ge=2)
    """Samples per step over all ranks; each is scored against all others (table 18: 32,768)."""
    epochs: float = Field(default=32.0, gt=0)
    """Passes over the dataset (table 18: 32). Not read when `steps` is set."""
    steps: int | None = Field(default=None, ge=1)
    """Optimizer steps, in place of `epochs`."""
    learning_rate: float = Field(default=5e-4, gt=0)
    """The highest one, reached after the warm-up (table 20, ViT-B/32: 5e-4)."""
    warmup_steps: int = Field(default=2000, ge=0)
    """Steps of linear rise from zero (table 18: 2,000). Small models collapse without any."""
    schedule: Literal["cosine", "linear", "constant", "rsqrt"] = "cosine"
    """After the warm-up: fall to zero (section 2.5: cosine), stay, or fall as 1/sqrt(step) (Scaling ViT, section 3.5)."""
    rsqrt_timescale_steps: int = Field(default=10_000, ge=1)
    """Steps after which rsqrt begins to bend (Scaling ViT's released config: 10,000)."""
    cooldown_steps: int = Field(default=0, ge=0)
    """Last steps in which the rate goes down to zero in a line (Scaling ViT, section 3.5: 50,000)."""
    weight_decay: float = Field(default=0.2, ge=0)
    """Decoupled under every optimizer, as in AdamW; gains, biases and logit_scale are spared (section 2.5: 0.2)."""
    max_gradient_norm: float = Field(default=0.0, ge=0)
    """Clip the global gradient to this norm; 0 is off, as in the paper. (DeepSpeed alone would clip at 1.0.)"""
    zero_stage: Literal[0, 1, 2, 3] = 1
    """DeepSpeed ZeRO: what is cut over the ranks. 1: optimizer state, 2: and gradients, 3: and weights."""
    precision: Literal["float32", "bfloat16", "float16"] = "float32"
    """Of the towers' matrix products. Weights, logits and loss stay float32 in all. float16 scales the loss by itself."""
    seed: int = Field(default=0, ge=0, lt=2**63)
    """Of the initial weights, the order of samples and the crops."""
    workers: int = Field(default=1, ge=1)
    """Ranks: processes, one per GPU or per share of the CPU. They share the global batch evenly."""
    threads_per_worker: int = Field(default=0, ge=0)
    """CPU threads of torch in each rank; 0 leaves torch's own choice. Fixed threads make CPU runs repeat bit for bit."""
    objective: ObjectiveConfig = ObjectiveConfig()
    """What the model learns from a batch."""
    data: DataConfig = DataConfig()
    """How samples are read, cut and changed."""
    optimizer: OptimizerConfig = OptimizerConfig()
    """The rule that turns gradients into weights, beside its learning rate."""
    memory: MemoryConfig = MemoryConfig()
    """What makes a model or a batch fit."""
    checkpoints: CheckpointsConfig = CheckpointsConfig()
    """When the run can be resumed from, and what is kept."""
    launch: LaunchConfig = LaunchConfig()
    """How ranks are started, and what they survive."""
    watch: WatchConfig = WatchConfig()
    """What is measured while training goes on."""
    start_from: str | None = None
    """A checkpoint's folder whose weights this run begins with (fine-tuning, LiT, LoRA): those of equal name and shape."""
    start_from_state: bool = False
    """Go on from that checkpoint, or the newest fitting one of that run, with its moments and at its step: a branch that differs
    in steps, epochs or cooldown_steps alone, such as a cooldown off an rsqrt run (Scaling ViT, section 3.5)."""
    freeze: tuple[str, ...] = ()
    """Parts that do not learn: image, text, or the beginning of a parameter's name. LiT (arXiv:2111.07991) is [image]."""
    patch_dropout: float = Field(default=0.0, ge=0, lt=1)
    """Share of each picture's patches that a training step leaves out (FLIP, arXiv:2212.00794: 0.5 on web data)."""

    @field_validator("model")
    @classmethod
    def _known_model(cls, name: str) -> str:
        if name not in REGISTRY:
            near = difflib.get_close_matches(name, REGISTRY, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]}? " if near else ""
            raise ValueError(f"there is no model {name!r}; {hint}`openwit models` lists them")
        return name

    @model_validator(mode="after")
    def _values_go_together(self) -> "TrainConfig":
        self.objective.kind_for(REGISTRY[self.model].family)
        for mistake in mistakes(self):
            raise ValueError(mistake)
        return self

    @model_validator(mode="after")
    def _elastic_bounds(self) -> "TrainConfig":
        least = self.launch.minimum_workers
        if least is not None and least > self.workers:
            raise ValueError(
                f"launch.minimum_workers is {least} and workers {self.workers}; lower the one or raise the other"
            )
        return self

    def identity(self) -> dict[str, Any]:
        """As JSON, without what changes no weight: equal identities on equal data are the same training."""
        return self.model_dump(mode="json", exclude={"launch", "watch"})

    def total_steps(self, rows: int) -> int:
        """Optimizer steps of the whole run on a dataset of `rows` samples; at least 1."""
        if self.steps is not None:
            return self.steps
        return max(1, int(self.epochs * rows / self.global_batch_size))
