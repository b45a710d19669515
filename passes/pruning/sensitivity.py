"""What the outputs that a layer loses count when units are chosen and a budget is divided: `sensitivity`.

energy    the relative lost energy of every layer counts the same: gain 1
output    Each layer alone loses so many of its inputs, the best re-fit on the others assumed, that about `LEVELS` of
          its output energy go; the divergence of the network's outputs is measured on samples that no fit has seen.
          The gain is the slope of `decomposition.sensitivity`, to the power `TEMPER`; its tables can be read here, and
          these there.

Top-1 on all CIFAR-10 test images, 60 % of the MACs, 1,024 unlabelled training images, no gradient steps:

                 energy    temper 0.5    1            the classifier's loss not measured, temper 0.5
    ResNet-20     85.95         88.85    89.04        88.68
    ResNet-56     89.75                  92.77        92.48

What a loss does to the outputs differs between layers by an order of magnitude, and is largest at the beginning of the
last stage and before the classifier.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...runtime.lockstep import lockstep
from ...runtime.rows import Layer
from ..decomposition.survey import CURVE_ROWS, curve_samples, layer_fits
from ..projection.elimination import Reader, eliminate
from ..projection.fit import Array, Fit, total_signal
from ..sensitivity.divergence import WeightDivergence
from ..sensitivity.measure import LEVELS, Weigher
from ..sensitivity.measure import TEMPER as STORED

TEMPER = 1.0
LEAST = 1e-9


def gains(
    graph: gs.Graph, ctx: Context, layers: Sequence[Layer], data: Data | None, ridge: float, weigher: Weigher
) -> dict[str, float]:
    """What a unit of each layer's relative error counts, by its name; empty where all count the same.

    Raises:
        CompressError: the table's file is none, or there is nothing to measure on.
    """
    weigher.prepare(graph, data, (), {"pass": "prune", "options": [ridge], "scope": ctx.scope()})
    if weigher.gauge is not None and data is not None:
        with ctx.progress("sensitivities", len(layers)) as advance:
            for layer, moments in lockstep(
                graph, graph, layers, curve_samples(data), ctx.rng(), CURVE_ROWS, memory=ctx.activation_bytes
            ):
                weigher.gauge.points[layer.name] = _points(
                    weigher.gauge.probe, layer, layer_fits(layer, moments, ridge)
                )
                advance()
    return {name: gain ** (TEMPER / STORED) for name, gain in (weigher.gains() or {}).items()}


def _points(probe: WeightDivergence, layer: Layer, fits: Sequence[Fit]) -> list[tuple[float, float]]:
    """(relative error, divergence) once some input channels are gone."""
    channels = layer.weight.shape[1]
    columns: list[np.ndarray] = list(np.arange(layer.fan_in).reshape(channels, -1))
    signal = total_signal(fits)
    found = eliminate([Reader(fit.weight, fit.metric, columns, signal) for fit in fits], np.ones(len(columns)))
    tried: list[tuple[np.ndarray, np.ndarray]] = []
    picked = _picked(found.losses)
    for gone in picked:
        left: np.ndarray = np.sort(np.concatenate([columns[int(unit)] for unit in found.order[gone:]]))
        weights = [_refitted(fit, left) for fit in fits]
        bias = np.concatenate([fit.bias(weight) for fit, weight in zip(fits, weights, strict=True)])
        tried.append((np.concatenate(weights), bias))
    return list(zip(found.losses[picked].tolist(), probe.divergences(layer, tried), strict=True))


def _picked(losses: Array) -> list[int]:
    """How many channels gone come nearest to each of `LEVELS`; not all of them. `losses` (channels + 1,)."""
    inner = np.log(np.maximum(losses[1:-1], LEAST))
    return sorted({int(np.argmin(np.abs(inner - np.log(level)))) + 1 for level in LEVELS}) if len(inner) else []


def _refitted(fit: Fit, left: np.ndarray) -> Array:
    """The best weight (n, d) that reads the columns `left` only."""
    weight = np.zeros_like(fit.weight)
    weight[:, left] = np.linalg.solve(fit.metric[np.ix_(left, left)], fit.metric[left] @ fit.weight.T).T
    return weight
