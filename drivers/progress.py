"""Progress as lines of text: one per stage that took longer than two seconds, and lines in between; the first is due
two seconds after the program has begun to work.

A stage that goes on has one every two seconds at first, later as often as it has become a tenth longer. Where none goes
on a line says every two seconds, in runs of hours less often, at what the innermost is.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass

from ..compiler.errors import UsageError
from ..compiler.pipeline.progress import Advance, Progress, silent

WORTH_A_LINE = 2.0
"""Seconds."""
OFTEN = 0.1
"""Of the time that a stage has taken: what has to pass before the next line."""
PULSE = 0.5
"""Seconds."""
RARELY = 0.01
"""The same where no stage goes on: of the time that the outermost has taken."""
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
    write: Callable[[str], object],
    verbose: bool = False,
    clock: Callable[[], float] = time.perf_counter,
    pulse: float = PULSE,
) -> Progress:
    """`fitting: 55 of 55, 12.3 s`, as the module docstring says; `verbose`: for every layer, too.

    Args:
        pulse: seconds between two looks at whether a line is due while no stage goes on; 0: nobody looks.
    """
    return _Lines(write, verbose, clock, pulse)


@dataclass
class _Stage:
    name: str
    total: int
    started: float
    done: int = 0
    note: str = ""

    def line(self, now: float) -> str:
        note = f", {self.note}" if self.note else ""
        return f"{self.name}: {self.done} of {max(self.done, self.total)}, {now - self.started:.1f} s{note}"


class _Lines:
    """Stages, the innermost last. A thread speaks for it while stages are open and none of them goes on."""

    def __init__(self, write: Callable[[str], object], verbose: bool, clock: Callable[[], float], pulse: float):
        self._write, self._verbose, self._clock, self._pulse = write, verbose, clock, pulse
        self._open: list[_Stage] = []
        self._said = clock()
        self._ended = threading.Event()

    def __call__(self, stage: str, total: int) -> AbstractContextManager[Advance]:
        return self._lasting(stage, total)

    @contextmanager
    def _lasting(self, name: str, total: int) -> Generator[Advance, None, None]:
        stage = _Stage(name, total, self._clock())
        self._begin(stage)
        try:
            yield lambda note="": self._advance(stage, note)
        finally:
            self._end(stage)

    def _begin(self, stage: _Stage) -> None:
        self._open.append(stage)
        if len(self._open) > 1:
            return
        if self._pulse:
            self._ended = threading.Event()
            threading.Thread(target=self._watch, args=(self._ended,), daemon=True).start()

    def _end(self, stage: _Stage) -> None:
        self._open.remove(stage)
        if not self._open:
            self._ended.set()
        now = self._clock()
        if now - stage.started > WORTH_A_LINE:
            self._say(stage, now)

    def _advance(self, stage: _Stage, note: str) -> None:
        stage.done, stage.note, now = stage.done + 1, note, self._clock()
        each, last = 1 + stage.total // STEPS, stage.done == stage.total
        if (stage.done % each == 0 or last) if self._verbose and note else not last and self._is_due(stage, now):
            self._say(stage, now)

    def _watch(self, ended: threading.Event) -> None:
        """Until then, or until nobody reads: the run goes on without lines."""
        with suppress(OSError, ValueError):
            while not ended.wait(self._pulse):
                stages, now = self._open.copy(), self._clock()
                if stages and now - self._said > max(WORTH_A_LINE, RARELY * (now - stages[0].started)):
                    self._say(stages[-1], now)

    def _is_due(self, stage: _Stage, now: float) -> bool:
        return now - self._said > max(WORTH_A_LINE, OFTEN * (now - stage.started))

    def _say(self, stage: _Stage, now: float) -> None:
        self._said = now
        self._write(stage.line(now))
