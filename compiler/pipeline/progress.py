"""What long stages report to. Nothing is imported for it, so that a command can show it before all else."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Protocol


class Advance(Protocol):
    """One step further; `note` is shown beside the bar (a loss, say)."""

    def __call__(self, note: str = "") -> None: ...


class Progress(Protocol):
    """Long stages report to it how far they are: `with progress("lockstep", 55) as advance: ... advance()`."""

    def __call__(self, stage: str, total: int) -> AbstractContextManager[Advance]: ...


def silent(stage: str, total: int) -> AbstractContextManager[Advance]:
    """The progress that shows nothing."""
    return nullcontext(_ignore)


def _ignore(note: str = "") -> None:
    pass
