"""The smallest network that is still good enough: a search over the share of MACs.

    agreement       loss = share of samples, or of their pixels, for which original and trial choose different classes
    accuracy-drop   loss = top-1 of the original - top-1 of the trial, on labelled samples
    error           loss = error of the outputs, each channel relative to its variance (`quality.comparison`)

The samples are split in halves: a trial is fitted on one and judged on the other, which no fit or error curve has seen.
The final network is fitted on all of them. Between a share that fails and one that passes the next trial is placed by
interpolating log(loss), which falls about linearly with the share; the search ends when the loss is within `NEAR` of
what is allowed, the shares are `CLOSE`, or after `TRIALS`.

Judging on n samples has an error: `bound` is what the loss is at most, with 95 % confidence.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import log

import onnx_graphsurgeon as gs

from ...compiler.errors import CompressError
from ...compiler.graph.copies import copy_graph
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...compiler.pipeline.traces import Trial, Trials
from ...runtime.quality.judge import AUTO, Judge, SampleJudge, judge_of_run
from ...runtime.subsets import halves
from .budget import DEFAULT_AGREEMENT, DEFAULT_DROP, DEFAULT_ERROR, Budget, BudgetUnreachable

TRIALS = 6
FIRST = 0.6
NEAR, CLOSE = 0.003, 0.015
FEWEST = 24
ENOUGH = 64
"""Samples of which, once some are held out from all fits, both halves of the others have `FEWEST`."""
METRICS = {"agreement": AUTO, "accuracy_drop": "accuracy", "error": "error"}
DEFAULTS: Mapping[str, tuple[str, float]] = {
    "agreement": ("agreement", DEFAULT_AGREEMENT),
    "accuracy": ("accuracy_drop", DEFAULT_DROP),
    "error": ("error", DEFAULT_ERROR),
}
"""By the metric of the run: the rule that is searched by, and its value."""
ALLOWED: Mapping[str, Callable[[float], float]] = {
    "agreement": lambda value: 1 - value,
    "accuracy_drop": lambda value: value / 100,
    "error": lambda value: value,
}
SHOWN: Mapping[str, Callable[[float], float]] = {**ALLOWED, "accuracy_drop": lambda loss: 100 * loss}


@dataclass(frozen=True)
class TrialOutcome:
    """A trial: its share of MACs, its loss, and what the loss is at most (95 %)."""

    macs: float
    loss: float
    bound: float


@dataclass(frozen=True, eq=False)
class BudgetSearch:
    """What is judged, on which samples.

    Attributes:
        rule: "agreement", "accuracy_drop" or "error".
        allowed: the largest loss.
        fitting: samples that trials are fitted on.
        judge: beside the original, on others.
    """

    rule: str
    allowed: float
    fitting: Data
    judge: Judge

    @staticmethod
    def of(budget: Budget, ctx: Context, graph: gs.Graph) -> BudgetSearch:
        """`CompressError` where there is not enough to judge by; `graph`: the original where the context has none."""
        option = budget.rule.replace("_", "-")
        if ctx.data is None:
            raise CompressError(f"{option} needs data", "budget", "give --data, or a budget such as macs=0.5")
        fitting, judging = halves(ctx.data)
        if judging.samples < FEWEST:
            raise CompressError("there are too few samples to split", option, f"give at least {ENOUGH}")
        if budget.rule == "accuracy_drop" and ctx.data.labels is None:
            raise CompressError(f"{option} needs labelled data", option, "give --labels, or use agreement=0.97")
        judge = SampleJudge.of(ctx.original or graph, judging, METRICS[budget.rule])
        if budget.rule == "agreement" and judge.metric == "error":
            raise CompressError(
                "the outputs hold no class scores", option, "give error=0.1, or macs=, params=, latency="
            )
        return BudgetSearch(budget.rule, ALLOWED[budget.rule](budget.value), fitting, judge)

    @staticmethod
    def default(ctx: Context, graph: gs.Graph) -> Budget | None:
        """What is searched for where nothing is asked for, by the metric of the run; None where samples are too few."""
        if ctx.data is None or halves(ctx.data)[1].samples < FEWEST:
            return None
        judge = judge_of_run(ctx.original or graph, ctx, ctx.data)
        rule, value = DEFAULTS.get("" if judge is None else judge.metric, DEFAULTS["agreement"])
        return Budget(rule=rule, value=value)

    @property
    def samples(self) -> int:
        """That are judged on."""
        return self.judge.samples or 0

    def judged(self, macs: float, trial: gs.Graph) -> TrialOutcome:
        found = self.judge.judge(trial)
        return TrialOutcome(macs, found.loss, found.bound)

    def within(self, judged: TrialOutcome) -> bool:
        return judged.loss <= self.allowed + 1e-9


def search_smallest(
    graph: gs.Graph, ctx: Context, search: BudgetSearch, attempt: Callable[[gs.Graph, float, Data], None]
) -> SearchOutcome:
    """Searches; `attempt` rewrites a copy of `graph` to a share of MACs, fitted on given samples."""
    failed, passed = TrialOutcome(0.0, 1.0, 1.0), TrialOutcome(1.0, 0.5 / search.samples, 1.0)
    trials: list[TrialOutcome] = []
    with ctx.progress(f"budget search, at most {TRIALS} trials", TRIALS) as advance:
        while len(trials) < TRIALS and passed.macs - failed.macs > CLOSE:
            macs = _between(failed, passed, search.allowed) if trials else FIRST
            judged = _tried(graph, macs, search, attempt)
            trials.append(judged)
            advance()
            failed, passed = (failed, judged) if search.within(judged) else (judged, passed)
            if search.within(judged) and search.allowed - judged.loss <= NEAR:
                break
    return SearchOutcome(search, trials, passed if passed in trials else None)


@dataclass(frozen=True, eq=False)
class SearchOutcome:
    """The trials, and the smallest one that passed, or None."""

    search: BudgetSearch
    trials: list[TrialOutcome]
    best: TrialOutcome | None

    def note(self) -> str:
        """The outcome in a sentence."""
        wanted = self._figure(self.search.allowed)
        held = f"{self.search.samples} held-out samples"
        if self.best is None:
            return f"{wanted} cannot be reached: {self._nearest()}; every layer is left as it is"
        side = "at least" if self.search.rule == "agreement" else "at most"
        return (
            f"{wanted}: macs={self.best.macs:.3f} by {len(self.trials)} trials, judged on {held}: "
            f"{self._figure(self.best.loss)}, {side} {self._figure(self.best.bound).split('=')[1]} with 95 % confidence"
        )

    def unreachable(self) -> BudgetUnreachable:
        """The error where nothing passed."""
        return BudgetUnreachable(f"{self._figure(self.search.allowed)} cannot be reached", "budget", self._nearest())

    def metrics(self) -> dict[str, float]:
        found = {"trials": float(len(self.trials)), "held_out": float(self.search.samples)}
        if self.best is None:
            return found
        loss, bound = (self._value(value) for value in (self.best.loss, self.best.bound))
        return {**found, self.search.rule: loss, f"{self.search.rule}_bound": bound}

    def trace(self) -> Trials:
        """The trials, for the report."""
        tried = [
            Trial(each.macs, self._value(each.loss), self._value(each.bound), self.search.within(each))
            for each in self.trials
        ]
        return Trials(self.search.rule, self._value(self.search.allowed), tuple(tried))

    def _nearest(self) -> str:
        nearest = min(self.trials, key=lambda judged: (judged.loss, judged.macs))
        held = f"{self.search.samples} held-out samples"
        figure = f"{self._figure(nearest.loss)} with macs={nearest.macs:.3f} ({held})"
        return f"the nearest of {len(self.trials)} trials is {figure}"

    def _value(self, loss: float) -> float:
        return SHOWN[self.search.rule](loss)

    def _figure(self, loss: float) -> str:
        return f"{self.search.rule.replace('_', '-')}={self._value(loss):.4g}"


def _tried(
    graph: gs.Graph, macs: float, search: BudgetSearch, attempt: Callable[[gs.Graph, float, Data], None]
) -> TrialOutcome:
    trial = copy_graph(graph)
    try:
        attempt(trial, macs, search.fitting)
    except BudgetUnreachable:
        return TrialOutcome(macs, 1.0, 1.0)
    return search.judged(macs, trial)


def _between(failed: TrialOutcome, passed: TrialOutcome, allowed: float) -> float:
    """Where log(loss), linear between the two, is what is allowed; not too near to either."""
    high, low = log(max(failed.loss, 1e-4)), log(max(passed.loss, 1e-4))
    share = (high - log(max(allowed, 1e-4))) / max(high - low, 1e-9)
    width = passed.macs - failed.macs
    return failed.macs + width * min(max(share, 0.15), 0.85)
