"""The best dense fit of each layer, in turn: with data in step with the original network, without it as stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx_graphsurgeon as gs

from ...compiler.context import Context
from ...runtime.lockstep import lockstep
from ...runtime.rows import Layer
from ..decomposition.survey import layer_fits, plain_fits
from ..projection.fit import Fit


def fitted(
    graph: gs.Graph, ctx: Context, layers: Sequence[Layer], ridge: float, refit: bool = True
) -> Iterator[tuple[Layer, list[Fit]]]:
    """Every layer with a fit per group; the caller rewrites it before it asks for the next.

    Args:
        layers: of `graph`, in graph order.
        ridge: pull towards the stored weight, relative to the mean input energy.
        refit: fit on the inputs of the network as rewritten so far, otherwise on those before the pass.
    """
    if ctx.data is None:
        yield from ((layer, plain_fits(layer)) for layer in list(layers))
        return
    reference = graph.copy()
    walked = graph if refit else reference
    for layer, moments in lockstep(walked, reference, layers, ctx.data, ctx.rng(), memory=ctx.activations):
        yield layer, layer_fits(layer, moments, ridge)
