"""A step's code version changes with what it calls, and with nothing else."""

import subprocess
import sys
from pathlib import Path

PROGRAM = "from pipeline.code_version import code_version; print(code_version('pipeline.step'))"


def version_in(folder: Path) -> str:
    done = subprocess.run([sys.executable, "-c", PROGRAM], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


def project(folder: Path) -> Path:
    """A small project whose step imports `helper`, and names `child` as a target in a child process."""
    room = folder / "pipeline"
    room.mkdir()
    source = Path(__file__).resolve().parents[2] / "pipeline" / "code_version.py"
    (room / "code_version.py").write_text(source.read_text("utf-8"))
    (room / "__init__.py").write_text("")
    (room / "step.py").write_text("from pipeline import helper\nTARGET = 'pipeline.child:work'\n")
    (room / "helper.py").write_text("def helper():\n    return 1\n")
    (room / "child.py").write_text("def work():\n    return 1\n")
    (room / "stranger.py").write_text("x = 1\n")
    return room


def test_it_follows_imports_and_child_targets_and_ignores_comments_and_strangers(tmp_path: Path) -> None:
    room = project(tmp_path)
    first = version_in(tmp_path)
    (room / "helper.py").write_text("# a comment\ndef helper():\n\n    return 1\n")
    (room / "stranger.py").write_text("x = 2\n")
    assert version_in(tmp_path) == first
    (room / "helper.py").write_text("def helper():\n    return 2\n")
    second = version_in(tmp_path)
    assert second != first
    (room / "child.py").write_text("def work():\n    return 2\n")
    assert version_in(tmp_path) not in (first, second)
