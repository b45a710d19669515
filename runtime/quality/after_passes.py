"""How good the network is after every pass: on the samples that no fit has seen, all where none are held out, or by a
metric of the user's."""

from __future__ import annotations

from ...compiler.errors import CompressError
from ...compiler.graph.io import Model
from ...compiler.pipeline.base import Pass, PassRecord
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.instruments import Failure, Instrument
from .judge import Judge, SampleJudge, judge_of_run
from .verdict import Verdict, seen_samples, verdict_by


class JudgeAfterPasses(Instrument):
    """Adds the figure of the metric to the record of each pass that changes what the network computes.

    A pass that only exact ones follow is judged behind the last of these, once for both: what they leave is what is
    written.

    Args:
        at_once: each is judged as it ends, as records that are kept on disk have to be whole by then.

    Attributes:
        verdict: on the network as it is now, as long as no pass has changed it since it was judged; behind the last
            pass also on samples that fits have seen.
    """

    def __init__(self, at_once: bool = False) -> None:
        self._at_once = at_once
        self.verdict: Verdict | None = None
        self._judge: Judge | None = None
        self._exact = False
        self._waiting: PassRecord | None = None

    def before(self, position: int, entry: Pass, model: Model, ctx: Context) -> None:
        self._exact = entry.exact

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        if record.result.changed:
            self.verdict = None
            self._waiting = self._waiting if self._exact else record
        if self._at_once or not ctx.following or not all(entry.exact for entry in ctx.following):
            self._judge_waiting(model, ctx)

    def failed(self, failure: Failure, model: Model, ctx: Context) -> None:
        """The network is again what it was before the pass."""
        self.verdict = None
        self._waiting = self._waiting if failure.entry.exact else None
        if not failure.pipeline[failure.position :]:
            self._judge_waiting(model, ctx)

    def _judge_waiting(self, model: Model, ctx: Context) -> None:
        record, self._waiting = self._waiting, None
        if record is None or ctx.original is None:
            return
        try:
            self._judge = self._judge or judge_of_run(ctx.original, ctx)
            if self._judge is None:
                return
            if isinstance(self._judge, SampleJudge):
                seen = None if ctx.following else seen_samples(ctx)
                self.verdict = verdict_by(self._judge, ctx.original, model.graph, seen)
            found = self._judge.judge(model.graph) if self.verdict is None else self.verdict.judged
        except CompressError as error:
            if ctx.metric is not None:
                raise
            record.result.notes.append(f"the network is not judged: {error.what}")
            return
        record.figures[found.metric] = found.value
