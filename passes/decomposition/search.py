"""The smallest network that still agrees with the original: bisection on the MAC budget.

The samples are split: a trial is fitted on the first part and judged, by top-1 agreement with the original network,
on the rest, which no fit has seen.
"""

from __future__ import annotations

from collections.abc import Callable

import onnx_graphsurgeon as gs

from ...compiler.base import Decision
from ...compiler.context import Context, Data
from ...compiler.errors import CompressError
from ...runtime.data import Slice
from ...runtime.evaluate import agreement
from .budget import Budget, Unreachable

HELD_OUT = 0.25
TRIALS = 6
Attempt = Callable[[gs.Graph, Budget, "Data | None"], list[Decision]]


def smallest_in_agreement(graph: gs.Graph, ctx: Context, wanted: float, attempt: Attempt, notes: list[str]) -> float:
    """The smallest fraction of MACs, to 1 %, whose agreement on held-out samples is at least `wanted`."""
    if ctx.data is None:
        raise CompressError("agreement needs data", "basis", "give --data, or a budget such as macs=0.5")
    split = round(ctx.data.samples * (1 - HELD_OUT))
    if split in (0, ctx.data.samples):
        raise CompressError(f"{ctx.data.samples} samples cannot be split for agreement", "--data", "give at least 100")
    fitting, judging = Slice(ctx.data, 0, split), Slice(ctx.data, split, ctx.data.samples)
    low, high = 0.1, 1.0
    with ctx.progress("budget search", TRIALS) as advance:
        for _ in range(TRIALS):
            macs = (low + high) / 2
            met = _reached(graph, macs, fitting, judging, attempt) >= wanted
            low, high = (low, macs) if met else (macs, high)
            advance()
    notes.append(
        f"agreement={wanted:g}: macs={high:.3f} by {TRIALS} trials, judged on {judging.samples} held-out samples"
    )
    return high


def _reached(graph: gs.Graph, macs: float, fitting: Data, judging: Data, attempt: Attempt) -> float:
    trial = graph.copy()
    try:
        attempt(trial, Budget("macs", macs), fitting)
    except Unreachable:
        return 0.0
    top1 = agreement(graph, trial, judging).top1
    if top1 is None:
        raise CompressError(
            "the model's first output holds no class scores to agree on", "basis", "give macs= or params="
        )
    return top1
