"""How good the network is after every pass: on the samples that no fit has seen, all where none are held out, or by a
metric of the user's."""

from __future__ import annotations

from ...compiler.errors import CompressError
from ...compiler.graph.io import Model
from ...compiler.pipeline.base import Pass, PassRecord
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.instruments import Instrument
from .judge import Judge, judge_of_run


class JudgeAfterPasses(Instrument):
    """Adds the figure of the metric to the record of each pass that changes what the network computes."""

    def __init__(self) -> None:
        self._judge: Judge | None = None
        self._exact = False

    def before(self, position: int, entry: Pass, model: Model, ctx: Context) -> None:
        self._exact = entry.exact

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        if self._exact or not record.result.changed or ctx.original is None:
            return
        try:
            self._judge = self._judge or judge_of_run(ctx.original, ctx)
            if self._judge is None:
                return
            found = self._judge.judge(model.graph)
        except CompressError as error:
            if ctx.metric is not None:
                raise
            record.result.notes.append(f"the network is not judged: {error.what}")
            return
        record.figures[found.metric] = found.value
