"""Where the time went: what INT8 saves and what each pass does, and whether limits of time are kept in the end.

Every step is estimated in the precision in which the pipeline ends, so that what INT8 saves is nobody else's.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import onnx_graphsurgeon as gs

from ..compiler.costs.latency import Latency
from ..compiler.pipeline.base import Pass, PassRecord
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.milliseconds import Milliseconds
from ..compiler.report import TimeReport
from ..compiler.report.formatting import counted
from ..compiler.report.sizes import ESTIMATED
from ..passes.budgets.budgeted_pass import BudgetedPass
from ..passes.budgets.file_size import network_ms
from ..runtime.time_after_passes import estimated_ms, without_exact
from .layer_costs import Costed

SAME = 5e-3
"""A step that changes the time by less is none."""
KEPT = 1e-3
"""Of a limit of time, by which the estimate may miss it."""


def time_steps(
    before: Costed, after: Costed, ctx: Context, passes: Sequence[Pass], records: Sequence[PassRecord]
) -> Iterator[TimeReport]:
    """What the network took as it came in, as the pipeline ends, and after each of its passes; nothing where it is not
    known.

    Args:
        before: the network that came in.
        after: the one that is written.
        records: those of `passes`.
    """
    if before.latency is None or after.latency is None:
        return
    in_int8 = estimated_ms(before.graph, without_exact(replace(ctx, following=passes)), before.shapes)
    found = [(_came_in(before.latency), before.latency.ms), ("in INT8", in_int8)]
    found += [(_done(record), record.figures.get(ESTIMATED)) for record in records]
    last = 0.0
    for step, ms in [*found, ("as it is written", after.latency.ms)]:
        if ms is not None and abs(ms - last) > SAME * last:
            yield TimeReport(step=step, ms=ms)
            last = ms


def late(
    original: gs.Graph, written: gs.Graph, ctx: Context, passes: Sequence[Pass], records: Sequence[PassRecord]
) -> Iterator[str]:
    """Limits of time that a pass has kept and the network as written does not."""
    for index, entry in enumerate(passes):
        if not isinstance(entry, BudgetedPass) or entry.latency is None:
            continue
        before, after = (entry.clocked(replace(ctx, following=rest)) for rest in (passes[index + 1 :], ()))
        if before is None or after is None:
            continue
        whole, takes = network_ms(before)(original, ctx), network_ms(after)(written, ctx)
        limit = entry.latency.value if isinstance(entry.latency, Milliseconds) else entry.latency * whole
        if takes > limit * (1 + KEPT):
            what = f"{entry.name}:latency={entry.latency} is not kept by the network that is written"
            yield f"{what}: {takes:.3g} ms instead of {limit:.3g}{_why(records)}"


def slower(before: Latency | None, after: Latency | None) -> Iterator[str]:
    """Where what is written takes longer than what came in."""
    if before is not None and after is not None and after.ms > before.ms * (1 + SAME):
        yield f"by the estimate the network that is written is slower: {after.ms:.3g} ms instead of {before.ms:.3g}"


def _came_in(latency: Latency) -> str:
    return "as it came in" if any(kernel.precision == "int8" for kernel in latency.kernels) else "in FP16"


def _done(record: PassRecord) -> str:
    count = _in_float(record)
    return f"with {counted(count, 'layer')} in float" if count else f"with {record.name}"


def _in_float(record: PassRecord) -> int:
    """Layers that a pass has rounded and left in float."""
    return sum("stays in float" in decision.reason for decision in record.result.decisions)


def _why(records: Sequence[PassRecord]) -> str:
    count = sum(map(_in_float, records))
    return f"; {counted(count, 'layer')} had to stay in float: ask for less time, or quantize:noise=1" if count else ""
