"""The best dense fit of each layer, in turn: with data in step with the original network, without it as stored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import onnx_graphsurgeon as gs

from ...compiler.context import Context
from ...runtime.lockstep import lockstep
from ...runtime.rows import Layer
from ..decomposition.survey import layer_fits
from ..projection.fit import Fit, plain_fit


def in_graph_order(graph: gs.Graph, layers: Sequence[Layer]) -> list[Layer]:
    """The layers in the order of their nodes."""
    by_node = {id(layer.node): layer for layer in layers}
    return [by_node[id(node)] for node in graph.nodes if id(node) in by_node]


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
        yield from ((layer, stored_fits(layer)) for layer in list(layers))
        return
    reference = graph.copy()
    walked = graph if refit else reference
    for layer, moments in lockstep(walked, reference, layers, ctx.data, ctx.rng(), memory=ctx.activations):
        yield layer, layer_fits(layer, moments, ridge)


def stored_fits(layer: Layer) -> list[Fit]:
    """The stored weight of every group, in the identity metric."""
    stored = layer.matrix().reshape(layer.group, -1, layer.fan_in)
    biases = [None] * layer.group if layer.bias is None else layer.bias.reshape(layer.group, -1)
    return [plain_fit(weight, bias) for weight, bias in zip(stored, biases, strict=True)]


def signal(fits: Sequence[Fit]) -> float:
    """The variance that relative errors of a layer are relative to."""
    return max(sum(fit.signal for fit in fits), 1e-30)
