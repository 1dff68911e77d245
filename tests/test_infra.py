"""The files of infra/ and the project's frame, read back: versions, paths and commands are those of the project."""

import importlib.util
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import click
import pytest
import yaml

import pipeline
from orchestration.cli import cli
from orchestration.recipe import shipped_recipes

ROOT = Path(__file__).resolve().parents[1]
INFRA = ROOT / "infra"


def constraints() -> dict[str, list[str]]:
    """Package name in its normal form -> its pinned versions."""
    found: dict[str, list[str]] = {}
    for line in (ROOT / "constraints.txt").read_text("utf-8").splitlines():
        if line and not line.startswith("#"):
            name, version = re.fullmatch(r"([\w.-]+)==([\w.]+)(?: ; python_version (?:<|>=) \"3\.11\")?", line).groups()  # type: ignore[union-attr]
            found.setdefault(normal(name), []).append(version)
    return found


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def require_openwit_command(words: list[str]) -> None:
    """`openwit ...` is a command with a recipe and options that exist."""
    assert words[0] == "openwit"
    command: click.Command = cli
    rest = words[1:]
    while rest and isinstance(command, click.Group):
        command = command.commands[rest.pop(0)]
    context = command.make_context("openwit", list(rest), resilient_parsing=False)
    if "recipe" in context.params:
        assert context.params["recipe"] in shipped_recipes()


# The frame


def test_every_dependency_has_one_pinned_version_that_satisfies_it() -> None:
    from packaging.requirements import Requirement

    text = (ROOT / "pyproject.toml").read_text("utf-8")
    wanted = [
        Requirement(line)
        for line in re.findall(r'^  "([^"]+)",$', text.split("dependencies = [")[1].split("\n]")[0], re.M)
    ]
    wanted += [Requirement(line) for line in re.findall(r'"([^"]+)"', re.search(r"^dev = \[(.*)\]$", text, re.M)[1])]  # type: ignore[index]
    pinned = constraints()
    assert len(wanted) > 20
    for requirement in wanted:
        versions = pinned[normal(requirement.name)]
        assert all(requirement.specifier.contains(version) for version in versions), requirement
    assert pinned["torch"] == ["2.13.0"]
    assert all(len(versions) <= 2 for versions in pinned.values())


def test_what_runs_here_is_what_is_pinned() -> None:
    from importlib import metadata

    for name in ("torch", "ray", "mlflow", "deepspeed", "img2dataset"):
        assert metadata.version(name).split("+")[0] in constraints()[name]


def test_make_says_which_python_it_wants(tmp_path: Path) -> None:
    old = tmp_path / "python3"
    program = "import sys; sys.version_info = (3, 9, 1); exec(sys.argv[1])"
    old.write_text(
        f"#!/bin/sh\n[ $1 = --version ] && echo Python 3.9.1 || exec {sys.executable} -c '{program}' \"$2\"\n"
    )
    old.chmod(0o755)
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        (tmp_path / name).write_bytes((ROOT / name).read_bytes())
    done = subprocess.run(["make", "-C", tmp_path, "venv", f"PYTHON={old}"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "needs Python 3.10 to 3.12" in done.stderr
    assert "Python 3.9.1" in done.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_scripts_are_bash_that_parses() -> None:
    for path in (ROOT / ".ci" / "run", INFRA / "slurm" / "train.sbatch"):
        text = path.read_text("utf-8")
        assert text.startswith("#!/usr/bin/env bash\n")
        assert "set -euo pipefail" in text
        subprocess.run(["bash", "-n", path], check=True)
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


def test_the_licence_is_apache_2() -> None:
    text = (ROOT / "LICENSE").read_text("utf-8")
    assert "Version 2.0, January 2004" in text
    assert "END OF TERMS AND CONDITIONS" in text
    assert len(text) > 10_000


# Docker


def instructions(path: Path) -> list[tuple[str, str]]:
    text = re.sub(r"^#.*\n", "", path.read_text("utf-8"), flags=re.M)
    text = re.sub(r"\\\n", " ", text)
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in text.splitlines() if line.strip()]


@pytest.mark.parametrize("name", ["cpu", "gpu"])
def test_an_image_copies_what_exists_and_runs_as_a_plain_user(name: str) -> None:
    found = instructions(INFRA / "docker" / f"{name}.Dockerfile")
    known = {"FROM", "RUN", "ENV", "WORKDIR", "COPY", "USER", "ENTRYPOINT", "CMD"}
    assert {word for word, _ in found} == known
    assert re.search(r":\d+\.\d+\.\d+-", dict(found)["FROM"])
    ignored = (ROOT / ".dockerignore").read_text("utf-8").splitlines()
    copied = set()
    for word, rest in found:
        if word == "COPY":
            for source in rest.split()[:-1]:
                assert (ROOT / source).exists(), source
                assert f"!{source.split('/')[0]}" in ignored, source
                copied.add(source)
    assert {"pipeline", "training", "evaluation", "orchestration", "constraints.txt"} <= copied
    user = dict(found)["USER"]
    assert user != "root"
    assert [word for word, _ in found].index("USER") < [word for word, _ in found].index("ENTRYPOINT")
    assert any("--constraint constraints.txt" in rest for word, rest in found if word == "RUN")
    require_openwit_command([*json.loads(dict(found)["ENTRYPOINT"]), *json.loads(dict(found)["CMD"])])


# Kubernetes


def rayjob() -> dict[str, Any]:
    value: dict[str, Any] = yaml.safe_load((INFRA / "kuberay" / "rayjob.yaml").read_text("utf-8"))
    return value


def test_the_rayjob_runs_our_command_on_our_ray_with_a_token() -> None:
    job = rayjob()
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    spec = job["spec"]
    require_openwit_command(shlex.split(spec["entrypoint"]))
    assert spec["submissionMode"] in ("SidecarMode", "HTTPMode")
    assert spec["rayClusterSpec"]["rayVersion"] in constraints()["ray"]
    assert spec["rayClusterSpec"]["authOptions"]["mode"] == "token"
    assert int(yaml.safe_load(spec["runtimeEnvYAML"])["env_vars"]["RAY_JOB_STOP_WAIT_TIME_S"]) >= 30
    assert not {"shutdownAfterJobFinishes", "ttlSecondsAfterFinished"} & set(spec)
    rules = {
        (rule["condition"]["jobStatus"], rule["policy"]): rule for rule in spec["deletionStrategy"]["deletionRules"]
    }
    assert ("SUCCEEDED", "DeleteCluster") in rules
    keeps = [
        rules[("FAILED", policy)]["condition"]["ttlSeconds"]
        for policy in ("DeleteWorkers", "DeleteCluster", "DeleteSelf")
    ]
    assert keeps == sorted(keeps)


def test_its_pods_are_plain_users_with_fixed_memory_and_a_real_shm() -> None:
    cluster = rayjob()["spec"]["rayClusterSpec"]
    image = f"openwit:{pipeline.__version__}-cpu"
    assert cluster["headGroupSpec"]["rayStartParams"]["num-cpus"] == "0"
    uid = re.search(r"useradd .*--uid (\d+)", (INFRA / "docker" / "cpu.Dockerfile").read_text("utf-8"))
    assert uid is not None
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["securityContext"]["runAsUser"] == int(uid[1])
        (container,) = pod["containers"]
        assert container["image"] == image
        assert container["resources"]["requests"] == container["resources"]["limits"]
        mounts = {mount["mountPath"]: mount["name"] for mount in container["volumeMounts"]}
        volumes = {volume["name"]: volume for volume in pod["volumes"]}
        assert volumes[mounts["/dev/shm"]]["emptyDir"]["medium"] == "Memory"
        assert "/data" in mounts


# Slurm


def test_the_slurm_script_starts_our_module_with_options_it_has(tmp_path: Path) -> None:
    """Run for real, with srun and scontrol replaced by scripts that print what they were asked."""
    for name, text in {"srun": 'printf "%s\\n" "$@"', "scontrol": "printf 'node1\\nnode2\\n'"}.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    slurm = {
        "SLURM_JOB_NODELIST": "node[1-2]",
        "SLURM_JOB_ID": "70001",
        "SLURM_NNODES": "2",
        "SLURM_GPUS_ON_NODE": "8",
        "SLURM_SUBMIT_DIR": str(ROOT),
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
    }
    script = str(INFRA / "slurm" / "train.sbatch")
    asked = subprocess.run(
        ["bash", script, "c.json", "data", "out"], env=slurm, capture_output=True, text=True, check=True
    ).stdout.splitlines()
    assert asked[asked.index("--rdzv-endpoint") + 1] == "node1:30001"
    assert asked[asked.index("--nproc-per-node") + 1] == "8"
    module = asked.index("-m")
    assert asked[module + 1 :] == ["training", "--config", "c.json", "--data", "data", "--out", "out"]
    known = subprocess.run(
        [sys.executable, "-m", "training", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert all(option in known for option in ("--config", "--data", "--out"))
    wrong = subprocess.run(["bash", script], env=slurm, capture_output=True, text=True)
    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)


# MLflow


def mlflow_options(words: list[str]) -> None:
    """`mlflow server ...` has these options, in the version we pin."""
    from mlflow.cli import cli as mlflow_cli

    assert words[:2] == ["mlflow", "server"]
    known = {name for parameter in mlflow_cli.commands["server"].params for name in parameter.opts}
    assert {word.split("=")[0] for word in words[2:] if word.startswith("--")} <= known


def test_the_mlflow_service_is_ours_in_version_and_closed_to_the_world() -> None:
    value = yaml.safe_load((INFRA / "mlflow" / "compose.yaml").read_text("utf-8"))
    server = value["services"]["mlflow"]
    assert re.search(r":v([\d.]+)", server["image"])[1] in constraints()["mlflow"]  # type: ignore[index]
    mlflow_options(server["command"])
    assert "--allowed-hosts=127.0.0.1:5000,localhost:5000" in server["command"]
    assert server["ports"] == ["127.0.0.1:5000:5000"]
    assert "ports" not in value["services"]["database"]


def test_the_mlflow_unit_listens_on_loopback_only() -> None:
    text = (INFRA / "mlflow" / "mlflow.service").read_text("utf-8").replace("\\\n", " ")
    words = shlex.split(re.search(r"^ExecStart=(.*)$", text, re.M)[1])  # type: ignore[index]
    mlflow_options(["mlflow", *words[1:]])
    assert words[words.index("--host") + 1] == "127.0.0.1"
    assert words[words.index("--allowed-hosts") + 1] == "127.0.0.1:5000,localhost:5000"


def test_both_mlflow_servers_have_job_execution_and_pickle_off() -> None:
    for name, pattern in (("mlflow.env.example", r"^(\w+)=(.*)$"), ("mlflow.service", r"^Environment=(\w+)=(.*)$")):
        told = dict(re.findall(pattern, (INFRA / "mlflow" / name).read_text("utf-8"), re.M))
        for word in ("SERVER_ENABLE_JOB_EXECUTION", "ENABLE_AI_GATEWAY", "ALLOW_PICKLE_DESERIALIZATION"):
            assert told[f"MLFLOW_{word}"] == "false"
        assert told.get("POSTGRES_PASSWORD", "") == ""
    assert "infra/mlflow/mlflow.env" in (ROOT / ".gitignore").read_text("utf-8").splitlines()


# Benchmarks


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"benchmarks_{name}", INFRA / "benchmarks" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


def test_each_result_is_whole_and_its_benchmark_exists() -> None:
    results = sorted((INFRA / "benchmarks" / "results").glob("*.json"))
    assert results
    for path in results:
        result = json.loads(path.read_text("utf-8"))
        assert {"name", "command", "machine", "versions", "rows", "data"} == set(result) - {"headings"}
        assert result["name"] == path.stem
        assert (INFRA / "benchmarks" / f"{path.stem}.py").exists()
        assert result["command"].endswith(f"make bench NAME={path.stem}")
        if "headings" in result:
            assert result["rows"]
            assert all(len(row) == len(result["headings"]) for row in result["rows"])
            continue
        for row in result["rows"]:
            assert {"case", "metric", "unit", "ours", "peer", "peer_name", "ratio", "higher_is_better"} == set(row)
            assert row["peer_name"].split(",")[0] in result["versions"]  # "imagededup, extrapolated" names its way
            better = row["ours"] / row["peer"] if row["higher_is_better"] else row["peer"] / row["ours"]
            assert row["ratio"] == pytest.approx(better, rel=1e-3, abs=1e-3)


def test_the_table_is_that_of_the_results() -> None:
    table = load("table")
    text = (INFRA / "benchmarks" / "README.md").read_text("utf-8")
    assert table.updated(text) == text, "run python infra/benchmarks/table.py"


def test_paired_times_take_turns_and_give_medians() -> None:
    harness = load("harness")
    order: list[str] = []
    ours, theirs = iter([3.0, 1.0, 2.0]), iter([30.0, 10.0, 20.0])

    def take(name: str, times: Any) -> float:
        order.append(name)
        return float(next(times))

    assert harness.paired(lambda: take("o", ours), lambda: take("p", theirs), 3) == (2.0, 20.0)
    assert "".join(order) == "oppoop"
    assert harness.Row("c", "m", "s", 1.0, 2.0, "p", higher_is_better=False).ratio == 2.0


def test_a_benchmarks_command_tells_the_sizes_it_was_given() -> None:
    script = 'A = int(os.environ.get("SIZE", "5"))\nB = [os.environ.get(f"NEAR_{name}") for name in "XY"]\nos.environ.get("ROOT")'
    found = {"SIZE": "7", "NEAR_X": "1;2", "ROOT": "/somewhere", "OTHER": "3", "BIGSIZE": "4"}
    assert load("harness").given(script, found) == ["NEAR_X='1;2'", "SIZE=7"]
