"""The command line as a user meets it: speed, one line per mistake, exit codes, and nothing left behind."""

import io
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from PIL import Image
from runs import STEPS

import orchestration
from orchestration import show
from orchestration.cli import cli, main
from orchestration.handover import hand_over
from orchestration.inspection import inspect, spread
from orchestration.progress import Lines, name_and_note
from orchestration.root import require_writable
from orchestration.step import StepRecord
from pipeline import storage
from pipeline.datasets.shards import write_dataset
from pipeline.errors import ConfigError, DataError
from pipeline.manifest import Manifest

SOURCE = Path(orchestration.__file__).parents[1]
HEAVY = ("torch", "ray", "mlflow", "pyarrow", "numpy", "pydantic", "yaml", "rich", "pandas", "fsspec", "jinja2")


def openwit(*words: str, folder: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    names = {"PYTHONPATH": str(SOURCE), **environment}
    return subprocess.run(
        [sys.executable, "-m", "orchestration.cli", *words],
        cwd=folder,
        env={**os.environ, **names},
        capture_output=True,
        text=True,
        timeout=120,
    )


def mistake(*words: str, folder: Path) -> str:
    """The one line on stderr of a command that must end with 2 and leave nothing."""
    before = sorted(folder.rglob("*"))
    done = openwit(*words, folder=folder)
    assert done.returncode == 2, done.stderr
    assert done.stdout == ""
    lines = done.stderr.splitlines()
    assert len(lines) == 1, done.stderr
    assert sorted(folder.rglob("*")) == before
    return lines[0]


def picture(colour: str) -> bytes:
    sink = io.BytesIO()
    Image.new("RGB", (40, 30), colour).save(sink, "JPEG")
    return sink.getvalue()


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    """A step folder with six pairs in two shards."""
    folder = tmp_path / "runs" / "pack-0123456789ab"
    colours = ("red", "green", "blue", "black", "white", "grey")
    write_dataset(str(folder), [(f"http://a/{c}.jpg", f"a {c} square", picture(c)) for c in colours], 3)
    return folder


def record(folder: Path, name: str, output_id: str, inputs: dict[str, str]) -> None:
    value = StepRecord(name, "", {}, "code", inputs, output_id, 1.5, {})
    storage.write_json(str(folder / "step.json"), {k: v for k, v in vars(value).items() if k != "path"})


def every_command() -> list[tuple[str, ...]]:
    found: list[tuple[str, ...]] = [()]
    for name, command in cli.commands.items():
        found.append((name,))
        if isinstance(command, click.Group):
            found += [(name, below) for below in command.commands]
    return found


def test_help_answers_within_half_a_second(tmp_path: Path) -> None:
    seconds = []
    for _ in range(3):
        process = subprocess.Popen(
            [sys.executable, "-m", "orchestration.cli", "--help"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(SOURCE)},
            stdout=subprocess.DEVNULL,
        )
        _, status, used = os.wait4(process.pid, 0)
        assert status == 0
        seconds.append(used.ru_utime + used.ru_stime)
    # It waits for nothing, so processor time is what it takes; what else the machine does is not measured.
    assert min(seconds) < 0.5


@pytest.mark.parametrize("words", [("--help",), ("run", "--help"), ("jobs", "logs", "--help"), ("run",)])
def test_help_and_wrong_words_import_nothing_heavy(words: tuple[str, ...], tmp_path: Path) -> None:
    code = (
        "import sys\nfrom orchestration.cli import main\n"
        f"main({list(words)!r})\n"
        f"heavy = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(SOURCE)}, capture_output=True
    )
    assert done.returncode == 0, done.stderr.decode()


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_explains_itself_with_an_example(words: tuple[str, ...]) -> None:
    done = CliRunner().invoke(cli, [*words, "--help"], terminal_width=90)
    assert done.exit_code == 0
    assert "Example" in done.output
    assert f"  openwit {' '.join(words)}".rstrip() in done.output
    if words in ((), ("jobs",)):
        commands = done.output.split("Commands:")[1].split("Example")[0]
        assert "..." not in commands, "a summary is too long for one line"


def test_no_words_at_all_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    assert "Commands:" in capsys.readouterr().out


def test_an_unknown_recipe_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    line = mistake("run", "dmo", folder=tmp_path)
    assert line.startswith("openwit: dmo: unknown recipe; did you mean demo? known: demo, ")


@pytest.mark.parametrize("command", ["plan", "curate", "train", "evaluate"])
def test_every_command_with_a_recipe_refuses_an_unknown_one(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "dmo"]) == 2
    assert capsys.readouterr().err.startswith("openwit: dmo: unknown recipe; did you mean demo? ")


def test_an_unknown_key_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    line = mistake("run", "demo", "--set", "train.optim.lrr=1", folder=tmp_path)
    assert line == "openwit: train.optim.lrr: unknown key; did you mean train.learning_rate?"


def test_a_wrong_type_is_one_line_and_leaves_nothing(tmp_path: Path) -> None:
    line = mistake("run", "demo", "--set", "train.learning_rate=fast", "--json", folder=tmp_path)
    assert line == "openwit: train.learning_rate: 'fast' is not a number; give one such as 0.0005"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("plan", "smoke", "--root", ""), "'--root': is empty; name a folder"),
        (("submit", "smoke", "--address", "head"), "'head' is no web address; write it like http://head:8265"),
        (("plan", "smoke", "--set", "train.warmup_steps=5000"), "lower warmup_steps"),
        (("plan", "smoke", "--set", "evaluate.protocols=[]"), "evaluate.protocols: [] is too short"),
        (
            ("plan", "smoke", "--set", "curate.select.queries.path=/none.txt"),
            "queries.path: '/none.txt' does not exist",
        ),
    ],
)
def test_a_value_that_cannot_work_is_one_line_before_any_work(
    words: tuple[str, ...], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(list(words)) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert said in lines[0]


def test_a_broken_recipe_file_is_one_line_and_leaves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my.yaml").write_text("name: x\ntrain: [1, 2\n", "utf-8")
    monkeypatch.chdir(tmp_path)
    assert main(["plan", "my.yaml"]) == 2
    assert capsys.readouterr().err.startswith("openwit: my.yaml: line 3, column 1: ")
    assert [path.name for path in tmp_path.iterdir()] == ["my.yaml"]


def test_an_unwritable_root_is_told_before_any_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", "utf-8")
    line = mistake("run", "smoke", "--root", "file/deep/runs", folder=tmp_path)
    assert line == ("openwit: --root file/deep/runs: cannot be written (a file is in its place); choose another --root")
    with pytest.raises(ConfigError, match=r"^--root /proc/openwit: cannot be written \("):
        require_writable("/proc/openwit")
    with pytest.raises(ConfigError, match="choose a local --root"):
        require_writable("s3://bucket/runs")


def test_a_folder_that_holds_no_run_is_one_line(tmp_path: Path) -> None:
    assert mistake("inspect", "nowhere", folder=tmp_path).endswith("give a dataset, step or run folder below --root")
    with pytest.raises(DataError, match="holds no finished dataset"):
        inspect(str(tmp_path))
    with pytest.raises(DataError, match=r"no journal\.jsonl in it"):
        hand_over(str(tmp_path))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu"], "No such command 'rnu'"),
        (["run"], "Missing argument 'RECIPE'; see openwit run --help"),
        (["run", "demo", "--rot", "x"], "No such option '--rot'"),
        (["ui", "--port", "many"], "Invalid value for '--port'"),
        (["jobs", "list"], "Missing option '--address'"),
    ],
)
def test_a_wrong_command_line_is_one_line(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_API_SERVER_ADDRESS", raising=False)
    assert main(words) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.count("\n") == 1
    assert said in shown.err


def test_debug_shows_the_traceback_and_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "dmo", "--debug"]) == 2
    shown = capsys.readouterr().err
    assert "Traceback (most recent call last)" in shown
    assert shown.splitlines()[-1].startswith("openwit: dmo: unknown recipe")
    assert main(["--debug", "run", "dmo"]) == 2
    assert "Traceback" in capsys.readouterr().err


def raising(error: BaseException) -> Callable[..., None]:
    def command(*words: object, **named: object) -> None:
        raise error

    return command


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (KeyboardInterrupt(), 130, "openwit: stopped; the same command goes on where this one ended"),
        (KeyError("x"), 1, "openwit: KeyError: 'x' (this is a bug; run again with --debug and report it)"),
        (EOFError("pipe"), 1, "openwit: EOFError: pipe (this is a bug; run again with --debug and report it)"),
        (DataError("a:\n b\x1b[31m; do c"), 2, "openwit: a: b?[31m; do c"),
        (OSError(28, "No space left", "/a"), 2, "openwit: /a: the disk is full; free space or choose another --root"),
        (BrokenPipeError(32, "worker"), 1, "openwit: BrokenPipeError: [Errno 32] worker (this is a bug; run again"),
    ],
)
def test_each_way_to_end_has_its_code_and_one_line(
    error: BaseException, code: int, line: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli.commands["models"], "callback", raising(error))
    assert main(["models"]) == code
    shown = capsys.readouterr().err.strip()
    assert shown.startswith(line)
    assert "\n" not in shown


def test_a_reader_that_goes_away_ends_the_command_quietly(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "orchestration.cli", "tasks"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait(60) == 141


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_command_says_so_in_one_line(number: signal.Signals, code: int, tmp_path: Path) -> None:
    program = (
        "import sys, time\nfrom orchestration.cli import cli, main\n"
        "def wait(**named):\n    print('ready', flush=True)\n    time.sleep(60)\n"
        "cli.commands['models'].callback = wait\nsys.exit(main(['models']))\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    process.send_signal(number)
    _, shown = process.communicate(timeout=60)
    assert process.returncode == code
    assert shown.strip().startswith("openwit: stopped")
    assert "\n" not in shown.strip()


def test_plan_shows_every_step_and_writes_nothing(tmp_path: Path) -> None:
    done = openwit("plan", "demo", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    steps = json.loads(done.stdout)["steps"]
    assert [step["name"] for step in steps] == STEPS
    assert all(not step["done"] and step["why"] and step["action"] for step in steps)
    assert list(tmp_path.iterdir()) == []
    table = CliRunner().invoke(cli, ["plan", "demo", "--root", str(tmp_path)]).stdout
    assert all(f"\n{name} " in table for name in STEPS)
    assert "never run" in table


def test_json_is_alone_on_stdout_whatever_libraries_print(capfd: pytest.CaptureFixture[str]) -> None:
    with show.stdout_kept_clean(True):
        print("from python")
        subprocess.run(["echo", "from a child"], check=True)
    show.print_json({"a": (1, float("nan")), "b": Path("c")})
    shown = capfd.readouterr()
    assert json.loads(shown.out) == {"a": [1, None], "b": "c"}
    assert shown.err == "from python\nfrom a child\n"


@pytest.mark.parametrize(("command", "key"), [("models", "model"), ("tasks", "task")])
def test_models_and_tasks_are_listed_for_people_and_machines(command: str, key: str) -> None:
    table = CliRunner().invoke(cli, [command])
    rows = json.loads(CliRunner().invoke(cli, [command, "--json"]).stdout)
    assert table.exit_code == 0
    assert rows
    assert all(row[key] in table.stdout for row in rows)


def test_inspect_tells_a_datasets_counts_sizes_and_draws_its_contact_sheet(dataset: Path) -> None:
    done = CliRunner().invoke(cli, ["inspect", str(dataset), "--json"])
    assert done.exit_code == 0, done.output
    found = json.loads(done.stdout)
    assert (found["kind"], found["facts"]["rows"], found["facts"]["shards"]) == ("dataset", 6, 2)
    assert found["facts"]["shorter_side_pixels_median"] == 30
    assert found["counts"]["given"]["pairs"] == {"rows_in": 6, "kept": 6, "reasons": {}}
    assert found["planted_equal"] is None
    sheet = Path(found["contact_sheet"])
    assert sheet == dataset.parent / "inspect" / "pack-0123456789ab.png"
    with Image.open(sheet) as drawn:
        assert drawn.width > 300
    Manifest.load(str(dataset)).verify(str(dataset))


@pytest.mark.parametrize(("number", "equal"), [(3, True), (4, False)])
def test_inspect_sets_planted_numbers_beside_counted_ones(dataset: Path, number: int, equal: bool) -> None:
    old = Manifest.load(str(dataset))
    fate = {"rows_in": 9, "kept": 6, "reasons": {"not_found": 3}}
    changed = Manifest(old.shards, {"fetch": {"pairs": fate}}, (), {}, "", {"retried": 2})
    changed.save(str(dataset))
    web = dataset.parent / "web-0"
    planted = {"fetch": {"pairs": {"not_found": number}}, "recovered": {"retried": 2}}
    storage.write_json(str(web / "planted.json"), planted)
    record(web, "web", "w", {})
    record(dataset.parent, "unrelated", "u", {})
    crawl = dataset.parent / "crawl-0"
    record(crawl, "crawl", "c", {"web": "w"})
    record(dataset, "pack", changed.id, {"crawl": "c"})
    found = inspect(str(dataset))
    assert found.planted_equal is equal
    shown = CliRunner().invoke(cli, ["inspect", str(dataset)]).stdout
    assert ("planted = counted for all 2 kinds" in shown) is equal
    assert ("DIFFERENT" in shown) is not equal
    record(crawl, "crawl", "c", {"web": "another web"})
    assert inspect(str(dataset)).planted_equal is None


def test_inspect_of_a_root_lists_its_steps(dataset: Path) -> None:
    record(dataset, "pack", Manifest.load(str(dataset)).id, {})
    found = inspect(str(dataset.parent))
    assert (found.kind, [part.kind for part in found.parts]) == ("root", ["dataset"])
    assert "6 rows" in CliRunner().invoke(cli, ["inspect", str(dataset.parent)]).stdout


def test_spread_takes_first_and_last_and_keeps_the_order() -> None:
    assert spread(range(10), 4) == [0, 3, 6, 9]
    assert spread(range(3), 4) == [0, 1, 2]


def test_a_log_gets_a_line_every_few_seconds_with_rate_and_time_left() -> None:
    now, lines = 0.0, list[str]()
    progress = Lines(clock=lambda: now, write=lines.append)
    for done in range(20, 101):  # 20 were done by an earlier run
        progress(done, 100, f"fetch: item {done}")
        now += 0.5
    progress(100, 100, "fetch")
    assert lines[0] == "fetch: 30/100 (30%), 2.0/s, 0:35 left, item 30"
    assert lines[-1] == "fetch: 100/100 (100%), 2.0/s, in 0:40, item 100"
    assert len(lines) == 8
    for done in (0, 1, 2):
        progress(done, 2, "fetch")
        now += 1.0
    assert lines[8:] == ["fetch: 2/2 (100%), 1.0/s, in 0:02"]
    assert name_and_note("train: loss 2.3, lr 1e-4") == ("train", "loss 2.3, lr 1e-4")


def test_a_bar_shows_the_smallest_share_and_never_more_than_all() -> None:
    assert show.bar(0, 10) == ""
    assert show.bar(1, 10**9) == "▏"
    assert len(show.bar(10, 10)) == show.BAR_WIDTH
    assert show.bar(5, 0) == "▏"


def test_a_long_fact_goes_on_below_where_it_began_on_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    words = "word " * 40
    show.facts({"answer": words, "url": "http://a.example/" + "x" * 100})
    assert len(capsys.readouterr().out.splitlines()) == 2  # a log has one line each
    monkeypatch.setenv("TERM", "dumb")  # 80 columns without colours
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    show.facts({"answer": words, "url": "http://a.example/" + "x" * 100})
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 5
    assert max(map(len, lines)) <= 80
    assert [line[:8].strip() for line in lines if line[:8].strip()] == ["answer", "url"]
