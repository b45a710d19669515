"""What the outputs that a layer loses count when units are chosen and a budget is divided: `sensitivity`.

energy    the relative lost energy of every layer counts the same: gain 1
output    Each layer alone loses so many of its inputs, the best re-fit on the others assumed, that about `LEVEL` of its
          output energy goes; the divergence of the network's outputs is measured on samples that no fit has seen.
          The gain is the slope of `sensitivity.measure`, to the power `TEMPER`; tables that decompositions have written
          can be read here, and these there.

Top-1 on all CIFAR-10 test images, 60 % of the MACs, 1,024 unlabelled training images, no gradient steps, three levels
(0.02, 0.08, 0.25) on 192 samples:

                 energy    temper 0.5    1            the classifier's loss not measured, temper 0.5
    ResNet-20     85.95         88.85    89.04        88.68
    ResNet-56     89.75                  92.77        92.48

What a loss does to the outputs differs between layers by an order of magnitude, and is largest at the beginning of the
last stage and before the classifier.

One level: on MobileNetV2 the logarithms of the slopes have a standard deviation of 1.15 over layers; those of the
middle one of three levels are 0.10 from those of all three, of one level on other samples 0.16.

Twice as many samples, and inputs that go one by one, take a twentieth more of the time of `prune:macs=0.75` on
ResNet-56 and leave the same divergence on 7,000 other training images, 0.0014; `prune:macs=0.7` on SqueezeNet loses
0.189 of the outputs with two seeds, with more samples and rounds 0.167 and 0.188. With 16 rounds a narrow layer loses
too much in one step for its slope to be told.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

import numpy as np

from ...runtime.rows import Layer
from ..projection.elimination import Reader, eliminate
from ..projection.fit import Array, Fit, total_signal
from ..sensitivity.measure import LEAST, SensitivityMeter, Trial
from ..sensitivity.measure import TEMPER as STORED

TEMPER = 1.0
LEVEL = 0.1
MEASURED = 32
"""Samples."""
ROUNDS = 32
"""In which all inputs would go."""
OPTIONS = LEVEL, MEASURED, ROUNDS
"""What a table that is found again was measured with."""


class Gains:
    """What a unit of each layer's relative error counts, found while a pass walks the layers.

    Gains are measured on a scale of their own, which is known at the end: `scale` is what 1 is on it.
    """

    def __init__(self, meter: SensitivityMeter | None):
        """`meter`: prepared; None where all layers count the same."""
        self._meter = meter if meter is not None and meter.measures else None
        self._known = {} if meter is None or meter.measures else _tempered(meter)
        self._measured: dict[str, float] = {}

    def of(self, layer: Layer, fits: Sequence[Fit]) -> float:
        """Of a layer; each is asked for once, in graph order."""
        if self._meter is None:
            return self._known.get(layer.name, 1.0)
        self._meter.add(layer, fits, _trials(layer, fits))
        self._measured[layer.name] = self._meter.slope(layer) ** TEMPER
        return self._measured[layer.name]

    @cached_property
    def scale(self) -> float:
        """To be asked for after the last layer: a table just measured is written."""
        if self._meter is None or not self._measured:
            return 1.0
        name, gain = next(iter(self._measured.items()))
        return gain / _tempered(self._meter)[name]


def _tempered(meter: SensitivityMeter) -> dict[str, float]:
    return {name: gain ** (TEMPER / STORED) for name, gain in meter.gains().items()}


def _trials(layer: Layer, fits: Sequence[Fit]) -> list[Trial]:
    """The best weight once so many input channels are gone that about `LEVEL` is lost; none where there is one."""
    channels = int(layer.weight.shape[1])
    inputs: np.ndarray = np.arange(int(layer.fan_in)).reshape(channels, -1)
    signal = total_signal(fits)
    readers = [Reader(fit.weight, fit.metric, list(inputs), signal) for fit in fits]
    price: Array = np.ones(channels)
    found = eliminate(readers, price, until=2 * LEVEL, rounds=ROUNDS)
    inner = np.log(np.maximum(found.losses[1:channels], LEAST))
    if not len(inner):
        return []
    gone = int(np.argmin(np.abs(inner - np.log(LEVEL)))) + 1
    left: np.ndarray = np.delete(inputs, found.order[:gone], axis=0).ravel()
    return [(float(found.losses[gone]), [_refitted(fit, left) for fit in fits])]


def _refitted(fit: Fit, left: np.ndarray) -> Array:
    """The best weight (n, d) that reads the columns `left` only."""
    weight = np.zeros_like(fit.weight)
    weight[:, left] = np.linalg.solve(fit.metric[np.ix_(left, left)], fit.metric[left] @ fit.weight.T).T
    return weight
