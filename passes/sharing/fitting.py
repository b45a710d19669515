"""The best dense fit of each layer, in turn: with data in step with the original network, without it as stored.

Fully connected layers with more inputs than `LARGEST` are taken as stored even with data, and first, so that the layers
that are fitted see what became of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx_graphsurgeon as gs

from ...compiler.pipeline.context import Context
from ...runtime.lockstep import lockstep
from ...runtime.rows import Layer, is_too_wide
from ..decomposition.survey import layer_fits, plain_fits
from ..projection.fit import Fit


def fitted(
    graph: gs.Graph, ctx: Context, layers: Sequence[Layer], ridge: float, refit: bool = True
) -> Iterator[tuple[Layer, list[Fit]]]:
    """Every layer with a fit per group, in graph order but for those taken as stored; the caller rewrites it before it
    asks for the next.

    Args:
        layers: of `graph`, in graph order.
        ridge: pull towards the stored weight, relative to the mean input energy.
        refit: fit on the inputs of the network as rewritten so far, otherwise on those before the pass.
    """
    if ctx.data is None:
        yield from ((layer, plain_fits(layer)) for layer in list(layers))
        return
    reference = graph.copy()
    yield from ((layer, plain_fits(layer)) for layer in layers if is_too_wide(layer))
    rest = [layer for layer in layers if not is_too_wide(layer)]
    walked = graph if refit else reference
    for layer, moments in lockstep(walked, reference, rest, ctx.data, ctx.rng(), memory=ctx.activation_bytes):
        yield layer, layer_fits(layer, moments, ridge)
