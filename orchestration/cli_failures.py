"""How a command that fails ends: one line on stderr and an exit code."""

import errno
import os
import select
import sys
import traceback

import click


def fail(message: str, code: int) -> int:
    """Print one line on stderr, whatever the message holds, and return the exit code."""
    line = " ".join(message.split())
    print("openwit: " + "".join(c if c.isprintable() else "?" for c in line), file=sys.stderr, flush=True)
    return code


def wrong_command_line(error: click.ClickException) -> int:
    context = getattr(error, "ctx", None)
    path = context.command_path if context else "openwit"
    message = error.format_message().rstrip(".")
    return fail(f"{message}; see {path} --help", 2)


def failed(error: Exception, debug: bool) -> int:
    from pipeline.errors import UserError

    if isinstance(error, BrokenPipeError) and _stdout_is_gone():
        return 141
    if debug:
        traceback.print_exception(error)
    if isinstance(error, UserError):
        return fail(str(error), 2)
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return fail(f"{error.filename or 'a file'}: the disk is full; free space or choose another --root", 2)
    what = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
    return fail(f"{what[:300]} (this is a bug; run again with --debug and report it)", 1)


def _stdout_is_gone() -> bool:
    """Whether it is our stdout that nobody reads any more, as in `openwit tasks | head -1`, and not a worker's pipe."""
    poll = select.poll()
    poll.register(1, 0)
    if not any(events & select.POLLERR for _, events in poll.poll(0)):
        return False
    # Python flushes once more at exit; let that go nowhere.
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    return True
