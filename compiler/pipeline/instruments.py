"""Things that watch a pipeline run: timing, dumps and the lint; `runtime.verify`, which executes models, is another."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from ..errors import CompressError, Fault, Unavailable
from ..graph.io import Model, save, to_weightless
from ..lint import Finding, lint
from .base import Pass, PassRecord
from .context import Context

BIG = 2**20
"""Bytes of a weight whose numbers the rules are not shown."""


class Instrument:
    """Hooks around each pass. `should_run` of any instrument can veto a pass."""

    def should_run(self, position: int, entry: Pass, model: Model, ctx: Context) -> bool:
        return True

    def before(self, position: int, entry: Pass, model: Model, ctx: Context) -> None:
        """Called before the pass runs."""

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        """Called after the pass has run; may add to `record.figures` or raise."""

    def failed(self, failure: Failure, model: Model, ctx: Context) -> None:
        """Called when the pass, or a hook after it, has raised; model and context are those from before the pass."""


@dataclass
class Failure:
    """A pass that raised.

    Attributes:
        position: 1 for the first pass.
        pipeline: all passes.
        node: the node that the pass was at, where that is known.
        folder: where what is needed to repeat it was written; set by `compiler.pipeline.reproduction`.
    """

    position: int
    pipeline: Sequence[Pass]
    error: BaseException
    node: str | None = None
    folder: Path | None = None

    @property
    def entry(self) -> Pass:
        return self.pipeline[self.position - 1]

    @property
    def is_fault(self) -> bool:
        """Whether the pass is wrong, not what it was given."""
        given = CompressError | MemoryError | FloatingPointError
        return isinstance(self.error, Fault) or not isinstance(self.error, given)


class Timing(Instrument):
    """Seconds per pass, in `record.seconds`."""

    def before(self, position: int, entry: Pass, model: Model, ctx: Context) -> None:
        self._started = time.perf_counter()

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        record.seconds = time.perf_counter() - self._started


class Dump(Instrument):
    """The model after each pass, as `NNN-pass.onnx` in a folder."""

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        save(model, self.path(record.position, record.name))

    def path(self, position: int, name: str) -> Path:
        """The model file of a step."""
        return self._folder / f"{position:03d}-{name}.onnx"


class Lint(Instrument):
    """After the pass number `last`: the model breaks no rule of the target; see `compiler.lint`.

    Warnings become notes, one for each rule. The first error is raised, with the number of the others.
    """

    def __init__(self, last: int):
        self._last = last

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        if record.position != self._last:
            return
        plugins = [*ctx.options.plugin_operators, *ctx.state.declared_operators]
        findings = lint(to_weightless(model, BIG)[0], ctx.target, plugins=plugins)
        errors = [finding for finding in findings if finding.severity == "error"]
        if errors:
            others = f"; {len(errors) - 1} more such places" if len(errors) > 1 else ""
            first = errors[0]
            raise Unavailable(
                f"{ctx.target.name} cannot take it: {first.problem}{others}", f"node '{first.node}'", first.fix
            )
        warnings = [finding for finding in findings if finding.severity == "warning"]
        record.result.notes.extend(_noted(warnings))


def _noted(warnings: Sequence[Finding]) -> Iterator[str]:
    """A sentence for each rule: the first place, and how many more there are."""
    for _, (first, *others) in groupby(warnings, key=lambda finding: finding.rule):
        more = f"; so it is in {len(others)} more places" if others else ""
        yield f"{first.node}: {first.problem} ({first.fix}){more}"
