"""CurateConfig: the `curate` section of a recipe, one model per phase, each owned by its phase."""

from pydantic import Field

from pipeline.decontaminate import DecontaminateConfig
from pipeline.deduplicate import DeduplicateConfig
from pipeline.fetch import FetchConfig
from pipeline.pack import PackConfig
from pipeline.scorers import ScorerConfig
from pipeline.select import SelectConfig
from pipeline.settings import Settings
from pipeline.web_config import CrawlConfig, NetworkConfig


class CurateConfig(Settings):
    """From seeds to shards."""

    network: NetworkConfig = NetworkConfig()
    """Limits, politeness and allowed addresses of every request."""
    crawl: CrawlConfig
    """Which pages are read, and where a picture's text is looked for."""
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
