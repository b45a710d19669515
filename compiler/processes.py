"""Other programs, and workers, that end with this process, however it ends.

A program leads a group of its own, which also holds whatever it starts. Beside it waits a shell, for a line or the end
of a pipe that this process holds open: where the pipe ends without a line, this process has been killed, and so is the
group. A line says that the program has ended, and what it left running may stay.

Workers that are Python look after their parent themselves (`end_with_parent`). Where there are no POSIX processes, both
do no more than `subprocess` does.
"""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

POSIX = os.name == "posix"
LOOK = 0.5
"""Seconds between two looks at the parent."""
PATIENCE = 2.0
"""Seconds that a program has to end when it is asked to."""
CAPTURED: Mapping[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
"""Options that keep what a program prints."""
WATCHER = 'read -r _ || kill -9 "-$0"'


def end_with_parent(parent: int) -> None:
    """Have this process end soon after the process with that id, which has started it."""

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(LOOK)
        os._exit(1)

    if POSIX:
        threading.Thread(target=watch, daemon=True, name="end with parent").start()


@contextmanager
def started(command: str | Sequence[str], **options: Any) -> Generator[subprocess.Popen[Any], None, None]:
    """A program that runs within the block; what of it still runs at the end is stopped.

    Args:
        options: of `subprocess.Popen`.

    Raises:
        OSError: it cannot be started.
    """
    with subprocess.Popen(command, start_new_session=POSIX, **options) as process, _watched(process.pid):
        try:
            yield process
        finally:
            if process.poll() is None:
                _stop(process)


def run(
    command: str | Sequence[str], *, input: str | None = None, limit: float | None = None, **options: Any
) -> subprocess.CompletedProcess[Any]:
    """Run a program to its end, as `subprocess.run` does.

    Raises:
        OSError: it cannot be started.
        subprocess.TimeoutExpired: it was stopped after `limit` seconds.
    """
    given: dict[str, Any] = {} if input is None else {"stdin": subprocess.PIPE}
    with started(command, **given, **options) as process:
        output, errors = process.communicate(input, limit)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


@contextmanager
def _watched(group: int) -> Generator[None, None, None]:
    """Kills the group if this process dies within the block."""
    if not POSIX:
        yield
        return
    quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
    with subprocess.Popen(["/bin/sh", "-c", WATCHER, str(group)], stdin=subprocess.PIPE, text=True, **quiet) as watcher:
        try:
            yield
        finally:
            with suppress(OSError):
                watcher.communicate("ended\n")


def _stop(process: subprocess.Popen[Any]) -> None:
    """The whole group, first by asking."""
    if not POSIX:
        process.kill()
        return
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGTERM)
    with suppress(subprocess.TimeoutExpired):
        process.wait(PATIENCE)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
