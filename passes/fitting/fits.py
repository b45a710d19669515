"""Fits of a layer, one per group: the best dense weight, and what another weight loses against it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.convs import find_convs
from ...compiler.graph.gemms import find_gemms
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.ties import AnyLayer, refusal
from ...compiler.pipeline.base import Decision
from ...compiler.pipeline.context import Context
from ...runtime.moments import Moments, SampledRows
from ...runtime.rows import LARGEST, Layer, in_graph_order, stored_weight
from ..projection.activation_aware import ActivationAwareFit, ActivationSamples
from ..projection.activation_split import PiecewiseLinear
from ..projection.fit import Array, Fit, plain_fit, total_signal
from .ridge import judged_fits

FEW_ROWS = 100  # measured on ResNet-20 at half the MACs: top-1 88.8 -> 89.4 with 128 images, unchanged with 1,024


def fittable_layers(graph: gs.Graph, nodes: Collection[int]) -> list[Layer]:
    """The layers of nodes with these ids whose metric is not too large to fit in, in graph order, one per node."""
    layers: list[Layer] = [*find_convs(graph), *find_gemms(graph)]
    return in_graph_order(graph, [each for each in layers if id(each.node) in nodes and each.fan_in <= LARGEST])


def refittable(layers: Iterable[AnyLayer], ctx: Context) -> list[AnyLayer]:
    """The layers in scope whose weight may change for all that read it."""
    return [layer for layer in layers if refusal(layer, lambda use: ctx.out_of_scope(use.name)) is None]


def for_all_uses(layer: Layer, decision: Decision) -> list[Decision]:
    """What was decided for a layer, for every use of its weight."""
    reason = f"{decision.reason}{'; ' * bool(decision.reason)}shares its weight with {layer.name}"
    figures = {key: value for key, value in decision.figures.items() if key in ("form", "size", "full_size", "error")}
    return [decision, *(Decision(use.name, decision.action, reason, figures) for use in layer.others)]


def layer_fits(layer: Layer, moments: Moments, ridge: float) -> list[Fit]:
    """The best dense fit of every group; the fewer rows per input, the stronger the pull to the stored weight, and at
    least as strong as rows that it has not seen want it (`fitting.ridge`)."""
    ridge *= 1 + FEW_ROWS * layer.fan_in / moments.count
    fits = judged_fits(moments, stored_weight(layer)[0], ridge)
    return fits if moments.rows is None else activation_aware_fits(fits, moments.rows)


def activation_aware_fits(fits: Sequence[Fit], rows: SampledRows) -> list[Fit]:
    """The fits of a layer's groups with their rows, where the activation after the layer is known."""
    known = rows.activation
    if known is None or known.linear:
        return list(fits)
    activation = PiecewiseLinear(known.low, known.high, known.leak)

    def of_group(group: int) -> ActivationSamples:
        shift = 0.0 if rows.shift is None else rows.shift[:, group]
        return ActivationSamples(rows.x[:, group], rows.y[:, group], shift, activation)

    return [ActivationAwareFit.of(fit, of_group(group)) for group, fit in enumerate(fits)]


def plain_fits(layer: Layer) -> list[Fit]:
    """Without data: the stored weight of every group, in the identity metric."""
    return [plain_fit(weight, bias) for weight, bias in zip(*stored_weight(layer), strict=True)]


def fitted_bias(fits: Sequence[Fit], weights: Sequence[Array]) -> Array:
    """The bias (N,) that gives outputs of other weights (n, d), per group, the wanted means."""
    return np.concatenate([fit.bias(weight) for fit, weight in zip(fits, weights, strict=True)])


def store_fitted(rewriter: Rewriter, layer: Layer, fits: Sequence[Fit], weights: Sequence[Array]) -> float:
    """Write weights (n, d), per group, with their biases into the graph; returns their `relative_error`."""
    layer.store(rewriter, np.concatenate(list(weights)), fitted_bias(fits, weights))
    return relative_error(fits, weights)


def relative_error(fits: Sequence[Fit], weights: Sequence[Array]) -> float:
    """Output energy that weights (n, d), per group, miss, relative to the variance of the wanted outputs."""
    missed = sum(fit.lost(weight) + fit.residual for fit, weight in zip(fits, weights, strict=True))
    return missed / total_signal(fits)
