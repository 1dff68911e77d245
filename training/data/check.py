"""What can be said before work starts: does the data have what this training needs? One line each."""

from collections import Counter
from collections.abc import Iterator, Set

from pipeline import storage
from pipeline.errors import ConfigError, DataError
from training.config import TrainConfig
from training.data.shards_ahead import WINDOWS
from training.data.sources import Data

SHARDS_NAMED = 5


def check(config: TrainConfig, data: Data, needs: Set[str] = frozenset({"text"})) -> None:
    """Raises what could only fail later. `needs` is the objective's: "text", "label".

    More ranks than shards is no mistake: ranks share samples, not shards.
    """
    if data.rows + data.dropped.total() == 0:
        raise DataError("the dataset is empty: no pair passed the filters; loosen curate.select or add pages to crawl")
    if "text" in needs and not data.has_captions:
        bare = next(source for source in data.sources if not source.has_captions)
        raise DataError(
            f"{bare.name}: its pictures have no text, which {config.model} learns from; name the column in"
            " train.data.sources caption_column, or put a .txt beside each picture"
        )
    if "label" in needs and not data.classes:
        bare = next((source for source in data.sources if not source.classes), data.sources[0])
        raise DataError(
            f"{bare.name}: its pictures have no labels, which {config.model} learns from; name the column in"
            " train.data.sources label_column, add .cls members, or sort the pictures into a folder per class"
        )
    if "label" in needs and len(data.classes) == 1 and not config.objective.independent_classes:
        raise DataError(
            f"{data.sources[0].name}: all pictures are of one class, {data.classes[0]!r:.40}, so there is nothing to tell apart;"
            " name another train.data.sources label_column, or the folder that has a folder per class"
        )
    _check_losses(config, data)
    if config.global_batch_size > data.rows:
        raise DataError(
            f"train.global_batch_size is {config.global_batch_size:,} and the dataset has {data.rows:,} pairs;"
            f" set it to {data.rows:,} or less"
        )
    steps = config.total_steps(data.rows)
    if config.warmup_steps >= steps:
        raise ConfigError(
            f"train.warmup_steps is {config.warmup_steps:,} and the run has {steps:,} steps; choose fewer,"
            " or more train.steps"
        )
    if config.warmup_steps + config.cooldown_steps > steps:
        raise ConfigError(
            f"train.warmup_steps {config.warmup_steps:,} and train.cooldown_steps {config.cooldown_steps:,} are more than the run's"
            f" {steps:,} steps, so the rate would begin to fall before its time; lower train.cooldown_steps"
        )
    _check_cache(config, data)


def notes(data: Data) -> Iterator[str]:
    """A line for each damaged shard, and for each reason that samples are left out: what a run says before it begins."""
    by_size = sorted(data.lost, key=lambda lost: (-lost.samples, lost.path))
    for lost in by_size[:SHARDS_NAMED]:
        about = "about " if lost.guessed else ""
        yield f"{lost.path}: {lost.reason}; {about}{lost.samples:,} of its samples cannot be read and are left out"
    if len(by_size) > SHARDS_NAMED:
        rest = by_size[SHARDS_NAMED:]
        yield f"and {len(rest):,} damaged shards more, with {sum(lost.samples for lost in rest):,} samples"
    for reason, count in sorted(data.dropped.items()):
        yield f"{count:,} of {data.whole_rows:,} samples are left out: {reason}"


def left_out(data: Data) -> dict[str, int]:
    """Samples that are not trained on, by reason; {} where there are none."""
    counts = Counter(data.dropped)
    counts["unreadable"] += sum(lost.samples for lost in data.lost)
    return {reason: count for reason, count in sorted(counts.items()) if count}


def _check_losses(config: TrainConfig, data: Data) -> None:
    """Damaged shards, and samples without what is needed, each up to its share."""
    whole = data.whole_rows
    lost = sum(each.samples for each in data.lost)
    allowed = config.data.max_broken_share
    if lost > allowed * whole:
        worst = max(data.lost, key=lambda each: each.samples)
        raise DataError(
            f"{worst.path}: {worst.reason}; {lost:,} of {whole:,} samples cannot be read, which is past"
            f" train.data.max_broken_share {allowed:g}: make the shard again, or raise that"
        )
    allowed = config.data.max_bare_share
    if data.dropped.total() > allowed * whole:
        (reason, count) = data.dropped.most_common(1)[0]
        word, column = ("text", "caption_column") if reason == "no_text" else ("label", "label_column")
        raise DataError(
            f"{count:,} of {whole:,} samples have no {word}, which {config.model} learns from, and that is past"
            f" train.data.max_bare_share {allowed:g}: name another train.data.sources {column}, or raise it to train on"
            " the others"
        )


def _check_cache(config: TrainConfig, data: Data) -> None:
    """Windows of remote shards must fit on the disk that is given to them, or each would be fetched over and over."""
    remote = [source for source in data.sources if not storage.is_local(source.name)]
    room = config.data.shard_cache_mib * 2**20
    if not remote or not room:
        return
    wanted = 0
    for source in remote:
        part = max(range(len(source.part_rows)), key=lambda number: source.part_rows[number])
        index = source.part(part)
        largest, rows = sum(file.bytes for file in index.files), max(1, len(index))
        window = min(config.data.shuffle_window_samples, sum(source.part_rows))
        wanted += min(WINDOWS * (window * largest // rows + largest), sum(source.part_rows) * largest // rows)
    if wanted > room:
        raise ConfigError(
            f"train.data.shard_cache_mib is {config.data.shard_cache_mib:,} and two windows of the shuffle need about"
            f" {wanted // 2**20:,}; raise it, lower train.data.shuffle_window_samples, or set it to 0 to keep no shard"
        )
