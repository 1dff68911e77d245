"""CurateConfig: the `curate` section of a recipe, one model per phase, each owned by its phase."""

from collections.abc import Mapping
from typing import Any

from pydantic import Field, field_validator

from pipeline.datasets.pack import PackConfig
from pipeline.duplicates.config import DeduplicateConfig
from pipeline.fetching.fetch_config import FetchConfig
from pipeline.overlap.decontaminate_config import DecontaminateConfig
from pipeline.scoring.scorers import ScorerConfig
from pipeline.selection.select_config import SelectConfig
from pipeline.settings import Settings
from pipeline.sources.config import RESERVED, Source
from pipeline.web.web_config import NetworkConfig


class CurateConfig(Settings):
    """From sources to shards."""

    network: NetworkConfig = NetworkConfig()
    """Limits, politeness and allowed addresses of every request."""
    sources: dict[str, Source] = Field(min_length=1)
    """Where candidate pairs come from, each with a name of yours; null takes out one that `extends` brought."""
    select: SelectConfig = SelectConfig()
    """Text rules, query matching, balance."""
    fetch: FetchConfig = FetchConfig()
    """Which pictures are kept, and their stored form."""
    score: tuple[ScorerConfig, ...] = ()
    """Scorers that judge pairs by models, and the bounds beyond which pairs fall; none: there is no such step."""
    deduplicate: DeduplicateConfig = DeduplicateConfig()
    """When two pictures count as one."""
    decontaminate: DecontaminateConfig = DecontaminateConfig()
    """What happens to pictures of the evaluation sets."""
    pack: PackConfig = PackConfig()
    """Shards."""
    cpus_per_item: float = Field(1.0, gt=0)
    """CPUs that Ray sets aside for one work item."""
    workers: int | None = Field(None, ge=1)
    """Work items at once; null uses every CPU. The result does not depend on it."""

    @field_validator("sources", mode="before")
    @classmethod
    def _without_null(cls, sources: Any) -> Any:
        if isinstance(sources, Mapping):
            return {name: source for name, source in sources.items() if source is not None}
        return sources

    @field_validator("sources")
    @classmethod
    def _names(cls, sources: dict[str, Source]) -> dict[str, Source]:
        for name in sources:
            if not (name.isidentifier() and name.isascii()) or name in RESERVED:
                why = "is the name of another step" if name in RESERVED else "is no identifier (letters, digits and _)"
                raise ValueError(f"a source cannot be called {name!r}, which {why}; call it pages, say")
        return sources
