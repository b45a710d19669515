"""What makes up for blocks that are gone.

In graph order, each layer is fitted to what then reaches it (`runtime.lockstep`): the layer in front of a gap to what
left the block (`front`), all behind the first gap to what they gave before. How far a layer may go from its stored
weight is judged by rows that it has not seen (`fitting.ridge`), how far all of them go together by the outputs
(`strength`). Sums that an activation cuts off are seen through it (`dense`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.activations import activation_after
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.ties import tie
from ...compiler.pipeline.base import Decision
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...runtime.lockstep import ROWS
from ...runtime.rows import Layer
from ..fitting.fits import fittable_layers, for_all_uses, refittable, relative_error
from ..fitting.lockstep import FitOptions, fitted_layers, step_order
from .dense import dense_layer
from .front import Front, reference_for
from .gaps import Gaps

KEPT = 2**14


@dataclass(frozen=True, eq=False)
class Refit:
    """What a layer of a network with gaps is fitted to be.

    Attributes:
        layer: as it was before.
        weight, bias: (N, d) and (N,).
        error: output energy that they miss, relative.
    """

    layer: Layer
    weight: np.ndarray
    bias: np.ndarray
    error: float

    def store(self, rewriter: Rewriter, strength: float) -> None:
        """Go so far from what it was: 0 leaves it, 1 is the fit."""
        bias = 0.0 if self.layer.bias is None else (1 - strength) * self.layer.bias
        weight = (1 - strength) * self.layer.matrix() + strength * self.weight
        self.layer.store(rewriter, weight, bias + strength * self.bias)

    def decisions(self) -> list[Decision]:
        return for_all_uses(self.layer, Decision(self.layer.name, "refitted", "", {"error": self.error}))


def refit(gaps: Gaps, before: gs.Graph, ctx: Context, data: Data, ridge: float, rows: int = ROWS) -> list[Refit]:
    """Fit the layers of `gaps.graph` in place, at full strength, to the outputs of the network `before`."""
    graph, found = gaps.graph, list[Refit]()
    _, layers = step_order(graph, refittable(tie(_touched(gaps)), ctx))
    cut = {layer.name for layer in layers if _is_cut_off(layer, gaps.fronts)}
    options = FitOptions(ridge, rows=rows, keep=KEPT if cut else 0, judged=True)
    rewriter = Rewriter(graph, gaps.origins)
    reference = reference_for(before, gaps.fronts.values(), gaps.parts)
    with ctx.progress("repair", len(layers)) as advance:
        for layer, fits in fitted_layers(graph, ctx, layers, data, options, reference):
            weights, bias = dense_layer(layer, fits, layer.name in cut)
            found.append(Refit(layer, np.concatenate(weights), bias, relative_error(fits, weights)))
            found[-1].store(rewriter, 1.0)
            advance(layer.name)
    return found


def set_strength(gaps: Gaps, refits: Sequence[Refit], strength: float) -> None:
    """Of all layers that were fitted."""
    rewriter = Rewriter(gaps.graph, gaps.origins)
    for each in refits:
        each.store(rewriter, strength)


def _is_cut_off(layer: Layer, fronts: Mapping[str, Front]) -> bool:
    """Whether an activation cuts off a sum that the layer is part of, or what it gives in front of a gap."""
    readers = layer.output.outputs
    total = readers[0].outputs[0] if len(readers) == 1 and readers[0].op == "Add" else layer.output
    activation = activation_after(total)
    wanted = total is not layer.output or layer.output.name in fronts
    return wanted and activation is not None and not activation.linear


def _touched(gaps: Gaps) -> list[Layer]:
    """The layers in front of gaps, and all from the first gap or wide block on."""
    nodes = gaps.graph.nodes
    fitted = gaps.fronts.keys() | gaps.parts.keys()
    made = [any(tensor.name in fitted for tensor in node.outputs) for node in nodes]
    first = next((i for i, node in enumerate(nodes) if made[i] or node.name in gaps.identities), len(nodes))
    return fittable_layers(gaps.graph, {id(node) for node in nodes[first:]})
