"""Where text goes: results to stdout, errors and progress to stderr; colour only on terminals, never with NO_COLOR.

Progress is a bar per stage on a terminal, and lines elsewhere (`drivers.progress`).
"""

from __future__ import annotations

import re
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.text import Text

from ..compiler.pipeline.progress import Advance, silent
from ..compiler.pipeline.progress import Progress as Reporter
from ..drivers.progress import plain_lines

PLAIN_WIDTH = 120
UNPRINTABLE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters but for tab and line feed, marks of direction, and halves of characters."""
STAGE, NOTE = (TextColumn(text, markup=False) for text in ("{task.description}", "{task.fields[note]}"))


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
        yield plain_lines(partial(console.print, soft_wrap=True), verbose)
    else:
        with _bars(console) as report:
            yield report


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
