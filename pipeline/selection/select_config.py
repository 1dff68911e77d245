"""SelectConfig: which pairs are worth downloading. Apart from select.py, so that a recipe is read without its machinery."""

from pydantic import Field

from pipeline.matching.queries import QueriesConfig
from pipeline.selection.text_config import TextConfig
from pipeline.settings import Settings


class BalanceConfig(Settings):
    """How many pairs one query may bring."""

    t: int | None = Field(None, ge=1)
    """Pairs per query (WIT: 20,000); none chooses t so that the tail holds `tail_fraction` of all matches."""
    tail_fraction: float = Field(0.06, gt=0, lt=1)
    """MetaCLIP's rule for any pool size: 6 % of the matches belong to queries below t."""
    expected_yield: float = Field(1.0, gt=0, le=1)
    """Share of the pairs that fetch and what follows will keep (`openwit plan --pilot` forecasts it): t is divided by it, so that
    about t pairs per query are left in the dataset. A smaller share only adds pairs."""
    seed: int = Field(0, ge=0, lt=1 << 64)
    """Seed of the coin."""
    counts: str | None = None
    """queries.parquet of an earlier selection whose counts stand for this pool's, so that a larger pool only adds pairs; any one
    of a chain of growing pools will do."""


class SelectConfig(Settings):
    """Which pairs are worth downloading."""

    text: TextConfig = TextConfig()
    """Text rules."""
    queries: QueriesConfig = QueriesConfig()
    """The query list and the matching rule."""
    balance: BalanceConfig = BalanceConfig()
    """Pairs per query."""
    exclude: str | None = None
    """File of rules (url, domain, sha256, uid) whose pairs are left out: the tombstones.txt of a takedown, say. A uid counts
    before the text rules and after them."""
    rows_per_bucket: int = Field(200_000, ge=1)
    """Pairs in one work item, about: it takes some 2 KiB of memory for each."""
    buckets: int = Field(4, ge=1)
    """Fewest work items of a pass, so that a small pool is shared out as well."""
