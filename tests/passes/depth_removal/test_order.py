"""The order in which blocks go: least loss for what is saved, guesses measured before they count, few steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import pytest
from onnx_compress.passes.depth_removal.order import Savings, Step, Trials, greedy_steps


@dataclass(frozen=True)
class Named:
    name: str
    nodes: tuple[object, ...] = ()


@dataclass(frozen=True)
class Gone:
    """A network that is known by what went."""

    changes: tuple[str, ...] = ()

    def after(self, block: Named) -> Gone:
        return Gone((*self.changes, block.name))


@dataclass(frozen=True)
class Measured:
    change: Named
    loss: float
    gaps: Gone


@dataclass
class Meter:
    """Losses that add up, and grow by a half with every block that has gone."""

    losses: Mapping[str, float]
    asked: list[tuple[int, str]] = field(default_factory=list)

    def loss(self, gone: Gone) -> float:
        return sum(self.losses[name] * 1.5**index for index, name in enumerate(gone.changes))

    def trials(self, gaps: Gone, blocks: Sequence[Named]) -> list[Measured]:
        self.asked += [(len(gaps.changes), block.name) for block in blocks]
        lacking = [gaps.after(block) for block in blocks]
        return [Measured(block, self.loss(each), each) for block, each in zip(blocks, lacking, strict=True)]


def steps(
    losses: Mapping[str, float], saved: Mapping[str, float], limit: float | None = None, most: int | None = None
) -> tuple[list[Step], Meter]:
    """Until the limit is kept, or nothing is left."""
    meter = Meter(losses)

    def shares(gone: Gone) -> dict[str, float]:
        return {"macs": 1 - sum(saved[name] for name in gone.changes)}

    def blocks(gone: Gone) -> list[Named]:
        return [Named(name) for name in losses if name not in gone.changes]

    trials = cast("Any", Trials)(blocks, shares, meter)
    savings = Savings({} if limit is None else {"macs": limit}, "macs")
    found: list[Step] = []
    for step in greedy_steps(cast("Any", Gone()), trials, savings, most):
        found.append(step)
        if limit is not None and step.shares["macs"] <= limit:
            break
    return found, meter


def names(found: Sequence[Step]) -> str:
    return "".join(step.change.name for step in found)


LOSSES = {"a": 1.0, "b": 4.0, "c": 9.0, "d": 1.8}
SAVED = {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.1}


def test_the_block_with_the_least_loss_for_what_it_saves_goes_first() -> None:
    found, _ = steps(LOSSES, SAVED)
    assert names(found) == "adbc"
    assert [step.shares["macs"] for step in found] == pytest.approx([0.9, 0.8, 0.6, 0.3])
    assert all(step.saved["macs"] == pytest.approx(SAVED[step.change.name]) for step in found)


def test_each_block_is_measured_in_the_network_that_it_leaves() -> None:
    found, meter = steps(LOSSES, SAVED)
    assert [step.loss for step in found] == pytest.approx([1.0, 1 + 2.7, 3.7 + 9, 12.7 + 9 * 1.5**3])
    assert all((index, step.change.name) in meter.asked for index, step in enumerate(found))


def test_most_blocks_are_not_measured_again() -> None:
    losses = {f"b{index}": 10.0**index for index in range(12)}
    _, meter = steps(losses, dict.fromkeys(losses, 0.05), limit=0.86)
    assert len(meter.asked) == 12 + 3 + 3


def test_what_saves_nothing_stays() -> None:
    found, _ = steps(LOSSES, {**SAVED, "a": 0.0})
    assert names(found) == "dbc"


def test_of_what_a_block_saves_only_what_is_still_needed_counts() -> None:
    """c saves most for what it loses, but a is enough."""
    found, _ = steps({"a": 3.0, "c": 4.0}, {"a": 0.1, "c": 0.3}, limit=0.95)
    assert names(found) == "a"


def test_the_limit_in_fewer_steps() -> None:
    assert names(steps(LOSSES, SAVED, limit=0.65)[0]) == "adb"
    assert names(steps(LOSSES, SAVED, limit=0.65, most=2)[0]) == "ac"
    assert names(steps(LOSSES, SAVED, limit=0.65, most=1)[0]) == ""
