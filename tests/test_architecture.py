"""The shape of the project: imports point one way, each heavy dependency has one door, files stay short.

Read from the syntax trees, so imports inside functions count like all others.
"""

import ast
import functools
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("pipeline", "training", "evaluation", "orchestration")

DOORS = {
    "ray": ("pipeline/execution/on_ray.py", "orchestration/cluster.py"),
    "img2dataset": ("pipeline/fetching/img2dataset_child.py",),
    "deepspeed": ("training/engine/engine.py",),
    "mlflow": ("orchestration/tracking.py",),
}
# Clients that could reach the network, none of which is used, and the calls by which a socket goes out. Loopback is not the
# network: a server of our own may bind a socket (http.server, socket.create_server), but only the fetcher goes out.
NETWORK = (
    "aiohttp",
    "requests",
    "httpx",
    "urllib3",
    "http.client",
    "urllib.request",
    "ftplib",
    "smtplib",
    "websockets",
)
WAYS_OUT = ("sock_connect", "connect_ex", "create_connection", "open_connection", "start_connection")
NETWORK_DOORS = ("pipeline/web/dialing.py", "orchestration/reachable.py")
"""The fetcher, and the question whether the services that a user names (trackers, clusters) answer at all."""
NEVER = ("torchvision", "timm", "open_clip", "pickle", "dill", "cloudpickle", "joblib")
MAX_LINES = 400
MAX_LINES_OF_TESTS = 600


def files(room: str) -> list[Path]:
    return sorted((ROOT / room).rglob("*.py"))


ALL = [path for room in ROOMS for path in files(room)]


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@functools.cache
def nodes(path: Path) -> list[ast.AST]:
    return list(ast.walk(ast.parse(path.read_text("utf-8"))))


@functools.cache
def imports(path: Path) -> set[str]:
    """Dotted names of all that a file imports, wherever it does; `from a import b` gives a and a.b."""
    found: set[str] = set()
    for node in nodes(path):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{name_of(path)}: relative import; write the whole name"
            assert node.module is not None
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Call) and ast.unparse(node.func) in ("importlib.import_module", "__import__"):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant):
                found.add(str(first.value))
    return found


def uses(path: Path, package: str) -> bool:
    return any(name == package or name.startswith(f"{package}.") for name in imports(path))


@pytest.mark.parametrize("room", ROOMS)
def test_imports_point_left_only(room: str) -> None:
    right = ROOMS[ROOMS.index(room) + 1 :]
    wrong = [f"{name_of(path)} imports {other}" for path in files(room) for other in right if uses(path, other)]
    assert wrong == []


@pytest.mark.parametrize("package", DOORS)
def test_each_heavy_dependency_has_its_door_and_no_other(package: str) -> None:
    assert {name_of(path) for path in ALL if uses(path, package)} == set(DOORS[package])


def test_only_the_fetcher_goes_out_to_the_network() -> None:
    """An exception class of a client says what another package's client met; it is no way out."""
    users = {}
    for path in ALL:
        names = imports(path)
        ways = {
            name
            for name in names
            if any(name == package or name.startswith(f"{package}.") for package in NETWORK)
            and not name.endswith("Error")
            and not any(below.startswith(f"{name}.") and below.endswith("Error") for below in names)
        }
        ways |= {node.attr for node in nodes(path) if isinstance(node, ast.Attribute) and node.attr in WAYS_OUT}
        if ways:
            users[name_of(path)] = sorted(ways)
    assert set(users) == set(NETWORK_DOORS), users


def test_what_we_never_import() -> None:
    assert [f"{name_of(path)} imports {each}" for path in ALL for each in NEVER if uses(path, each)] == []


def test_the_four_packages_come_from_this_project() -> None:
    for room in ROOMS:
        spec = importlib.util.find_spec(room)
        assert spec is not None
        assert spec.origin == str(ROOT / room / "__init__.py")


@pytest.mark.parametrize("folder", [*ROOMS, "tests", "infra"])
def test_files_are_short_and_those_of_the_project_say_what_they_are_for(folder: str) -> None:
    for path in files(folder):
        if ".peers" in path.parts:
            continue
        text = path.read_text("utf-8")
        assert len(text.splitlines()) <= (MAX_LINES_OF_TESTS if folder == "tests" else MAX_LINES), name_of(path)
        assert path.stem not in ("utils", "util", "common", "helpers", "misc"), name_of(path)
        assert folder == "tests" or ast.get_docstring(ast.parse(text)), f"{name_of(path)} has no docstring"


def test_no_room_does_work_when_it_is_imported() -> None:
    """The command line needs no heavy package before it knows what to do."""
    heavy = ("torch", "ray", "mlflow", "deepspeed", "img2dataset", "pandas", "matplotlib", "sklearn")
    code = f"import sys, orchestration.cli; print([each for each in {heavy!r} if each in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_nothing_is_left_for_later() -> None:
    words = ("TO" + "DO", "FIX" + "ME", "XX" + "X")
    found = [
        f"{name_of(path)}:{number}"
        for path in [*ALL, *files("tests"), *(ROOT / "infra").glob("*/*")]
        if path.is_file()
        for number, line in enumerate(path.read_text("utf-8", "replace").splitlines(), 1)
        if any(word in line.split() or f"{word}:" in line for word in words)
    ]
    assert found == []
