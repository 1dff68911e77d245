"""ZeRO-Infinity's disk on two gloo ranks: losses, norms and weights of a plain loop, a state that goes on under other stages, and
what is said where the disk or DeepSpeed's async_io cannot be used. One launch serves all.

The first run on a machine builds async_io: 50 s of processor time.
"""

import errno
import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from engine_cells import WIDE, Changes, config, engine_loop, fresh_model, must_equal, plain_loop, take_steps
from engine_cells import join as join_ranks
from ranks import on_ranks
from torch import distributed as dist

from pipeline.errors import ConfigError
from training.config import TrainConfig
from training.engine import nvme
from training.engine.async_io import build
from training.engine.engine import Engine
from training.engine.nvme import Disk
from training.engine.ranks import Ranks, join
from training.saving.parts import State, write_part
from training.saving.transfer import HostCopies, restore

RANKS, STEPS, BEFORE, AFTER = 2, 12, 3, 3
needs_libaio = pytest.mark.skipif(
    not Path("/usr/include/libaio.h").exists() and not os.environ.get("OPENWIT_REQUIRE_LIBAIO"),
    reason="DeepSpeed's async_io needs libaio: apt-get install libaio-dev",
)
PLACES: dict[str, dict[str, Any]] = {
    "moments": {"offload_optimizer": "nvme"},
    "weights": {"offload_parameters": "nvme", "offload_optimizer": "cpu"},
    "all": {"offload_optimizer": "nvme", "offload_parameters": "nvme"},
}
CLIPPED: Changes = {"max_gradient_norm": 0.5}
SAVED = ("all", "all frozen", "0")
GOES_ON = (("all", "0"), ("all", "1"), ("all", "all"), ("0", "all"), ("all frozen", "0 frozen"))


def changes(name: str, folder: str) -> Changes:
    """Of a form of words: the stage or what is on the disk, and what else is asked for."""
    first, *words = name.split()
    memory = {**PLACES[first], "nvme_path": f"{folder}/disk"} if first in PLACES else {}
    found: dict[str, Any] = {"zero_stage": 3 if memory else int(first)}
    found |= {"memory": memory | ({"chunks": 2} if "chunks" in words else {})}
    return found | (CLIPPED if "clipped" in words else {}) | ({"freeze": ["text"]} if "frozen" in words else {})


CELLS = ("moments", "weights", "all", "all chunks clipped")


def one_rank(rank: int, folder: str) -> None:
    ranks = join_ranks(rank, RANKS, folder)
    found: dict[str, Any] = {}
    for name in CELLS:
        found[name] = engine_loop(changes(name, folder), STEPS, ranks, WIDE, weigh=False)
    for name in SAVED:
        engine, settings = fresh(name, folder, ranks)
        take_steps(engine, settings, ranks, range(BEFORE), WIDE)
        if name == "all":
            found["on the disk"] = sorted(each.name for each in Path(folder, "disk").rglob("*.swp"))
        target = Path(folder, f"saved {name}")
        target.mkdir(exist_ok=True)
        write_part(target, rank, HostCopies().take(engine.state()))
        ranks.wait_for_all()
        found[f"saved {name}"] = goes_on(engine, settings, ranks)
    for saved, name in GOES_ON:
        engine, settings = fresh(name, folder, ranks)
        restore(engine.state(), State(f"{folder}/saved {saved}", RANKS))
        found[f"{saved} -> {name}"] = goes_on(engine, settings, ranks)
    if rank == 0:
        torch.save(found, f"{folder}/found.pt")
    dist.destroy_process_group()


def fresh(name: str, folder: str, ranks: Ranks) -> tuple[Engine, TrainConfig]:
    settings = config(changes(name, folder), ranks=RANKS)
    return Engine(fresh_model(WIDE), settings, ranks), settings


def goes_on(engine: Engine, settings: TrainConfig, ranks: Ranks) -> dict[str, Any]:
    found = take_steps(engine, settings, ranks, range(BEFORE, BEFORE + AFTER), WIDE) | {"weights": engine.weights()}
    engine.close()
    return found


@needs_libaio
def test_state_on_nvme_learns_what_a_plain_loop_does_and_goes_on_under_any_stage(tmp_path: Path) -> None:
    on_ranks(RANKS, one_rank, str(tmp_path))
    found: dict[str, Any] = torch.load(tmp_path / "found.pt")
    for name in CELLS:
        must_equal(found[name], plain_loop(CLIPPED if "clipped" in name else {}, STEPS, WIDE))
    for saved, name in GOES_ON:
        must_equal(found[f"{saved} -> {name}"], found[f"saved {saved}"])
    # Weights and moments were there, and nothing stays.
    kinds = ("param", "exp_avg-", "exp_avg_sq-")
    assert all(any(kind in each for each in found["on the disk"]) for kind in kinds), found["on the disk"]
    assert list((tmp_path / "disk").iterdir()) == []


def none_here(name: str) -> Any:
    return SimpleNamespace(is_compatible=lambda verbose: False)


def broken(name: str) -> Any:
    """A builder of C++ that no compiler takes."""

    def load(verbose: bool) -> None:
        raise RuntimeError("Error building extension 'pin_memory'\nninja: build stopped")

    return SimpleNamespace(
        name=name, is_compatible=lambda verbose: True, load=load, sources=list, cxx_args=list, deepspeed_src_path=str
    )


def test_async_io_that_cannot_be_built_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_EXTENSIONS_DIR", str(tmp_path))
    with pytest.raises(
        ConfigError, match=r"cannot be built on this machine: install g\+\+ and libaio .*, or offload to cpu"
    ):
        build(none_here, on_cpu=True)
    with pytest.raises(ConfigError, match=r"PinMemoryBuilder fails \(Error building .*\); install g\+\+ and ninja, or"):
        build(broken, on_cpu=True)
    (tmp_path / "PinMemoryBuilder" / "lock").touch()  # of a build that was killed: torch would wait for ever
    with pytest.raises(
        ConfigError, match=r"lock: another program builds here, or was killed .*; wait, or delete that file"
    ):
        build(broken, on_cpu=True)


def of_disk(path: Path) -> Disk:
    memory = {"offload_optimizer": "nvme", "nvme_path": str(path)}
    return Disk(fresh_model(), config({"zero_stage": 3, "memory": memory}), join(), none_here)


def test_a_disk_that_cannot_be_used_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nvme, "build", lambda builder, on_cpu: None)
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match=r"nvme_path .*/file: File exists; name a folder on a local disk"):
        of_disk(tmp_path / "file")

    def no_direct(path: Path, flags: int, *mode: int) -> int:
        if flags & os.O_DIRECT:
            raise OSError(errno.EINVAL, "Invalid argument")
        return os_open(path, flags, *mode)

    os_open = os.open
    monkeypatch.setattr(nvme.os, "open", no_direct)
    with pytest.raises(ConfigError, match=r"nvme_path .*: Invalid argument; name a folder on a local disk"):
        of_disk(tmp_path)
    monkeypatch.setattr(nvme.os, "open", os_open)
    monkeypatch.setattr(nvme, "_may_lock", lambda: False)
    monkeypatch.setattr(nvme.resource, "getrlimit", lambda what: (2**20, 2**20))
    with pytest.raises(
        ConfigError, match=r"locks 3 MiB of each rank in memory, and 1 MiB are allowed here; allow it \(ulimit"
    ):
        of_disk(tmp_path)


def test_what_a_killed_run_left_is_deleted_and_what_another_uses_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvme, "build", lambda builder, on_cpu: None)
    (tmp_path / "openwit-left").mkdir()
    (tmp_path / "openwit-left" / "moments.swp").touch()
    first = of_disk(tmp_path)
    second = of_disk(tmp_path)
    assert {str(each) for each in tmp_path.glob("openwit-*")} == {first.path, second.path}
    first.close()
    second.close()
    assert not list(tmp_path.glob("openwit-*"))
