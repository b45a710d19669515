"""The best dense weight of a layer, seen through the activation behind it where rows came with its fits.

A sum that a Relu cuts off has to be right only where it is positive. In front of a gap that decides: with x = relu(s)
and y = relu(x + f(x)), what is wanted of s is x + f(x), which no linear layer gives where s is negative, and need not.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ...runtime.rows import Layer, stored_weight
from ..projection.activation_aware import ActivationAwareFit, refit_activation_aware
from ..projection.fit import Array, Fit

STEPS = 10


def dense_layer(layer: Layer, fits: Sequence[Fit], through: bool = True) -> tuple[list[Array], Array]:
    """Per group the weight (n, d), and the bias (N,): the stored ones where nothing is better on rows that are held.

    Args:
        through: see through the activation.
    """
    if not through:
        return [fit.weight for fit in fits], np.concatenate([fit.bias(fit.weight) for fit in fits])
    weights, biases = (part.astype(np.float64) for part in stored_weight(layer))
    pairs = [_seen_through(fit, *stored) for fit, *stored in zip(fits, weights, biases, strict=True)]
    return [weight for weight, _ in pairs], np.concatenate([bias for _, bias in pairs])


def _seen_through(fit: Fit, weight: Array, bias: Array) -> tuple[Array, Array]:
    if not isinstance(fit, ActivationAwareFit) or fit.samples is None:
        return fit.weight, fit.bias(fit.weight)
    _, held = fit.samples.parted()
    found = refit_activation_aware(fit, _weight, STEPS)
    if held.error(held.outputs(weight, bias)) <= min(found.errors):
        return weight, bias
    return found.weight, found.bias


def _weight(fit: Fit) -> Array:
    return fit.weight
