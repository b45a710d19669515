"""Signals that ask the program to end: all of them end it as Ctrl-C does, so that nothing is left behind."""

from __future__ import annotations

import signal
import threading
from collections.abc import Generator
from contextlib import contextmanager
from types import FrameType

NAMES = ("SIGTERM", "SIGHUP")
ENDED = 128
"""A shell's exit code for a program that a signal has ended, beside the signal's number."""


class Signals:
    """What came; see `interrupting`."""

    def __init__(self) -> None:
        self.number = int(signal.SIGINT)

    @property
    def exit_code(self) -> int:
        return ENDED + self.number

    def interrupt(self, number: int, _: FrameType | None) -> None:
        """A handler; a second signal of that kind ends the process at once."""
        self.number = number
        signal.signal(number, signal.SIG_DFL)
        raise KeyboardInterrupt


@contextmanager
def interrupting() -> Generator[Signals, None, None]:
    """SIGTERM and SIGHUP raise KeyboardInterrupt within the block, unless they are ignored, as under `nohup`."""
    found, before = Signals(), {}
    wanted = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
    if threading.current_thread() is threading.main_thread():
        before = {number: signal.getsignal(number) for number in wanted if signal.getsignal(number) is signal.SIG_DFL}
    for number in before:
        signal.signal(number, found.interrupt)
    try:
        yield found
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
