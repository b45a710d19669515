"""What the network takes on the target after every pass, in the precision in which the pipeline ends."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

import onnx_graphsurgeon as gs

from ..compiler.costs.unknown import UnknownShape
from ..compiler.graph.io import Model
from ..compiler.graph.shapes import Shapes
from ..compiler.graph.storage.operators import declared
from ..compiler.pipeline.base import PassRecord
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.ending import ending_model
from ..compiler.pipeline.instruments import Failure, Instrument
from ..compiler.report.sizes import ESTIMATED
from .shapes import network_shapes


class TimeAfterPasses(Instrument):
    """Adds the estimate, in milliseconds, to the record of each pass that does something, where it is known.

    Attributes:
        shapes: `network_shapes` of the network as it is now, where they have been found since a pass changed it.
    """

    def __init__(self) -> None:
        self.shapes: Shapes | None = None

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        if record.idle:
            return
        self.shapes = None if ctx.target.device is None else network_shapes(model.graph, ctx)
        ms = estimated_ms(model.graph, without_exact(ctx), self.shapes)
        if ms is not None:
            record.figures[ESTIMATED] = ms

    def failed(self, failure: Failure, model: Model, ctx: Context) -> None:
        """The network is again what it was before the pass."""
        self.shapes = None


def estimated_ms(graph: gs.Graph, ctx: Context, shapes: Shapes | None = None) -> float | None:
    """Of `graph` as the passes behind the running one leave it; None where the target has no model, or a shape is not
    known, and for operators of the project's own, which nobody has timed.

    Args:
        shapes: `network_shapes`, where they have been found already.
    """
    model = ending_model(ctx)
    if model is not None and not declared(graph):
        with suppress(UnknownShape):
            return model.graph(graph, network_shapes(graph, ctx) if shapes is None else shapes)
    return None


def without_exact(ctx: Context) -> Context:
    """Without the passes behind the running one that only merge layers: what they will save is theirs."""
    return replace(ctx, following=[entry for entry in ctx.following if not entry.exact])
