"""DeepSpeed's async_io, which moves state to NVMe and back: built before it is needed, or one line that says what is missing.

DeepSpeed builds it on first use from 15 files of C++, 11 of which read torch's headers: some 350 s of processor time. On CPUs they
are read as five here, which takes 50.
"""

import contextlib
import fcntl
import functools
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigError

ALONE = "common"
"""The folder whose files name constants as others do, so that they cannot be read as one. They read no header of torch's."""


@functools.cache  # DeepSpeed asks the processor what it is each time, which takes seconds
def build(builder: Callable[[str], Any], on_cpu: bool) -> None:
    """Builds async_io once per machine and version, and loads it once per process. Raises ConfigError where that cannot be."""
    disk = builder("AsyncIOBuilder")
    if disk is None or not disk.is_compatible(verbose=False):
        raise ConfigError(
            "train.memory: offload to nvme needs DeepSpeed's async_io, which cannot be built on this machine: install g++ and"
            " libaio (apt-get install libaio-dev), or offload to cpu"
        )
    from torch.utils.cpp_extension import _get_build_directory

    # DeepSpeed needs ninja, which pip puts beside Python: on the PATH only where the environment is activated.
    if (beside := str(Path(sys.executable).parent)) not in os.environ.get("PATH", "").split(":"):
        os.environ["PATH"] = f"{os.environ.get('PATH', '')}:{beside}"
    for each in (builder("PinMemoryBuilder"), disk):  # the second looks for what the first brings
        place = Path(_get_build_directory(each.name, verbose=False))
        with _alone(place):
            if on_cpu:
                _in_few_files(each, place)
            try:
                each.load(verbose=False)
            except (RuntimeError, OSError, ImportError) as error:
                lines = str(error).strip().splitlines() or [type(error).__name__]
                said = next((line for line in lines if "error:" in line), lines[0])
                raise ConfigError(
                    f"train.memory: offload to nvme needs DeepSpeed's {each.name}, whose build in {place} fails ({said}); install"
                    " g++ and ninja, or offload to cpu"
                ) from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One rank of a machine at a time: the first builds, the others load what it built.

    Torch has a lock of its own, and waits for ever for the one of a build that was killed. Raises ConfigError there.
    """
    with open(folder / "openwit.lock", "w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        if (theirs := folder / "lock").exists():
            raise ConfigError(
                f"{theirs}: another program builds here, or was killed while it did; wait, or delete that file"
            )
        yield


def _in_few_files(builder: Any, place: Path) -> None:
    """Lets `builder` read its files as one, all that can be, and without debugging symbols."""
    files = [Path(os.path.abspath(builder.deepspeed_src_path(each))) for each in builder.sources()]
    alone = [each for each in files if each.parent.name == ALONE]
    joined = [each for each in files if each not in alone]
    headers = sorted({header for each in joined for header in each.parent.glob("*.h")})
    # Some headers have no guard against being read twice; a compiler that has seen `import` reads each once.
    lines = [f'#import "{each}"' for each in headers] + [f'#include "{each}"' for each in joined]
    together, text = place / "together.cpp", "\n".join([*lines, ""])
    if not together.exists() or together.read_text("utf-8") != text:
        together.write_text(text, "utf-8")
    words: Sequence[str] = builder.cxx_args()
    builder.sources = lambda: [str(each) for each in (together, *alone)]
    builder.cxx_args = lambda: [*words, "-g0"]
