"""What every test may use."""

import signal
from pathlib import Path

import pytest

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # A shell's background job ignores Ctrl-C and so would every process that the tests start and stop with it.
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside a checkout; tests that read it are skipped where it is missing."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not (folder / "data").is_dir():
        pytest.skip("no ../shared/data beside this checkout")
    return folder


LONG = (
    "end_to_end/",
    "test_nvme",
    "test_cluster",
    "test_engine",
    "test_resume",
    "test_elastic",
    "test_ui",
    "test_launchers",
    "test_tracking",
)
"""Parts of the names of files that take long, the longest first."""


@pytest.hookimpl(tryfirst=True)  # xdist reads the groups in the same hook
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Two processes share the suite (`make test`), a file at a time, the long ones first, so that none waits for the other at
    the end; all tests that look at the finished smoke run go to the same process, which makes that run once."""
    items.sort(key=lambda item: next((place for place, name in enumerate(LONG) if name in item.nodeid), len(LONG)))
    for item in items:
        of_smoke = "smoke" in getattr(item, "fixturenames", ())
        item.add_marker(pytest.mark.xdist_group("smoke" if of_smoke else item.nodeid.partition("::")[0]))
