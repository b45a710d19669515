"""The changes (`gaps`) in the order in which they are made: greedily, those that lose least for what they save.

    score = (loss with the change - loss before) / what it saves of that which is still to be saved

A loss that was measured before other changes were made is a guess. Those with the best scores are measured again, a few
at a time, until none of the guesses is better than the best of them: losses mostly grow while blocks go, and a guess
that is too low is found out (Minoux, 1978). Changes are looked for anew after each step.

What a change saves hangs on its own nodes: it is counted once for each, and again of the one that is made.

The last change may overshoot a limit by much. Then what is found is compared with the best that one change fewer does:
the same, with only those made that leave enough for the others to save (`most`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import onnx_graphsurgeon as gs

from .gaps import Change, Gaps
from .losses import LossMeter, Trial

AT_ONCE = 3
LEAST = 1e-12
UNKNOWN = -1.0


@dataclass(frozen=True, eq=False)
class Step:
    """A change that is made.

    Attributes:
        loss: of the outputs, with it and those before it made.
        saved: by cost, the share of the original's that went with it.
        shares: by cost, what is left then.
        gaps: the network then.
    """

    change: Change
    loss: float
    saved: Mapping[str, float]
    shares: Mapping[str, float]
    gaps: Gaps


@dataclass(frozen=True, eq=False)
class Savings:
    """What counts as saved.

    Attributes:
        limits: by cost, what is to be reached; empty where every saving counts.
        cost: that counts where there are no limits; "": each change counts alike.
    """

    limits: Mapping[str, float]
    cost: str

    def worth(self, before: Mapping[str, float], after: Mapping[str, float]) -> float:
        """Of a change, by the shares before and after it; 0 where it is not to be made."""
        if not self.limits:
            return 1.0 if not self.cost else before[self.cost] - after[self.cost]
        over = {unit: before[unit] - limit for unit, limit in self.limits.items() if before[unit] > limit}
        return sum(min(before[unit] - after[unit], left) / left for unit, left in over.items())


@dataclass(eq=False)
class Trials:
    """Networks with one change more, each measured once.

    Attributes:
        changes: that may be made in a network.
        shares: see `Savings`.
        meter: of losses.
    """

    changes: Callable[[Gaps], Sequence[Change]]
    shares: Callable[[Gaps], Mapping[str, float]]
    meter: LossMeter
    _shares: dict[tuple[str, ...], Mapping[str, float]] = field(
        default_factory=dict[tuple[str, ...], Mapping[str, float]]
    )
    _saved: dict[Hashable, Mapping[str, float]] = field(default_factory=dict[Hashable, Mapping[str, float]])
    _trials: dict[tuple[str, ...], Trial] = field(default_factory=dict[tuple[str, ...], Trial])

    def left(self, gaps: Gaps, change: Change) -> Mapping[str, float]:
        """The shares that are left with one change more."""
        key = (*gaps.changes, change.name)
        if key not in self._shares:
            self._shares[key] = self.shares(gaps.after(change))
        return self._shares[key]

    def foreseen(self, gaps: Gaps, change: Change, shares: Mapping[str, float]) -> Mapping[str, float]:
        """The same, by what the change saved where it was looked at first; `shares`: before it."""
        key = _look(change)
        if key not in self._saved:
            left = self.left(gaps, change)
            self._saved[key] = {unit: shares[unit] - left[unit] for unit in shares}
        return {unit: shares[unit] - saved for unit, saved in self._saved[key].items()}

    def known(self, gaps: Gaps, change: Change) -> Trial | None:
        return self._trials.get((*gaps.changes, change.name))

    def measure(self, gaps: Gaps, changes: Sequence[Change]) -> None:
        for trial in self.meter.trials(gaps, changes):
            key = (*gaps.changes, trial.change.name)
            self._trials[key] = trial


@dataclass(eq=False)
class _Candidate:
    """A change that may come next: what it loses (a guess without a `trial`), what it is worth, what it leaves."""

    change: Change
    lost: float
    worth: float
    shares: Mapping[str, float]
    trial: Trial | None

    @property
    def score(self) -> float:
        return max(self.lost, 0.0) / self.worth


def greedy_steps(start: Gaps, trials: Trials, savings: Savings, most: int | None = None) -> Iterator[Step]:
    """Step by step, as far as there are changes that save something.

    Args:
        most: the limits of `savings` are to be kept after so many steps.
    """
    gaps, loss, shares = start, 0.0, trials.shares(start)
    guesses: dict[str, float] = {}
    for count in itertools.count(1):
        found = [_candidate(gaps, change, guesses, shares, trials, savings, loss) for change in trials.changes(gaps)]
        waiting = [each for each in found if each.worth > LEAST]
        if most is not None:
            waiting = [each for each in waiting if _suffices(each, waiting, shares, savings, most - count)]
        best = _best(waiting, gaps, trials, loss)
        if best is None or best.trial is None:
            return
        guesses = {each.change.name: each.lost for each in found}
        left = trials.left(gaps, best.change)
        saved = {unit: shares[unit] - left[unit] for unit in shares}
        gaps, loss, shares = best.trial.gaps, best.trial.loss, left
        yield Step(best.change, loss, saved, shares, gaps)


def _candidate(
    gaps: Gaps,
    change: Change,
    guesses: Mapping[str, float],
    shares: Mapping[str, float],
    trials: Trials,
    savings: Savings,
    loss: float,
) -> _Candidate:
    left, trial = trials.foreseen(gaps, change, shares), trials.known(gaps, change)
    lost = guesses.get(change.name, UNKNOWN) if trial is None else max(trial.loss - loss, 0.0)
    return _Candidate(change, lost, savings.worth(shares, left), left, trial)


def _suffices(
    candidate: _Candidate, others: Sequence[_Candidate], shares: Mapping[str, float], savings: Savings, more: int
) -> bool:
    """Whether so many more changes after it can keep the limits."""
    for unit, limit in savings.limits.items():
        saved = sorted((shares[unit] - each.shares[unit] for each in others if each is not candidate), reverse=True)
        if candidate.shares[unit] - sum(saved[:more]) > limit:
            return False
    return True


def _best(waiting: Sequence[_Candidate], gaps: Gaps, trials: Trials, loss: float) -> _Candidate | None:
    """The one with the best score, measured."""
    while True:
        best = min((each for each in waiting if each.trial is not None), key=lambda each: each.score, default=None)
        guesses = sorted((each for each in waiting if each.trial is None), key=lambda each: each.score)
        if not guesses or (best is not None and best.score <= guesses[0].score):
            return best
        chosen = [each for each in guesses if each.lost == UNKNOWN] or guesses[:AT_ONCE]
        trials.measure(gaps, [each.change for each in chosen])
        for each in chosen:
            each.trial = trials.known(gaps, each.change)
            each.lost = 0.0 if each.trial is None else max(each.trial.loss - loss, 0.0)


def _look(change: Change) -> Hashable:
    """All that decides what a change saves: its nodes, and the shapes of their weights."""
    nodes = change.nodes
    sizes = (tensor.shape for node in nodes for tensor in node.inputs if isinstance(tensor, gs.Constant))
    return change.name, tuple(node.name for node in nodes), tuple(map(tuple, sizes))
