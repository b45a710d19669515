"""Removal of the chosen units, and what makes up for them.

none    the network without them: it computes what the masked network does (`compiler.graph.channels.removal`)
bias    the biases of the layers after them take up the means: b = E[y] - W E[x], y from the original, x from the pruned
refit   weights, too: each layer, in graph order, is fitted to what then reaches it (`runtime.lockstep`)

How far a layer goes from its stored weight is judged by rows that it has not seen (`fitting.ridge`). MobileNetV2, 70 %
of the MACs, 512 pictures: top-1 on 500 others 73.2, with the ridge as it is 67.6 (original 86.4). Samples are added as
layers come to have fewer positions (`runtime.lockstep`).

A layer before the first that misses a channel sees what it always saw and is left as it is. Without data nothing is
known of means, and nothing is repaired. The statistics of BatchNormalizations that were not folded are estimated anew
on the way, each before the layers that read it are fitted (see `batchnorm`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.channels import Channels, Selection, find_channels, remove, widen
from ...compiler.graph.copies import copy_graph
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.shapes import Shapes
from ...compiler.graph.ties import tie
from ...compiler.pipeline.base import Decision
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...runtime.lockstep import ROWS
from ...runtime.rows import Layer
from ..fitting.fits import fittable_layers, for_all_uses, refittable, store_fitted
from ..fitting.lockstep import FitOptions, fitted_layers, step_order
from ..projection.fit import Fit
from .batchnorm import BatchNormEstimator

SPARE = 4
"""Positions for every row that is sampled."""
Kept = Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Repair:
    """How: "none", "bias" or "refit"; the pull to the stored weight; input rows that a layer is fitted on."""

    mode: str
    ridge: float
    rows: int = ROWS


def prune(
    graph: gs.Graph, ctx: Context, shapes: Shapes, kept: Kept, repair: Repair, data: Data | None
) -> tuple[dict[str, int], list[Decision]]:
    """Keep of the groups named in `kept` only those units; `graph` is edited in place.

    Returns:
        Units that stayed, by group (a tensor must not become empty); a decision for each layer that was repaired.
    """
    rewriter = Rewriter(graph, ctx.origins)
    reference = copy_graph(graph)
    channels = find_channels(graph, shapes)
    free = [group for group in channels.groups if group.frozen is None and group.name in kept]
    held = {group for group in free if any(part.node.name in ctx.held for part in group.producers)}
    chosen = {group: kept[group.name] for group in free if group not in held}
    pruned = [group for group, units in chosen.items() if len(units) < group.size]
    missing = {id(part.node) for group in pruned for part in group.consumers}
    remaining = kept_channels(channels, chosen)
    stayed = {group.name: len(units) for group, units in remove(channels, chosen, rewriter).items()}
    if repair.mode == "none" or data is None:
        return stayed, []
    first = next((i for i, node in enumerate(graph.nodes) if id(node) in missing), len(graph.nodes))
    behind = fittable_layers(graph, {id(node) for node in graph.nodes[first:]})
    _, layers = step_order(graph, refittable(tie(behind), ctx))
    norms = BatchNormEstimator(graph, reference, first, data, remaining, ctx.activation_bytes)
    decisions: list[Decision] = []
    with ctx.progress("repair", len(layers)) as advance:
        places: list[gs.Node | None] = [*(layer.node for layer in layers), None]
        norms.estimate_before(places[0])
        options = FitOptions(repair.ridge, rows=repair.rows, judged=True, spare=SPARE)
        fitted = fitted_layers(graph, ctx, layers, data, options, reference, remaining)
        for (layer, fits), after in zip(fitted, places[1:], strict=True):
            decisions += for_all_uses(layer, _store(rewriter, layer, fits, repair.mode))
            norms.estimate_before(after)
            advance(layer.name)
    return stayed, decisions


def kept_channels(channels: Channels, chosen: Selection) -> dict[str, np.ndarray]:
    """By tensor, which channels (axis 1) stay; tensors that lose none are left out."""
    gone = np.zeros(int(channels.unit.max(initial=-1)) + 1, bool)
    for group, units in widen(channels, chosen).items():
        gone[np.delete(group.members, units)] = True
    masks = {name: ~gone[channels.unit[labels.ids]] for name, labels in channels.tensors.items() if labels.axis == 1}
    return {name: np.flatnonzero(mask) for name, mask in masks.items() if not mask.all()}


def _store(rewriter: Rewriter, layer: Layer, fits: Sequence[Fit], mode: str) -> Decision:
    stored = np.split(layer.matrix().astype(np.float64), len(fits))
    weights = [fit.weight for fit in fits] if mode == "refit" else stored
    return Decision(layer.name, "refitted", "", {"error": store_fitted(rewriter, layer, fits, weights)})
