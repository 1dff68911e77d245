"""DataConfig: the `train.data` section of a recipe."""

from typing import Literal

from pydantic import Field, model_validator

from pipeline.settings import Settings


class SourceConfig(Settings):
    """One of the places that samples come from."""

    path: str = ""
    """A dataset (manifest.json), a folder of WebDataset tars, of Parquet files with pictures in them, or of pictures; a URL too.
    Empty: the dataset of the run.

    Pictures in a folder belong to a class each (`cat/1.jpg`) or have their caption beside them (`1.jpg`, `1.txt`), or both.
    """
    kind: Literal["auto", "dataset", "tars", "parquet", "pictures"] = "auto"
    """What `path` is; auto looks: a manifest.json, else any .tar, else any .parquet with pictures, else pictures. Those in Parquet
    files are copied into `cache_folder` once."""
    weight: float | None = Field(default=None, gt=0)
    """Share of the samples that are drawn from here, relative to the other sources'. Given for all sources or none; none: a pass
    over the data takes every sample of every source once."""
    caption_column: str = "caption"
    """Of a dataset's index or of Parquet files (there `text` or `txt` serve too where there is no `caption`); of the samples' JSON
    where tars have no .txt. A column of lists holds several captions."""
    caption_per_line: bool = False
    """Each line of a .txt is a caption of its own."""
    captions: Literal["one", "all"] = "one"
    """Of several captions: one per visit, drawn anew in each epoch, or each makes a sample with the picture."""
    label_column: str | None = None
    """Of a dataset's index, or of the samples' JSON in tars without .cls: a class number or name, or several in a list."""


class DataConfig(Settings):
    """How samples are read, cut and changed on their way to the model."""

    sources: tuple[SourceConfig, ...] = ()
    """Where samples come from; none: the dataset that the recipe makes."""
    shuffle_window_samples: int = Field(default=1 << 18, ge=1)
    """Shards are shuffled, then samples within windows of whole shards of at least so many: reading stays near, and memory
    bounded. A dataset that fits into one window is shuffled whole. Part of the order: do not change it in the middle of a run."""
    decode: Literal["exact", "fast"] = "exact"
    """exact: the pixels that PIL gives (full decode, bicubic with antialiasing). fast: JPEGs that are at least twice as large
    as the model needs are decoded at 1/2, 1/4 or 1/8 (libjpeg's scaled inverse transform) first."""
    augmentation: Literal["square", "inception", "short_side", "none"] = "square"
    """square: CLIP's random square. inception: ViT's box of 5-100 % of the area and 3:4 to 4:3 (Szegedy et al. 2015).
    short_side: iGPT's square of 224 pixels from a picture whose shorter side was made 256 to 384. none: the middle square."""
    min_crop_side_fraction: float = Field(default=0.9, gt=0, le=1)
    """square: side drawn from [this, 1] x the shorter side of the picture.

    open_clip's default area range (0.9, 1) is a side of 0.95; 1.0 moves the square along the longer side only.
    """
    min_crop_area: float = Field(default=0.05, gt=0, le=1)
    """inception: the smallest share of the picture's area (big_vision's `inception_crop`: 0.05; torchvision's: 0.08)."""
    flip_probability: float = Field(default=0.0, ge=0, le=1)
    """Mirror left and right (ViT: 0.5). Not for digits or text."""
    randaugment_layers: int = Field(default=0, ge=0, le=8)
    """RandAugment (arXiv:1909.13719): so many operations per picture, each at `randaugment_magnitude` (ViT: 2)."""
    randaugment_magnitude: float = Field(default=15.0, ge=0, le=30)
    """Of 10, as the method counts; arXiv:2106.10270, "How to train your ViT", section 3.2: 10, 15 or 20."""
    max_rotation_degrees: float = Field(default=0.0, ge=0, le=180)
    """Turn pictures by at most this much, either way. CLIP does not; a few thousand pictures are learned by heart without."""
    max_stretch: float = Field(default=0.0, ge=0, lt=1)
    """Stretch or shrink width and height, each on its own, by a factor between 1 - this and 1 + this."""
    max_brightness_change: float = Field(default=0.0, ge=0, lt=1)
    """Multiply pixels by a factor between 1 - this and 1 + this."""
    threads: int = Field(default=1, ge=1, le=256)
    """Threads per rank that decode, in the training process; they hold Python's lock for a small part of the time."""
    processes: int = Field(default=0, ge=0, le=256)
    """Processes per rank that decode instead of threads; batches come through shared memory."""
    batches_ahead: int = Field(default=2, ge=1, le=64)
    """Batches that are ready or being made while a step trains."""
    decoded_cache_mib: int = Field(default=1024, ge=0)
    """Memory per rank for decoded pictures, so that a small dataset is decoded once. Changes speed, never pixels."""
    cache_folder: str = ""
    """A local folder for shards of remote sources and for indexes of tars; empty: openwit's in the user's cache folder."""
    shard_cache_mib: int = Field(default=65_536, ge=0)
    """Disk for remote shards, per machine; the longest unused go first. 0: each picture is read from the store by its place."""
    max_broken_share: float = Field(default=0.01, ge=0, le=1)
    """Pictures that cannot be read are counted and the sample of the next batch at this place is taken again; past this share
    the run stops. The samples of shards that are cut off or damaged count too, estimated where nothing tells their number."""
    max_bare_share: float = Field(default=0.1, ge=0, le=1)
    """Pictures without a text (or a label, in classification) are left out and counted; past this share the run stops before work,
    because a wrong `caption_column` or `label_column` is more likely."""
    verify_checksums: bool = False
    """Compare every local shard with its manifest before work (reads all data once). Sizes are always compared; shards that come
    over the network are always verified."""

    @model_validator(mode="after")
    def _weights_for_all_or_none(self) -> "DataConfig":
        given = [source.weight is not None for source in self.sources]
        if any(given) and not all(given):
            number = given.index(False)
            raise ValueError(f"sources[{number}].weight is missing; give every source a weight, or none of them")
        return self
