"""The blocks in the order in which they go: greedily, those that lose least for what they save.

    score = (loss without the block - loss before) / what it saves of that which is still to be saved

A loss that was measured before other blocks went is a guess. The blocks with the best scores are measured again, a few
at a time, until none of the guesses is better than the best of them: losses mostly grow while blocks go, and a guess
that is too low is found out (Minoux, 1978). Blocks are looked for anew after each step.

The last block may overshoot a limit by much. So what is found is compared with the best that one block fewer can do:
the same, with only those blocks let go that leave enough for the others to save (`most`).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...compiler.graph.blocks import Block
from .gaps import Gaps
from .losses import LossMeter, Removal

AT_ONCE = 3
LEAST = 1e-12
UNKNOWN = -1.0


@dataclass(frozen=True, eq=False)
class Step:
    """A block that went.

    Attributes:
        loss: of the outputs, with it and those before it gone.
        saved: by cost, the share of the original's that went with it.
        shares: by cost, what is left then.
        gaps: the network then.
    """

    block: Block
    loss: float
    saved: Mapping[str, float]
    shares: Mapping[str, float]
    gaps: Gaps


@dataclass(frozen=True, eq=False)
class Savings:
    """What counts as saved.

    Attributes:
        limits: by cost, what is to be reached; empty where every saving counts.
        cost: that counts where there are no limits; "": each block counts alike.
    """

    limits: Mapping[str, float]
    cost: str

    def worth(self, before: Mapping[str, float], after: Mapping[str, float]) -> float:
        """Of a block, by the shares before and after it; 0 where it is not to go."""
        if not self.limits:
            return 1.0 if not self.cost else before[self.cost] - after[self.cost]
        over = {unit: before[unit] - limit for unit, limit in self.limits.items() if before[unit] > limit}
        return sum(min(before[unit] - after[unit], left) / left for unit, left in over.items())


@dataclass(eq=False)
class Trials:
    """Networks that lack one block more, each measured once.

    Attributes:
        blocks: that may go from a network.
        shares: see `Savings`.
    """

    blocks: Callable[[Gaps], Sequence[Block]]
    shares: Callable[[Gaps], Mapping[str, float]]
    meter: LossMeter
    _shares: dict[tuple[str, ...], Mapping[str, float]] = field(
        default_factory=dict[tuple[str, ...], Mapping[str, float]]
    )
    _removals: dict[tuple[str, ...], Removal] = field(default_factory=dict[tuple[str, ...], Removal])

    def left(self, gaps: Gaps, block: Block) -> Mapping[str, float]:
        """The shares that are left without a block."""
        key = (*gaps.identities, block.name)
        if key not in self._shares:
            self._shares[key] = self.shares(gaps.without(block))
        return self._shares[key]

    def known(self, gaps: Gaps, block: Block) -> Removal | None:
        return self._removals.get((*gaps.identities, block.name))

    def measure(self, gaps: Gaps, blocks: Sequence[Block]) -> None:
        for removal in self.meter.removals(gaps, blocks):
            key = (*gaps.identities, removal.block.name)
            self._removals[key] = removal


@dataclass(eq=False)
class _Candidate:
    """A block that may go next: what it loses (a guess where it has no `removal`), what it is worth, what it leaves."""

    block: Block
    lost: float
    worth: float
    shares: Mapping[str, float]
    removal: Removal | None

    @property
    def score(self) -> float:
        return max(self.lost, 0.0) / self.worth


def removal_steps(start: Gaps, trials: Trials, savings: Savings, most: int | None = None) -> Iterator[Step]:
    """Step by step, as far as there are blocks that save something.

    Args:
        most: the limits of `savings` are to be kept after so many steps.
    """
    gaps, loss, shares = start, 0.0, trials.shares(start)
    guesses: dict[str, float] = {}
    for count in itertools.count(1):
        found = [_candidate(gaps, block, guesses, shares, trials, savings, loss) for block in trials.blocks(gaps)]
        waiting = [each for each in found if each.worth > LEAST]
        if most is not None:
            waiting = [each for each in waiting if _suffices(each, waiting, shares, savings, most - count)]
        best = _best(waiting, gaps, trials, loss)
        if best is None or best.removal is None:
            return
        guesses = {each.block.name: each.lost for each in found}
        saved = {unit: shares[unit] - best.shares[unit] for unit in shares}
        gaps, loss, shares = best.removal.gaps, best.removal.loss, best.shares
        yield Step(best.block, loss, saved, shares, gaps)


def _candidate(
    gaps: Gaps,
    block: Block,
    guesses: Mapping[str, float],
    shares: Mapping[str, float],
    trials: Trials,
    savings: Savings,
    loss: float,
) -> _Candidate:
    left, removal = trials.left(gaps, block), trials.known(gaps, block)
    lost = guesses.get(block.name, UNKNOWN) if removal is None else max(removal.loss - loss, 0.0)
    return _Candidate(block, lost, savings.worth(shares, left), left, removal)


def _suffices(
    candidate: _Candidate, others: Sequence[_Candidate], shares: Mapping[str, float], savings: Savings, more: int
) -> bool:
    """Whether so many more blocks after it can keep the limits."""
    for unit, limit in savings.limits.items():
        saved = sorted((shares[unit] - each.shares[unit] for each in others if each is not candidate), reverse=True)
        if candidate.shares[unit] - sum(saved[:more]) > limit:
            return False
    return True


def _best(waiting: Sequence[_Candidate], gaps: Gaps, trials: Trials, loss: float) -> _Candidate | None:
    """The one with the best score, measured."""
    while True:
        best = min((each for each in waiting if each.removal is not None), key=lambda each: each.score, default=None)
        guesses = sorted((each for each in waiting if each.removal is None), key=lambda each: each.score)
        if not guesses or (best is not None and best.score <= guesses[0].score):
            return best
        chosen = [each for each in guesses if each.lost == UNKNOWN] or guesses[:AT_ONCE]
        trials.measure(gaps, [each.block for each in chosen])
        for each in chosen:
            each.removal = trials.known(gaps, each.block)
            each.lost = 0.0 if each.removal is None else max(each.removal.loss - loss, 0.0)
