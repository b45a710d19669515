"""What the outputs that a layer loses count when units are chosen and a budget is divided: `sensitivity`.

energy    the relative lost energy of every layer counts the same: gain 1
output    Each layer alone loses so many of its inputs, the best re-fit on the others assumed, that about `LEVELS` of
          its output energy go; the divergence of the network's outputs is measured on samples that no fit has seen.
          The gain is the slope of `sensitivity.measure`, to the power `TEMPER`; tables that decompositions have written
          can be read here, and these there.

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
from ...runtime.rows import Layer
from ..fitting.lockstep import curve_fits
from ..projection.elimination import Reader, eliminate
from ..projection.fit import Array, Fit, total_signal
from ..sensitivity.measure import LEAST, LEVELS, SensitivityMeter, Trial
from ..sensitivity.measure import TEMPER as STORED

TEMPER = 1.0


def gains(
    graph: gs.Graph, ctx: Context, layers: Sequence[Layer], data: Data | None, ridge: float, meter: SensitivityMeter
) -> dict[str, float]:
    """What a unit of each layer's relative error counts, by its name; empty where all count the same.

    Raises:
        CompressError: the table's file is none, or there is nothing to measure on.
    """
    meter.prepare(graph, ctx, data, {"pass": "prune", "options": [ridge]})
    if meter.measures:
        with ctx.progress("sensitivities", len(layers)) as advance:
            for layer, fits in curve_fits(graph, ctx, layers, data, ridge):
                meter.add(layer, fits, _trials(layer, fits))
                advance()
    return {name: gain ** (TEMPER / STORED) for name, gain in meter.gains().items()}


def _trials(layer: Layer, fits: Sequence[Fit]) -> list[Trial]:
    """The best weights once some input channels are gone."""
    channels = layer.weight.shape[1]
    columns: list[np.ndarray] = list(np.arange(layer.fan_in).reshape(channels, -1))
    signal = total_signal(fits)
    removal = eliminate([Reader(fit.weight, fit.metric, columns, signal) for fit in fits], np.ones(len(columns)))
    trials: list[Trial] = []
    for gone in _picked(removal.losses):
        left: np.ndarray = np.sort(np.concatenate([columns[int(unit)] for unit in removal.order[gone:]]))
        trials.append((float(removal.losses[gone]), [_refitted(fit, left) for fit in fits]))
    return trials


def _picked(losses: Array) -> list[int]:
    """How many channels gone come nearest to each of `LEVELS`; not all of them. `losses` (channels + 1,)."""
    inner = np.log(np.maximum(losses[1:-1], LEAST))
    return sorted({int(np.argmin(np.abs(inner - np.log(level)))) + 1 for level in LEVELS}) if len(inner) else []


def _refitted(fit: Fit, left: np.ndarray) -> Array:
    """The best weight (n, d) that reads the columns `left` only."""
    weight = np.zeros_like(fit.weight)
    weight[:, left] = np.linalg.solve(fit.metric[np.ix_(left, left)], fit.metric[left] @ fit.weight.T).T
    return weight
