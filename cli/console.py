"""Where text goes: results to stdout, errors and progress to stderr; colour only on terminals, never with NO_COLOR."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from ..compiler.context import Advance, silent
from ..compiler.context import Progress as Reporter

PLAIN_WIDTH = 120
NOTE = TextColumn("{task.fields[note]}")


def results() -> Console:
    console = Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console.width = PLAIN_WIDTH
    return console


def errors() -> Console:
    return Console(stderr=True, highlight=False, markup=False, emoji=False)


@contextmanager
def progress_bars(quiet: bool) -> Generator[Reporter, None, None]:
    """A progress that draws a bar per stage while it lasts; on a terminal only."""
    console = errors()
    if quiet or not console.is_terminal:
        yield silent
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), NOTE)
    with Progress(*columns, console=console, transient=True) as display:

        @contextmanager
        def bar(name: str, total: int) -> Generator[Advance, None, None]:
            task = display.add_task(name, total=total, note="")

            def advance(note: str = "") -> None:
                display.update(task, advance=1, note=note)

            try:
                yield advance
            finally:
                display.remove_task(task)

        def report(stage: str, total: int) -> AbstractContextManager[Advance]:
            return bar(stage, total)

        yield report
