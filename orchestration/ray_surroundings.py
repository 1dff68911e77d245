"""What surrounds a Ray of our own: its token, its environment, its folder, and the signals it would take over.

Nothing here imports ray; `orchestration.cluster` does.
"""

import fcntl
import functools
import os
import secrets
import shutil
import signal
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import ConfigError


@functools.cache
def own_token() -> str | None:
    """A token for the embedded clusters of this process, or None where the user has one (or wants none).

    Decided once, because Ray reads its token once per process and keeps it.
    """
    if given_token() is not None or os.environ.get("RAY_AUTH_MODE", "token") != "token":
        return None
    return secrets.token_hex(32)


def given_token() -> str | None:
    """The user's own token, from where Ray looks for it, in Ray's order."""
    if token := os.environ.get("RAY_AUTH_TOKEN", "").strip():
        return token
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    file = Path(path) if path else Path.home() / ".ray" / "auth_token"
    try:
        return file.read_text("utf-8").strip() or None
    except OSError as error:
        if path:
            raise ConfigError(f"RAY_AUTH_TOKEN_PATH={path}: cannot be read ({error.strerror}); correct it") from error
        return None


@contextmanager
def environment(added: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in {*added, "RAY_AUTH_MODE"}}
    os.environ.update(added)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def own_sigterm() -> Iterator[None]:
    """Ray's init puts its own SIGTERM handler in place of the command line's; put that back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def temporary_folder() -> Iterator[str]:
    """A folder for Ray's sockets and logs, below /tmp because a socket's path has at most 107 bytes.

    A process that was killed leaves its folder behind, without the lock that the living hold; those are swept here.
    """
    parent = Path("/tmp")
    for left in parent.glob("openwit-ray-*"):
        with _locked(left) as is_ours:
            if is_ours:
                shutil.rmtree(left, ignore_errors=True)
    folder = Path(tempfile.mkdtemp(prefix="openwit-ray-", dir=parent))
    with _locked(folder):
        try:
            yield str(folder / "ray")  # Ray opens its own folder to everyone; ours, above it, stays closed
        finally:
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:
        yield False
        return
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        os.close(descriptor)
