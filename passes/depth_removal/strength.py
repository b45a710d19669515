"""How far the layers go from what they were to what they are fitted to be.

Layers that are fitted to few pictures fit these better than others, and what each of them loses on others adds up. So
all of them go a share of the way, W + s (W* - W), and the share is the one with which the outputs lose least on samples
that the fits have not seen; 0 where no share is better than the network with its gaps alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import onnx_graphsurgeon as gs

from ...compiler.pipeline.context import Context
from .gaps import Gaps
from .losses import LossMeter
from .repair import Refit, refit, set_strength

SHARES = (0.25, 0.5, 0.75, 1.0)


def best_strength(
    gaps: Gaps, before: gs.Graph, ctx: Context, meter: LossMeter, ridge: float
) -> tuple[float, Sequence[Refit]]:
    """For a network with gaps, which is edited; 0 where the meter has no samples to fit to. And what its layers are at
    full strength, fitted to these samples."""
    if meter.fitting is None:
        return 0.0, ()
    least, best = meter.loss(gaps.graph), 0.0
    refits = refit(gaps, before, ctx, meter.fitting, ridge)
    with ctx.progress("strength of the repair", len(SHARES)) as advance:
        for share in SHARES:
            set_strength(gaps, refits, share)
            loss = meter.loss(gaps.graph)
            advance(f"{share} {loss:.3g}")
            if loss < least:
                least, best = loss, share
    return best, refits
