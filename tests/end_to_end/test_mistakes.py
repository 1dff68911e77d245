"""What users get wrong, on the real command line: one line, exit code 2, nothing half-done left behind."""

import shutil
import socket
from pathlib import Path

import pytest
from runs import Ran, environment, openwit


def one_line(done: object) -> str:
    assert done.returncode == 2, done.stderr[-2000:]  # type: ignore[attr-defined]
    lines = [line for line in done.stderr.splitlines() if line.startswith("openwit: ")]  # type: ignore[attr-defined]
    assert len(lines) == 1
    assert "Traceback" not in done.stderr  # type: ignore[attr-defined]
    return str(lines[0])


def step_folders(root: Path) -> list[str]:
    return sorted(path.name.rsplit("-", 1)[0] for path in root.glob("*-*") if path.is_dir())


def test_a_site_that_is_down_is_named_and_leaves_nothing(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    hosts = f'curate.network.hosts={{openstax.openwit.example: "127.0.0.1:{port}"}}'
    sets = ["--set", hosts, "--set", "curate.network.retries=0"]
    done = openwit("curate", "openstax", *sets, "--root", str(tmp_path), env=environment(OPENWIT_EXECUTOR="in-process"))
    message = one_line(done)
    assert "openstax.openwit.example" in message
    assert "connection_failed" in message
    assert step_folders(tmp_path) == []


@pytest.fixture
def finished(smoke: Ran, tmp_path: Path) -> Path:
    """A root of its own in which smoke is up to date."""
    return Path(shutil.copytree(smoke.root, tmp_path / "runs"))


def test_an_empty_dataset_says_what_emptied_it(finished: Path) -> None:
    sets = ["--set", "curate.fetch.minimum_side_pixels=5000"]
    done = openwit("curate", "smoke", *sets, "--root", str(finished), env=environment(OPENWIT_EXECUTOR="in-process"))
    assert "image_too_small" in one_line(done)
    assert "pack" in step_folders(finished)
    assert len(list(finished.glob("pack-*"))) == 1  # the one from before


def test_a_batch_larger_than_the_dataset_names_both_numbers(finished: Path) -> None:
    before = step_folders(finished)
    done = openwit("train", "smoke", "--set", "train.global_batch_size=4096", "--root", str(finished))
    message = one_line(done)
    assert "train.global_batch_size" in message
    assert "4,096" in message or "4096" in message
    assert step_folders(finished) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["run", "dmeo"], "demo"),
        (["run", "demo", "--set", "train.lerning_rate=1"], "learning_rate"),
        (["run", "demo", "--set", "train.learning_rate=fast"], "train.learning_rate"),
        (["run", "demo", "--root", "/proc/none"], "--root"),
        (["evaluate", "smoke", "--set", "evaluate.tasks=[digit]"], "digits"),
        (["inspect", "/nowhere"], "/nowhere"),
    ],
)
def test_a_mistake_is_one_line_that_shows_the_way_out(arguments: list[str], said: str, tmp_path: Path) -> None:
    root = [] if "--root" in arguments or arguments[0] == "inspect" else ["--root", str(tmp_path / "runs")]
    assert said in one_line(openwit(*arguments, *root, timeout=60))
    assert not (tmp_path / "runs").exists()


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    done = openwit("run", "dmeo", "--root", str(tmp_path), "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr


def test_a_changed_shard_is_not_trained_on(finished: Path) -> None:
    tar = next(finished.glob("pack-*/00000.tar"))
    data = bytearray(tar.read_bytes())
    data[1000] ^= 255
    tar.write_bytes(bytes(data))
    done = openwit("train", "smoke", "--set", "train.learning_rate=0.003", "--root", str(finished))
    said = one_line(done)
    assert "00000.tar: changed since its manifest was written" in said
    assert "past train.data.max_broken_share 0.01" in said
