"""Where text goes: results to stdout, errors and progress to stderr; colour only on terminals, never with NO_COLOR.

Progress is a bar per stage on a terminal. Elsewhere it is a line per stage that took longer than two seconds, and lines
in between: every two seconds at first, later as often as a stage has become a tenth longer.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..compiler.pipeline.data import Advance, silent
from ..compiler.pipeline.data import Progress as Reporter

PLAIN_WIDTH = 120
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but for tab and line feed, marks of direction, and halves of characters."""
STAGE, NOTE = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[note]}"))
WORTH_A_LINE = 2.0
"""Seconds."""
OFTEN = 0.1
"""Of the time that a stage has taken: what has to pass before the next line."""
STEPS = 200
"""Lines of one stage, at most; of a longer one every second step, or every third, ..."""


def printable(text: str) -> str:
    """With escapes in the place of characters that a terminal obeys: names come from files of strangers."""
    return UNPRINTABLE.sub(lambda found: found[0].encode("unicode_escape", "surrogatepass").decode("ascii"), text)


class PlainConsole(Console):
    """Shows text as it is; names in it can neither style it nor steer the terminal."""

    def render_str(self, text: str, **options: Any) -> Text:
        return super().render_str(printable(text), **options)


def results() -> Console:
    console = PlainConsole(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def errors() -> Console:
    return PlainConsole(stderr=True, highlight=False, markup=False, emoji=False)


@contextmanager
def progress_bars(quiet: bool, verbose: bool = False) -> Generator[Reporter, None, None]:
    """A `Progress` that shows bars, lines, or nothing where `quiet`; `verbose`: a line per layer, too."""
    console = errors()
    if quiet:
        yield silent
    elif verbose or not console.is_terminal:
        yield plain_lines(console, verbose)
    else:
        with _bars(console) as report:
            yield report


def plain_lines(console: Console, verbose: bool = False, clock: Callable[[], float] = time.perf_counter) -> Reporter:
    """`fitting: 55 of 55, 12.3 s`, as the module docstring says; `verbose`: for every layer, too."""

    def say(text: str, seconds: float, note: str) -> None:
        console.print(f"{text}, {seconds:.1f} s{f', {note}' if note else ''}", soft_wrap=True)

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


@contextmanager
def _bars(console: Console) -> Generator[Reporter, None, None]:
    """A bar per stage while it lasts."""
    columns = (STAGE, BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), NOTE)
    with Progress(*columns, console=console, transient=True) as display:

        @contextmanager
        def bar(name: str, total: int) -> Generator[Advance, None, None]:
            task = display.add_task(printable(name), total=total, note="")

            def advance(note: str = "") -> None:
                display.update(task, advance=1, note=printable(note))

            try:
                yield advance
            finally:
                display.remove_task(task)

        def report(stage: str, total: int) -> AbstractContextManager[Advance]:
            return bar(stage, total)

        yield report
