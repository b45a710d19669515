"""Progress as lines of text: one per stage that took longer than two seconds, and lines in between, every two seconds
at first, later as often as a stage has become a tenth longer.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager

from ..compiler.errors import UsageError
from ..compiler.pipeline.data import Advance, Progress, silent

WORTH_A_LINE = 2.0
"""Seconds."""
OFTEN = 0.1
"""Of the time that a stage has taken: what has to pass before the next line."""
STEPS = 200
"""Lines of one stage, at most; of a longer one every second step, or every third, ..."""


def chosen_progress(asked: Progress | bool | None) -> Progress:
    """The progress of a run from Python.

    Args:
        asked: one of the caller's; True: lines on stderr; False: nothing; None: lines in a notebook.

    Raises:
        UsageError: it is something else.
    """
    if callable(asked):
        return asked
    if asked is not None and not isinstance(asked, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise UsageError(f"is of type {type(asked).__name__}", "progress", "give True, False or a function")
    return plain_lines(_to_stderr) if asked or (asked is None and _in_notebook()) else silent


def _to_stderr(line: str) -> None:
    sys.stderr.write(line + "\n")


def _in_notebook() -> bool:
    """IPython's kernel has a shell of its own, which terminals have not."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return type(shell).__name__ == "ZMQInteractiveShell"


def plain_lines(
    write: Callable[[str], object], verbose: bool = False, clock: Callable[[], float] = time.perf_counter
) -> Progress:
    """`fitting: 55 of 55, 12.3 s`, as the module docstring says; `verbose`: for every layer, too."""

    def say(text: str, seconds: float, note: str) -> None:
        write(f"{text}, {seconds:.1f} s{f', {note}' if note else ''}")

    @contextmanager
    def lasting(name: str, total: int) -> Generator[Advance, None, None]:
        started, done, last, each = clock(), 0, "", 1 + total // STEPS
        said = started

        def advance(note: str = "") -> None:
            nonlocal done, last, said
            done, last, now = done + 1, note, clock()
            due = done < total and now - said > max(WORTH_A_LINE, OFTEN * (now - started))
            if (done % each == 0 or done == total) if verbose and note else due:
                said = now
                say(f"{name}: {done} of {max(done, total)}", now - started, note)

        try:
            yield advance
        finally:
            seconds = clock() - started
            if seconds > WORTH_A_LINE:
                say(f"{name}: {done} of {max(done, total)}", seconds, last)

    def report(stage: str, total: int) -> AbstractContextManager[Advance]:
        return lasting(stage, total)

    return report
