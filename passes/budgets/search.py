"""The smallest network that is still good enough: a search over the share of MACs, or of the time (`Budget.cost`).

    agreement       loss = share of samples, or of their pixels, for which original and trial choose different classes
    accuracy-drop   loss = top-1 of the original - top-1 of the trial, on labelled samples
    error           loss = error of the outputs, each channel relative to its variance (`quality.distances`)
    metric-drop     loss = what the user's own metric (`quality.own_metric`) loses, in its units; it may be negative

The samples are split in halves: a trial is fitted on one and judged on the other, which no fit or error curve has seen.
The final network is fitted on all of them. The user's own metric has samples of its own: trials are fitted on all of
the data, and the final network is the last of them that passed, which needs no further call.

Between a share that fails and one that passes the next trial is placed by interpolating log(loss), which falls about
linearly with the share; the search ends when the loss is within `NEAR` of what is allowed, the shares are `CLOSE`, or
after `TRIALS`. Where a result has to be worth something, the first trial saves just that, and the search ends where it
fails. Losses are relative to `BudgetSearch.unit`: 1 where they are shares, of the user's own metric the value
of the original.

Of several outputs the mean is held to what is allowed, and the worst to `WORST` times as much
(`quality.comparison`).

Judging on n samples has an error: `bound` is what the loss is at most, with 95 % confidence. That of the user's own
metric is not known: the search stays below what is allowed by the standard error that a share of as many samples has.
mAP50 of a YOLOX on 128 pictures, 2.9 of 50.6 lost: 1.04 by that, 1.28 by a bootstrap over pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf, log, sqrt
from time import perf_counter

import onnx_graphsurgeon as gs

from ...compiler.errors import CompressError, UsageError
from ...compiler.graph.copies import copy_graph
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...compiler.pipeline.traces import COSTS, Trial, Trials
from ...compiler.report.formatting import counted
from ...runtime.quality.comparison import WORST, Judged
from ...runtime.quality.judge import AUTO, Judge, OwnJudge, SampleJudge, judge_of_run
from ...runtime.subsets import halves
from .budget import DEFAULT_AGREEMENT, DEFAULT_DROP, DEFAULT_ERROR, SEARCHED, Budget, BudgetUnreachable

TRIALS = 6
FIRST = 0.6
NEAR, CLOSE = 0.003, 0.015
WORTH = 0.05
"""What the default has to save: its bound allows losses, and the estimate of a time may be wrong by as much."""
ASSUMED = 100
"""Samples of the user's own metric, whose number is not known."""
FEWEST = 24
ENOUGH = 64
"""Samples of which, once some are held out from all fits, both halves of the others have `FEWEST`."""
Attempt = Callable[[gs.Graph, float, Data | None], float]
METRICS = {"agreement": AUTO, "accuracy_drop": "accuracy", "error": "error"}
DEFAULTS: Mapping[str, tuple[str, float]] = {
    "agreement": ("agreement", DEFAULT_AGREEMENT),
    "pixels": ("agreement", DEFAULT_AGREEMENT),
    "accuracy": ("accuracy_drop", DEFAULT_DROP),
    "error": ("error", DEFAULT_ERROR),
}
"""By the metric of the run: the rule that is searched by, and its value. Of the user's own metric as large a share may
be lost as of the agreement."""
ALLOWED: Mapping[str, Callable[[float], float]] = {
    "agreement": lambda value: 1 - value,
    "accuracy_drop": lambda value: value / 100,
    "error": lambda value: value,
    "metric_drop": lambda value: value,
}
SHOWN: Mapping[str, Callable[[float], float]] = {**ALLOWED, "accuracy_drop": lambda loss: 100 * loss}
OWN = "metric-drop is in the units of a metric of your own"


def worth(budget: Budget) -> float:
    """The share of its cost that rewrites have to be able to save before anything is fitted: no search for time ends
    nearer to what there is."""
    return max(budget.worth, CLOSE) if budget.rule in SEARCHED and budget.cost == "latency" else budget.worth


@dataclass(frozen=True)
class TrialOutcome:
    """A trial.

    Attributes:
        share: of the cost.
        loss, bound: what it loses, and at most (95 %).
        macs: its share of the MACs.
        worst: more than `loss` where one output loses too much beside the others: what the budget holds then.
    """

    share: float
    loss: float
    bound: float
    macs: float
    worst: float = -inf

    @property
    def held(self) -> float:
        return max(self.loss, self.worst)


@dataclass(frozen=True, eq=False)
class BudgetSearch:
    """What is judged, on which samples.

    Attributes:
        rule: one of `SEARCHED`.
        allowed: the largest loss.
        fitting: samples that trials are fitted on.
        judge: beside the original, on others.
        unit: a loss that leaves nothing.
        cost, worth: see `Budget`.
        margin: so far below the largest loss is sought.
    """

    rule: str
    allowed: float
    fitting: Data | None
    judge: Judge
    unit: float = 1.0
    cost: str = "macs"
    worth: float = 0.0
    margin: float = 0.0

    @staticmethod
    def of(budget: Budget, ctx: Context, graph: gs.Graph, apart: Data | None = None) -> BudgetSearch:
        """Judged on half of the data, or on samples that are kept `apart`.

        `CompressError` where there is not enough to judge by; `graph`: the original where the context has none.
        """
        if budget.rule == "metric_drop" and ctx.options.metric == "accuracy":
            budget = replace(budget, rule="accuracy_drop")
        if budget.rule == "metric_drop":
            return BudgetSearch._of_own(budget, ctx, graph)
        option = budget.rule.replace("_", "-")
        if ctx.data is None:
            raise CompressError(f"{option} needs data", "budget", "give --data, or a budget such as macs=0.5")
        fitting, judging = halves(ctx.data) if apart is None else (ctx.data, apart)
        if judging.samples < FEWEST and apart is None:
            raise CompressError("there are too few samples to split", option, f"give at least {ENOUGH}")
        if budget.rule == "accuracy_drop" and ctx.data.labels is None:
            raise CompressError(f"{option} needs labelled data", option, "give --labels, or use agreement=0.97")
        judge = SampleJudge.of(ctx.original or graph, judging, METRICS[budget.rule])
        if budget.rule == "agreement" and judge.metric == "error":
            raise CompressError(
                "the outputs hold no class scores", option, "give error=0.1, or macs=, params=, latency="
            )
        allowed = ALLOWED[budget.rule](budget.value)
        return BudgetSearch(budget.rule, allowed, fitting, judge, 1.0, budget.cost, budget.worth)

    @staticmethod
    def _of_own(budget: Budget, ctx: Context, graph: gs.Graph) -> BudgetSearch:
        judge = judge_of_run(ctx.original or graph, ctx)
        if not isinstance(judge, OwnJudge):
            rule, value = DEFAULTS["agreement" if judge is None else judge.metric]
            fix = f"--metric FILE.py:FUNCTION, or {Budget(rule=rule, value=value)}"
            raise UsageError(OWN, str(budget), fix)
        allowed, original = budget.value, judge.original
        if allowed >= original > 0:
            what = f"{judge.metric} of the original is {original:.4g}, and nothing would be left"
            raise UsageError(what, str(budget), f"give it in the same units: metric-drop={original / 50:.2g}")
        unit = max(abs(original), 2 * allowed) or 1.0
        margin = unit * _margin(allowed / unit, judge.own.samples)
        return BudgetSearch("metric_drop", allowed, ctx.data, judge, unit, budget.cost, budget.worth, margin)

    @staticmethod
    def default(ctx: Context, graph: gs.Graph) -> Budget | None:
        """What is searched for where nothing is asked for, by the metric of the run; None where samples are too few."""
        judge = judge_of_run(ctx.original or graph, ctx, ctx.data)
        if isinstance(judge, OwnJudge):
            return Budget(rule="metric_drop", value=(1 - DEFAULT_AGREEMENT) * abs(judge.original), worth=WORTH)
        if judge is None or ctx.data is None or halves(ctx.data)[1].samples < FEWEST:
            return None
        rule, value = DEFAULTS[judge.metric]
        return Budget(rule=rule, value=value, worth=WORTH)

    @property
    def samples(self) -> int:
        """That are judged on; 0 where the metric has its own."""
        return self.judge.samples or 0

    def rows(self, every: int) -> int:
        """Input rows that a layer of a trial is fitted on, of `every` in the final network."""
        return every if isinstance(self.judge, OwnJudge) else every // 2

    @property
    def least(self) -> float:
        """A loss of 0 on these samples may be as much, as a share of `unit`."""
        return 0.5 / (self.samples or ASSUMED)

    def judged(self, share: float, macs: float, trial: gs.Graph) -> TrialOutcome:
        found = self.judge.judge(trial)
        return TrialOutcome(share, found.loss, found.bound, macs, found.held)

    @property
    def sought(self) -> float:
        """The largest loss of a trial that passes."""
        return self.allowed - self.margin

    def within(self, judged: TrialOutcome) -> bool:
        return judged.held <= self.sought + 1e-9 * self.unit

    def allows(self, judged: Judged) -> bool:
        """With no margin kept."""
        return judged.held <= self.allowed + 1e-9 * self.unit

    def value(self, loss: float) -> float:
        """A loss in the terms of the budget."""
        return SHOWN[self.rule](loss)

    def figure(self, loss: float) -> str:
        """A loss as a budget is spelled."""
        return f"{self.rule.replace('_', '-')}={self.value(loss):.4g}"

    def how(self) -> str:
        """Judged on what, in words."""
        if isinstance(self.judge, OwnJudge):
            return f"by {self.judge.metric}, {self.judge.original:.4g} of the original"
        return f"on {self.samples} held-out samples"


def search_smallest(
    graph: gs.Graph, ctx: Context, search: BudgetSearch, attempt: Attempt, least: float = 0.0
) -> SearchOutcome:
    """Searches; `attempt` rewrites a copy of `graph` to a share of the cost, fitted on given samples, and returns the
    share of the MACs that is left; `least`: the smallest share of the cost that there is."""
    unit = search.unit
    failed, passed = TrialOutcome(least, unit, unit, 0.0), TrialOutcome(1.0, unit * search.least, unit, 1.0)
    trials: list[TrialOutcome] = []
    started = perf_counter()
    with ctx.progress(f"budget search, at most {TRIALS} trials", TRIALS) as advance:
        while len(trials) < TRIALS and passed.share - failed.share > CLOSE and failed.share < 1 - search.worth:
            share = _next(failed, passed, trials, search)
            with ctx.progress(_stage(len(trials), perf_counter() - started), 1) as judge:
                judged = _tried(graph, share, search, attempt)
                judge(f"{search.cost}={share:.3f}")
            trials.append(judged)
            advance()
            failed, passed = (failed, judged) if search.within(judged) else (judged, passed)
            if search.within(judged) and search.sought - judged.held <= NEAR * unit:
                break
    bare = (each for each in trials if each.held <= search.allowed)
    return SearchOutcome(search, trials, passed if passed in trials else min(bare, key=_share, default=None))


@dataclass(frozen=True, eq=False)
class SearchOutcome:
    """The trials, and the smallest one that passed, or None."""

    search: BudgetSearch
    trials: list[TrialOutcome]
    best: TrialOutcome | None

    def note(self) -> str:
        """The outcome in a sentence."""
        wanted = self.search.figure(self.search.allowed)
        if not self.trials:
            least = max(self.search.worth, CLOSE)
            what = f"all that could go saves less than {100 * least:g}% of the {COSTS[self.search.cost]}"
            return f"{what}: every layer is left as it is"
        if self.best is None:
            return f"{wanted} cannot be reached: {self._nearest()}; every layer is left as it is"
        share = f"{self.search.cost}={self.best.share:.3f}"
        tried = f"{wanted}: {share} by {counted(len(self.trials), 'trial')}, judged {self.search.how()}"
        found = f"{tried}: {self.search.figure(self.best.loss)}{_worst(self.best)}"
        if not self.search.samples:
            return f"{found}{self._margin()}"
        side = "at least" if self.search.rule == "agreement" else "at most"
        return f"{found}, {side} {self.search.figure(self.best.bound).split('=')[1]} with 95 % confidence"

    def unreachable(self) -> BudgetUnreachable:
        """The error where nothing passed."""
        return BudgetUnreachable(
            f"{self.search.figure(self.search.allowed)} cannot be reached", "budget", self._nearest()
        )

    def metrics(self) -> dict[str, float]:
        found, rule = {"trials": float(len(self.trials))}, self.search.rule
        if self.best is not None:
            found[rule] = self.search.value(self.best.loss)
        if not self.search.samples:
            return found
        found["held_out"] = float(self.search.samples)
        return found if self.best is None else {**found, f"{rule}_bound": self.search.value(self.best.bound)}

    def trace(self) -> Trials:
        """The trials, for the report."""
        search = self.search
        tried = [
            Trial(each.macs, search.value(each.loss), search.value(each.bound), search.within(each), each.share)
            for each in self.trials
        ]
        return Trials(search.rule, search.value(search.sought), tuple(tried), search.cost)

    def _margin(self) -> str:
        """What was kept for the error of the user's own metric."""
        if not self.search.margin or self.best is None:
            return ""
        if not self.search.within(self.best):
            return "; no margin is left for the error of that figure"
        return f"; {self.search.margin:.2g} was kept for the error of that figure"

    def _nearest(self) -> str:
        nearest = min(self.trials, key=lambda judged: (judged.held, judged.share))
        figure = f"{self.search.figure(nearest.held)} with {self.search.cost}={nearest.share:.3f}"
        how = self.search.how().removeprefix("on ")
        return f"the nearest of {len(self.trials)} trials is {figure} ({how})"


def _share(trial: TrialOutcome) -> float:
    return trial.share


def _margin(allowed: float, samples: int) -> float:
    """One standard error of the share of so many samples that may be lost at most, so that both are what is allowed:
    t + sqrt(t (1 - t) / n) = allowed. It stands for that of the user's own metric, which is not known."""
    if not samples:
        return 0.0
    error = sqrt((1 - allowed) / samples)
    return allowed - ((sqrt(error**2 + 4 * allowed) - error) / 2) ** 2


def _worst(trial: TrialOutcome) -> str:
    """Where an output loses more than the mean would let it."""
    return f" (its worst output: {WORST * trial.worst:.3g})" if trial.worst > trial.loss else ""


def _tried(graph: gs.Graph, share: float, search: BudgetSearch, attempt: Attempt) -> TrialOutcome:
    trial = copy_graph(graph)
    try:
        macs = attempt(trial, share, search.fitting)
    except BudgetUnreachable:
        return TrialOutcome(share, search.unit, search.unit, share)
    return search.judged(share, macs, trial)


def _next(failed: TrialOutcome, passed: TrialOutcome, trials: Sequence[TrialOutcome], search: BudgetSearch) -> float:
    """Where log(loss), linear between the two, is what is allowed; not too near to either. Half-way after two trials on
    the same side, as a line that fits badly comes nearer from that side only."""
    if not trials:
        return 1 - search.worth if search.worth else failed.share + FIRST * (passed.share - failed.share)
    width = passed.share - failed.share
    if len({search.within(each) for each in trials[-2:]}) < len(trials[-2:]):
        return failed.share + width / 2
    least = search.least
    high, low, allowed = (log(max(loss / search.unit, least)) for loss in (failed.held, passed.held, search.sought))
    share = (high - allowed) / max(high - low, 1e-9)
    return failed.share + width * min(max(share, 0.15), 0.85)


def _stage(done: int, seconds: float) -> str:
    """Which trial begins, and how long all that may come will take."""
    name = f"trial {done + 1} of at most {TRIALS}"
    if not done:
        return name
    left = seconds / done * (TRIALS - done)
    return f"{name}, about {left:.0f} s left" if left < 90 else f"{name}, about {left / 60:.0f} min left"
