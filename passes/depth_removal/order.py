"""The blocks in the order in which they go: greedily, those that lose least for what they save.

    score = (loss without the block - loss before) / what it saves of that which is still to be saved

A loss that was measured before other blocks went is a guess. The blocks with the best scores are measured again, a few
at a time, until none of the guesses is better than the best of them: losses mostly grow while blocks go, and a guess
that is too low is found out (Minoux, 1978). Blocks are looked for anew after each step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...compiler.graph.blocks import Block
from .gaps import Gaps
from .losses import LossMeter, Removal

AT_ONCE = 3
LEAST = 1e-12


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
        shares: of a network, by cost.
        limits: by cost, what is to be reached; empty where every saving counts.
        cost: that counts where there are no limits; "": each block counts alike.
    """

    shares: Callable[[Gaps], Mapping[str, float]]
    limits: Mapping[str, float]
    cost: str

    def worth(self, before: Mapping[str, float], after: Mapping[str, float]) -> float:
        """Of a block, by the shares before and after it; 0 where it is not to go."""
        if not self.limits:
            return 1.0 if not self.cost else before[self.cost] - after[self.cost]
        over = {unit: before[unit] - limit for unit, limit in self.limits.items() if before[unit] > limit}
        return sum(min(before[unit] - after[unit], left) / left for unit, left in over.items())


@dataclass(eq=False)
class _Guess:
    """Of a block: what it loses, saves and leaves; the network without it where it is no guess."""

    block: Block
    lost: float
    worth: float
    shares: Mapping[str, float]
    removal: Removal | None = None

    @property
    def score(self) -> float:
        return max(self.lost, 0.0) / self.worth


def removal_steps(
    start: Gaps, blocks: Callable[[Gaps], Sequence[Block]], meter: LossMeter, savings: Savings
) -> Iterator[Step]:
    """Step by step, as far as there are blocks that save something."""
    gaps, loss, shares = start, 0.0, savings.shares(start)
    guesses: dict[str, float] = {}
    while True:
        waiting = [_guess(gaps, block, guesses, shares, savings) for block in blocks(gaps)]
        best = _best([each for each in waiting if each.worth > LEAST], gaps, meter, loss)
        if best is None or best.removal is None:
            return
        guesses = {each.block.name: each.lost for each in waiting}
        saved = {unit: shares[unit] - best.shares[unit] for unit in shares}
        gaps, loss, shares = best.removal.gaps, best.removal.loss, best.shares
        yield Step(best.block, loss, saved, shares, gaps)


def _guess(
    gaps: Gaps, block: Block, known: Mapping[str, float], shares: Mapping[str, float], savings: Savings
) -> _Guess:
    after = savings.shares(gaps.without(block))
    return _Guess(block, known.get(block.name, -1.0), savings.worth(shares, after), after)


def _best(waiting: Sequence[_Guess], gaps: Gaps, meter: LossMeter, loss: float) -> _Guess | None:
    """The one with the best score, measured."""
    best: _Guess | None = None
    while True:
        guesses = sorted((each for each in waiting if each.removal is None), key=lambda each: each.score)
        if not guesses or (best is not None and best.score <= guesses[0].score):
            return best
        unknown = [each for each in guesses if each.lost < 0]
        chosen = unknown or guesses[:AT_ONCE]
        for guess, removal in zip(chosen, meter.removals(gaps, [each.block for each in chosen]), strict=True):
            guess.removal, guess.lost = removal, max(removal.loss - loss, 0.0)
        best = min((each for each in waiting if each.removal is not None), key=lambda each: each.score)
