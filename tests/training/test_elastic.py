"""A state saved under one ZeRO stage and world size goes on under any other: the loss curve and the weights of a run that
was not interrupted, moving averages and loss scale included.
"""

import os
import sys
from pathlib import Path

import pytest
import torch
from elastic_cells import fresh_engine, train
from ranks import on_ranks
from torch import Tensor
from torch import distributed as dist

from pipeline.errors import DataError
from training.engine.engine import Engine
from training.engine.ranks import Ranks, join
from training.saving.parts import State, checksums_of_parts, write_part
from training.saving.transfer import HostCopies, restore

BEFORE, AFTER = 3, 3
Curve = tuple[list[float], dict[str, Tensor], dict[str, Tensor]]


def curve(engine: Engine, ranks: Ranks) -> Curve:
    losses = train(engine, ranks, BEFORE, AFTER)
    found = losses, engine.weights(), engine.averaged_weights()
    engine.close()
    return found


def save(folder: str, form: str, ranks: Ranks) -> Curve:
    """A run that saves and goes on."""
    engine = fresh_engine(form, ranks)
    train(engine, ranks, 0, BEFORE)
    target = Path(folder, f"{form} on {ranks.world_size}")
    target.mkdir(exist_ok=True)
    write_part(target, ranks.rank, HostCopies().take(engine.state()))
    ranks.wait_for_all()
    return curve(engine, ranks)


def resume(folder: str, form: str, saved: str, ranks: Ranks) -> Curve:
    engine = fresh_engine(form, ranks)
    restore(engine.state(), State(f"{folder}/{saved}", int(saved[-1])))
    return curve(engine, ranks)


def on_one(folder: str, saves: list[str], resumes: list[tuple[str, str]]) -> dict[str, Curve]:
    """In this process."""
    before, ranks = torch.get_num_threads(), join()
    torch.set_num_threads(1)
    found = {f"{form} on 1": save(folder, form, ranks) for form in saves}
    found |= {f"{saved} -> {form} on 1": resume(folder, form, saved, ranks) for saved, form in resumes}
    torch.set_num_threads(before)
    return found


def one_rank(rank: int, world: int, folder: str, saves: list[str], resumes: list[tuple[str, str]]) -> None:
    torch.set_num_threads(1)
    os.environ.update(RANK=str(rank), WORLD_SIZE=str(world), LOCAL_RANK=str(rank))
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - for the life of this process
    store = dist.FileStore(f"{folder}/store", world)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=world)
    ranks = Ranks(rank, world, torch.device("cpu"), owns_group=True)
    found = {f"{form} on {world}": save(folder, form, ranks) for form in saves}
    found |= {f"{saved} -> {form} on {world}": resume(folder, form, saved, ranks) for saved, form in resumes}
    if rank == 0:
        torch.save(found, f"{folder}/results.pt")
    dist.destroy_process_group()


ON_ONE = ["0"]
ON_TWO = ["0", "1", "3", "2 offload", "3 offload", "0 sgd", "0 adafactor", "0 frozen"]
RESUMED_ON_TWO = [
    ("0 on 2", "3"),
    ("1 on 2", "1"),
    ("3 on 2", "3"),
    ("3 on 2", "1"),
    ("2 offload on 2", "3 offload"),
    ("3 offload on 2", "2"),
    ("0 on 1", "1"),
    ("0 sgd on 2", "3 sgd"),
    ("0 adafactor on 2", "0 adafactor"),
    ("0 frozen on 2", "3 frozen"),
]
RESUMED_ON_ONE = [("1 on 2", "0"), ("3 on 2", "3"), ("3 offload on 2", "2")]
"""All pairs: infra/benchmarks/elastic_resume.py."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("elastic")


@pytest.fixture(scope="module")
def results(folder: Path) -> dict[str, Curve]:
    found = on_one(str(folder), ON_ONE, [])
    on_ranks(2, one_rank, 2, str(folder), ON_TWO, RESUMED_ON_TWO)
    found |= torch.load(folder / "results.pt")
    found |= on_one(str(folder), [], RESUMED_ON_ONE)
    return found


@pytest.mark.parametrize(
    ("saved", "form", "world"), [(*cell, 2) for cell in RESUMED_ON_TWO] + [(*cell, 1) for cell in RESUMED_ON_ONE]
)
def test_the_curve_goes_on(results: dict[str, Curve], saved: str, form: str, world: int) -> None:
    wanted, found = results[saved], results[f"{saved} -> {form} on {world}"]
    if saved == f"{form} on {world}":  # nothing has changed: not one bit may
        assert found[0] == wanted[0]
        assert all(torch.equal(found[1][name], wanted[1][name]) for name in wanted[1])
    assert found[0] == pytest.approx(wanted[0], abs=1e-5)
    for wanted_weights, weights in zip(wanted[1:], found[1:], strict=True):
        assert list(weights) == list(wanted_weights)
        for name, weight in weights.items():
            torch.testing.assert_close(weight, wanted_weights[name], rtol=0, atol=1e-5)


def test_the_parts_of_all_ranks_are_the_whole_and_nothing_twice(results: dict[str, Curve], folder: Path) -> None:
    for saved in ("0 on 2", "1 on 2", "3 on 2"):
        state = State(str(folder / saved), 2)
        reference = State(str(folder / "0 on 1"), 1)
        assert state.shapes == reference.shapes
        bytes_of = [path.stat().st_size for path in sorted((folder / saved).glob("*.safetensors"))]
        assert sum(bytes_of) == pytest.approx((folder / "0 on 1/state-00000.safetensors").stat().st_size, rel=0.01)
        assert max(bytes_of) < 0.6 * sum(bytes_of)  # each rank writes its share
        for key in ("weight", "exp_avg", "exp_avg_sq", "average"):
            for name in state.names(key):
                torch.testing.assert_close(state.read(key, name), reference.read(key, name), rtol=0, atol=1e-5)
        assert set(state.scalars) == set(state.names("weight"))
        assert all(counts == {"step": BEFORE} for counts in state.scalars.values())
        for name in state.names("weight"):
            decays = len(state.shapes["weight", name]) >= 2
            assert state.settings[name]["weight_decay"] == (0.2 if decays else 0)


def test_a_state_with_a_hole_is_refused(results: dict[str, Curve], folder: Path, tmp_path: Path) -> None:
    for path in (folder / "3 on 2").iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = State(str(tmp_path), 1)  # as though there had been one rank
    with pytest.raises(DataError, match=r"holds no weight of .* it is not whole"):
        state.weights()
    assert set(checksums_of_parts(tmp_path, 2)) == {path.name for path in tmp_path.iterdir()}
