"""Every layer with the best dense fit of each of its groups, in graph order, while the caller rewrites the network.

    with data, lockstep        fitted to the inputs in the network as rewritten so far and the outputs from before the
                               pass (`runtime.lockstep`): the caller rewrites a layer before it asks for the next
    with data, not lockstep    fitted to what it reads and computes in the network before the pass
    without data               taken as stored, in the identity metric

A layer comes after those that reach any of its uses. Where uses depend on each other, as in a block that is run again,
it is fitted to what it reads and computes in the network before the pass, and comes before the layers in step. So is a
layer whose number of rows depends on values, as behind a NonMaxSuppression: two networks have rows that do not pair.

Fully connected layers with more inputs than `LARGEST` are taken as stored even with data, and first, so that the layers
that are fitted see what became of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.comparable import mark
from ...compiler.graph.copies import copy_graph
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...runtime.lockstep import ROWS, dependency_order, lockstep
from ...runtime.rows import Layer, is_too_wide
from ..projection.fit import Fit
from .fits import layer_fits, plain_fits
from .samples import CURVE_ROWS, curve_samples

FittedLayer = tuple[Layer, list[Fit]]


@dataclass(frozen=True)
class FitOptions:
    """How layers are fitted.

    Attributes:
        ridge: pull towards the stored weight, relative to the mean input energy.
        lockstep: see the module docstring.
        rows: input rows that a layer is fitted to.
        keep: rows that come with the fits (`projection.activation_aware`).
        judged: the pull of every layer is judged on rows that it has not seen (`ridge`), not only where rows are few.
        spare: samples are added on the way (`runtime.lockstep`).
    """

    ridge: float
    lockstep: bool = True
    rows: int = ROWS
    keep: int = 0
    judged: bool = False
    spare: int | None = None


def fitted_layers(
    graph: gs.Graph,
    ctx: Context,
    layers: Sequence[Layer],
    data: Data | None,
    options: FitOptions,
    reference: gs.Graph | None = None,
    kept_channels: Mapping[str, np.ndarray] | None = None,
) -> Iterator[FittedLayer]:
    """The layers with a fit per group.

    Args:
        layers: of `graph`, in graph order, one per stored weight (`graph.ties`).
        reference: the network from before the pass, `graph` itself where nothing is rewritten; None: a copy of `graph`,
            taken when the first layer is asked for.
        kept_channels: by tensor, the channels of the reference that `graph` still has; then layers that are not fitted
            in step are left out, as the reference has others.
    """
    if data is None:
        yield from ((layer, plain_fits(layer)) for layer in layers)
        return
    reference = copy_graph(graph) if reference is None else reference
    yield from ((layer, plain_fits(layer)) for layer in layers if is_too_wide(layer))
    rest = [layer for layer in layers if not is_too_wide(layer)]
    in_step = options.lockstep and reference is not graph
    alone, ordered = step_order(graph, rest) if in_step else (rest, [])
    rows, keep, memory = options.rows, options.keep, ctx.activation_bytes
    walks = [(reference, [] if kept_channels else alone), (graph, ordered)]
    for walked, chosen in (walk for walk in walks if walk[1]):
        for layer, moments in lockstep(
            walked, reference, chosen, data, ctx.rng(), rows, kept_channels, keep, memory, options.judged, options.spare
        ):
            yield layer, layer_fits(layer, moments, options.ridge)


def step_order(graph: gs.Graph, layers: Sequence[Layer]) -> tuple[list[Layer], list[Layer]]:
    """The layers that cannot be fitted in step, and the others in the order in which they can."""
    shaped = mark(graph).shaped
    paired, alone = list[Layer](), list[Layer]()
    for layer in layers:
        (alone if any(use.input.name in shaped for use in layer.uses) else paired).append(layer)
    circular, ordered = dependency_order(graph, paired)
    return [*alone, *circular], ordered


def curve_fits(
    graph: gs.Graph,
    ctx: Context,
    layers: Sequence[Layer],
    data: Data | None,
    ridge: float,
    positions: int = 1,
    spare: int | None = None,
) -> Iterator[FittedLayer]:
    """The layers as they are, on the samples of error curves; `positions`: see `curve_samples`; `spare`:
    see `FitOptions`."""
    sampled = None if data is None else curve_samples(data, positions)
    return fitted_layers(graph, ctx, layers, sampled, FitOptions(ridge, rows=CURVE_ROWS, spare=spare), reference=graph)
