"""DeduplicateConfig: which kinds of duplicates fall, and which pair of a cluster stays."""

from typing import Any, Literal

from pydantic import Field, field_validator

from pipeline.settings import Settings


class CaptionConfig(Settings):
    """When two captions count as one. Digits are never normalised away: "page 12" is not "page 13"."""

    scope: str = Field("off", pattern="^(off|same_picture|everywhere)$")
    """`same_picture`: of equal pictures a pair falls only where its caption is near too, other captions stay;
    `everywhere`: near captions fall whatever the picture."""
    shingle: str = Field("character", pattern="^(character|word)$")
    """What a caption is cut into; characters suit short captions (a caption of 6 words has 2 shingles of 5 words)."""
    shingle_size: int = Field(4, ge=1, le=16)
    """Characters or words of one shingle."""
    jaccard: float = Field(0.8, gt=0, le=1)
    """Smallest share of common shingles, |A and B| / |A or B|, computed exactly for every candidate."""
    minimum_words: int = Field(5, ge=1)
    """Shorter captions say too little to be judged: on one picture they must be equal, elsewhere they are left alone."""
    numbers_agree: bool = True
    """Captions whose numbers differ are never near."""
    bands: int = Field(20, ge=1, le=256)
    """MinHash bands of scope `everywhere`: a pair of similarity s is met with probability 1 - (1 - s^rows)^bands."""
    rows_per_band: int = Field(5, ge=1, le=32)
    """MinHash values of one band; with 20 bands: 0.9996 at s = 0.8, 0.975 at 0.7, 0.47 at 0.5."""

    @field_validator("scope", mode="before")
    @classmethod
    def _off_is_a_word(cls, value: Any) -> Any:
        return "off" if value is False else value  # as YAML reads it


class EmbeddingConfig(Settings):
    """SemDeDup (arXiv:2303.09540): spherical k-means, then cosines within each cluster."""

    column: str | None = None
    """Column of embeddings (a list of floats per row, from a scorer); none: this kind is off."""
    epsilon: float = Field(0.05, ge=0, lt=2)
    """A pair falls when a better one has a cosine above 1 - epsilon (NeMo Curator: 0.01; SemDeDup tries 0.0 to 0.3)."""
    clusters: int | None = Field(None, ge=1)
    """Clusters of k-means; none: one for each 2,000 rows (SemDeDup: 50,000 for 440 million)."""
    iterations: int = Field(20, ge=1)
    """Rounds of k-means (SemDeDup: 100)."""
    sample_per_cluster: int = Field(64, ge=1)
    """Rows per cluster that k-means learns from."""
    probes: int = Field(2, ge=1, le=16)
    """Clusters in which each row is compared (SemDeDup: 1, and pairs at a border are missed)."""
    device: str = Field("auto", pattern="^(auto|cpu|cuda)$")
    """Where cosines are computed; those near the threshold are computed again in 64 bits, so the result is one."""


class DeduplicateConfig(Settings):
    """When two pairs count as one, and which of them stays."""

    bytes: bool = True
    """Drop pairs whose download has the same SHA-256 as a better pair's."""
    pictures: bool = True
    """Drop pairs whose picture looks like a better pair's."""
    radius: int = Field(11, ge=0, le=15)
    """Largest Hamming distance of two 64-bit pHashes; every pair within it is found."""
    thumbnails: Literal["fitted", "plain", "ignored"] = "fitted"
    """How their 8 x 8 colour thumbnails are compared. `fitted`: other brightness and contrast, a bar at an edge or a grey copy
    is no difference, another colour is (pipeline/duplicates/looks.py). `plain`: as they are, for drawings that differ in little
    more than the shade of their paper. `ignored`: one thing in two colours is one picture."""
    colour_distance: float = Field(8.0, gt=0)
    """Fitted: largest root mean square difference (0..255) of their colours. Cropping by 5 % or clipped lights move them by
    up to 8, other colours of one drawing by 14 and more."""
    thumbnail_distance: float = Field(12.0, gt=0)
    """Plain, or where rows have no 256-bit pHash: largest root mean square difference (0..255). Drawings of different things
    whose hashes are near differ by 15 and more (demo web)."""
    longer_radius: int = Field(64, ge=0, le=256)
    """Largest Hamming distance of their 256-bit pHashes, where rows have them. Measured on 2,910 photographs and
    figures: different things in like colours differ by 66 and more; 80 finds four times as many copies cropped by 10 % (a
    quarter), and takes three more pairs for one."""
    captions: CaptionConfig = CaptionConfig()
    """Near captions."""
    embeddings: EmbeddingConfig = EmbeddingConfig()
    """Near embeddings."""
    keep: tuple[str, ...] = ("resolution", "text_length")
    """Which pair of a cluster stays: the first rule that tells two apart, of `resolution`, `text_length` and
    `score:<column>` (largest wins); then the smallest uid."""
    merge_texts: bool = False
    """Give the pair that stays the texts of all that fell for showing the same picture (column `texts`)."""
    against: str | None = None
    """Folder of a finished dataset: what is near one of its pictures falls."""
    rows_per_block: int = Field(65_536, ge=1)
    """Rows described in one file; a work item reads one at a time."""
    buckets: int | None = Field(None, ge=1)
    """Work items of each pass; none: one for each million rows, at least 4. The result does not depend on it."""

    @field_validator("keep", mode="before")
    @classmethod
    def _list_of_rules(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("keep")
    @classmethod
    def _known_rules(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        for rule in rules:
            if rule not in ("resolution", "text_length") and not (rule.startswith("score:") and rule[6:]):
                raise ValueError(f"{rule!r} is no rule; take resolution, text_length or score:<column>")
        return rules

    def score_columns(self) -> list[str]:
        return [rule.removeprefix("score:") for rule in self.keep if rule.startswith("score:")]

    def identity(self) -> dict[str, Any]:
        """The settings that a result depends on: no folder, and not how the work is cut."""
        return self.model_dump(exclude={"against", "buckets", "rows_per_block"})
