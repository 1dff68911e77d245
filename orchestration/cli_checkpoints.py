"""The commands that work on checkpoints and trainings: replay, export, import, sample."""

from typing import Any

import click

from orchestration.cli_options import debug_option, example, json_option

LAYOUTS = ("openwit", "openai", "open_clip", "huggingface")
CHECKPOINT = "runs/train-0123456789ab"


def _show(name: str, as_json: bool, *arguments: Any) -> None:
    """Do `checkpoint_work.<name>(*arguments)` and print what it found."""
    from orchestration import show

    with show.stdout_kept_clean(as_json):
        from orchestration import checkpoint_work

        found = getattr(checkpoint_work, name)(*arguments)
    if as_json:
        show.print_json(found)
    else:
        from orchestration import show_checkpoints

        getattr(show_checkpoints, name)(found)


@click.command(
    epilog=example(
        f"openwit replay {CHECKPOINT} --step 1234",
        "openwit replay out --step 1234 --data dataset --worst 50 --json",
    )
)
@click.argument("run_or_folder", metavar="RUN_OR_FOLDER")
@click.option("--step", type=click.IntRange(1), required=True, metavar="N", help="The step to make again.")
@click.option("--data", metavar="FOLDER", help="Its dataset; default: the one beside it that has the right id.")
@click.option("--worst", type=click.IntRange(1), default=10, show_default=True, help="Samples to show.")
@json_option
@debug_option
def replay(run_or_folder: str, step: int, data: str | None, worst: int, as_json: bool) -> None:
    """Make one step of a training again, and name its samples.

    From the nearest checkpoint before it, on one process, whatever the number of ranks was: each sample's share of the
    loss, gradient norms by layer, and how far the replayed losses are from the recorded ones.
    """
    _show("replay", as_json, run_or_folder, step, data, worst)


@click.command(
    epilog=example(
        f"openwit export {CHECKPOINT} --to open_clip ViT-B-32",
        f"openwit export {CHECKPOINT}/checkpoints/000001000 --to openwit halfway --average",
    )
)
@click.argument("checkpoint")
@click.argument("folder")
@click.option("--to", "layout", type=click.Choice(LAYOUTS), required=True, help="Whose files to write.")
@click.option("--average", is_flag=True, help="The moving average of the weights (train.optimizer.ema_decay).")
@json_option
@debug_option
def export(checkpoint: str, folder: str, layout: str, average: bool, as_json: bool) -> None:
    """Write a trained model for other libraries.

    CHECKPOINT is a run's folder, a finished checkpoint or one to resume from. What was written is read again and must give
    the same outputs.
    """
    _show("export", as_json, checkpoint, folder, layout, average)


@click.command(
    "import",
    epilog=example(
        "openwit import clip-vit-base-patch32 imported/b-32",
        "openwit import ViT-B-32.pt imported/b-32 --tokenizer bpe_simple_vocab_16e6.txt.gz",
    ),
)
@click.argument("path")
@click.argument("folder")
@click.option("--tokenizer", metavar="FILE", help="CLIP's vocabulary, where none lies beside the weights.")
@json_option
@debug_option
def import_(path: str, folder: str, tokenizer: str | None, as_json: bool) -> None:
    """Make a checkpoint of a model of others.

    PATH is a folder of open_clip or Hugging Face (CLIP, ViT, ImageGPT), a file of OpenAI's CLIP, or a file of open_clip's
    training with its model_configs/NAME.json beside it as open_clip_config.json. Nothing is unpickled but plain tensors.
    """
    _show("import_", as_json, path, folder, tokenizer)


@click.command(
    epilog=example(
        f"openwit sample {CHECKPOINT} --out new.png --count 25",
        f"openwit sample {CHECKPOINT} --out rest.png --complete cat.jpg --complete dog.jpg --rows 12 --top-k 100",
    )
)
@click.argument("checkpoint")
@click.option("--out", required=True, metavar="PNG", help="The sheet that is written.")
@click.option("--count", type=click.IntRange(1), metavar="N", help="Pictures (16), or completions of each (4).")
@click.option("--complete", "pictures", multiple=True, metavar="PICTURE", help="Draw the rest of it; may be repeated.")
@click.option("--rows", type=click.IntRange(0), metavar="N", help="Rows that are given; default: the upper half.")
@click.option(
    "--temperature",
    type=click.FloatRange(0),
    default=1.0,
    show_default=True,
    help="Below 1 likelier pixels; 0 the likeliest.",
)
@click.option("--top-k", type=click.IntRange(0), default=0, help="Draw among the K likeliest colours; 0: among all.")
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True, help="Other pictures.")
@json_option
@debug_option
def sample(
    checkpoint: str,
    out: str,
    count: int | None,
    pictures: tuple[str, ...],
    rows: int | None,
    temperature: float,
    top_k: int,
    seed: int,
    as_json: bool,
) -> None:
    """Draw pictures with an iGPT: new ones, or the rest of given ones.

    CHECKPOINT is a run's folder, a checkpoint, or a Hugging Face ImageGPT. A line of completions shows the picture, what the
    model was given of it, and what it draws.
    """
    _show("sample", as_json, checkpoint, out, count, pictures, rows, temperature, top_k, seed)


checkpoint_commands = (replay, export, import_, sample)
