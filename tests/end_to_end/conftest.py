"""One whole run of recipe `smoke` on a real local Ray, shared by the tests of this folder."""

import time

import pytest
from runs import Ran, answer


@pytest.fixture(scope="session")
def smoke(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """`openwit run smoke` from nothing, undisturbed."""
    root = tmp_path_factory.mktemp("smoke") / "runs"
    started = time.monotonic()
    result = answer("run", "smoke", "--root", str(root), timeout=580)
    return Ran(root, result, time.monotonic() - started)
