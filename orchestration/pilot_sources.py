"""A recipe brought down to a part: N pages of each site, some of many files, and t to match."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from orchestration.recipe import Recipe
from pipeline.config import CurateConfig
from pipeline.execution.ledger import PhaseResult
from pipeline.sources.config import FilesSource, SiteSource, Source
from pipeline.sources.inputs import expanded

FILES = 3
"""Input files of one source that a pilot reads."""


@dataclass(frozen=True)
class Part:
    """`shares` are those of sources whose part is known before reading; a site's shows when it has been read."""

    recipe: Recipe
    shares: Mapping[str, float]

    def share_read(self, name: str, result: PhaseResult) -> tuple[float, bool]:
        """(share of the source that was read, whether that is sure); of a site at most, by the pages seen and not read."""
        if name in self.shares:
            return self.shares[name], True
        left_out = int(result.extra.get("left_out", 0))
        tried = result.fates["pages"].rows_in if "pages" in result.fates else 0
        return (tried / (tried + left_out), False) if left_out and tried else (1.0, True)


def part_of(recipe: Recipe, pages: int) -> Part:
    """The recipe with at most `pages` pages of a site, and FILES of a source's files, evenly spread."""
    assert recipe.curate is not None
    shares: dict[str, float] = {}
    changed: dict[str, Any] = {}
    for name, source in recipe.curate.sources.items():
        if isinstance(source, SiteSource):
            changed[name] = source.model_copy(update={"max_pages": min(source.max_pages, pages)})
            continue
        files = _files(source)
        if len(files) > FILES:
            some = tuple(files[i * len(files) // FILES] for i in range(FILES))
            shares[name] = FILES / len(files)
            changed[name] = source.model_copy(update={"files": some, "paths_file": None, "prefix": ""})
    curate = recipe.curate.model_copy(update={"sources": {**recipe.curate.sources, **changed}})
    return Part(copied(recipe, curate), shares)


def scaled_balance(recipe: Recipe, scale: float) -> Recipe:
    """With an explicit t brought down to the part that is read: equal chances for each pair as in the whole."""
    assert recipe.curate is not None
    select = recipe.curate.select
    if select.balance.t is None:  # the tail rule follows the counts by itself
        return recipe
    balance = select.balance.model_copy(update={"t": max(1, round(select.balance.t / scale))})
    curate = recipe.curate.model_copy(update={"select": select.model_copy(update={"balance": balance})})
    return copied(recipe, curate)


def copied(recipe: Recipe, curate: CurateConfig) -> Recipe:
    changed = recipe.model_copy(update={"curate": curate})
    changed._written = recipe._written
    return changed


def _files(source: Source) -> list[str]:
    """Every input file that a source of files names; of an index all, since it says what to read."""
    if not isinstance(source, FilesSource) or getattr(source, "index", None):
        return []
    return expanded(source)
