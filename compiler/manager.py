"""Runs passes in order, with instruments around each."""

from __future__ import annotations

from collections.abc import Sequence

from .base import Pass, PassRecord
from .context import Context
from .errors import CompressError
from .graph.io import Model
from .instruments import Instrument


class PassManager:
    """A pipeline. `run` edits the model's graph in place and returns a record per pass.

    Instruments nest around a pass: the first is the innermost, so `before` is called from the last to the first.
    """

    def __init__(self, passes: Sequence[Pass], instruments: Sequence[Instrument] = ()):
        self.passes = list(passes)
        self.instruments = list(instruments)

    def run(self, model: Model, ctx: Context) -> list[PassRecord]:
        ctx.original = ctx.original or model.graph.copy()
        records: list[PassRecord] = []
        for position, entry in enumerate(self.passes, 1):
            if all(instrument.should_run(position, entry, model, ctx) for instrument in self.instruments):
                records.append(self._step(position, entry, model, ctx))
        return records

    def _step(self, position: int, entry: Pass, model: Model, ctx: Context) -> PassRecord:
        for instrument in reversed(self.instruments):
            instrument.before(position, entry, model, ctx)
        try:
            result = entry.run(model.graph, ctx)
        except CompressError:
            raise
        except Exception as error:
            raise CompressError(
                f"pass {position} '{entry.name}' failed: {error!r}", "pipeline", "please report it"
            ) from error
        if result.changed:
            ctx.invalidate(result.preserves)
        record = PassRecord(position, entry.name, str(entry), result)
        for instrument in self.instruments:
            instrument.after(record, model, ctx)
        return record
