"""Normalizations, from sums: (x - mean) / sqrt(variance + epsilon) * scale + bias."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from .formula import ExpansionContext, Rule, Term

PER_CHANNEL = 21
"""The opset from which on GroupNormalization has a scale per channel, not per group."""


def _standardized(x: Term, shape: Sequence[int], axes: Sequence[int], epsilon: float) -> Term:
    count = prod(shape[axis] for axis in axes)
    centred = x - x.total(axes) * (1 / count)
    variance = (centred * centred).total(axes) * (1 / count)
    return centred / (variance + epsilon).apply("Sqrt")


def _affine(x: Term, scale: Term, bias: Term | None, shape: Sequence[int]) -> Term:
    scaled = x * scale.reshape(shape)
    return scaled if bias is None else scaled + bias.reshape(shape)


def _column(shape: Sequence[int]) -> list[int]:
    """For a vector that belongs to axis 1."""
    return [-1] + [1] * (len(shape) - 2)


def _batch(site: ExpansionContext) -> Term:
    if site.get("training_mode", 0):
        site.refuse("it takes the moments of the batch")
    x, scale, bias, mean, variance = (site.term(index) for index in range(5))
    column = _column(x.shape)
    gain = scale / (variance + site.get("epsilon", 1e-5)).apply("Sqrt")
    return _affine(x - mean.reshape(column), gain, bias, column)


def _instance(site: ExpansionContext) -> Term:
    shape = site.x.shape
    normal = _standardized(site.x, shape, range(2, len(shape)), site.get("epsilon", 1e-5))
    return _affine(normal, site.term(1), site.term(2), _column(shape))


def _layer(site: ExpansionContext) -> Term:
    if len([output for output in site.node.outputs if output.outputs]) > 1:
        site.refuse("its moments are used")
    shape = site.x.shape
    axes = range(site.get("axis", -1) % len(shape), len(shape))
    normal = _standardized(site.x, shape, axes, site.get("epsilon", 1e-5))
    bias = site.term(2) if site.has(2) else None
    return _affine(normal, site.term(1), bias, [shape[axis] for axis in axes])


def _group(site: ExpansionContext) -> Term:
    shape, groups, epsilon = site.x.shape, site.get("num_groups"), site.get("epsilon", 1e-5)
    rows = [shape[0], groups, prod(shape[1:]) // groups]
    normal = _standardized(site.x.reshape(rows), rows, [2], epsilon)
    if site.opset >= PER_CHANNEL:
        return _affine(normal.reshape(shape), site.term(1), site.term(2), _column(shape))
    return _affine(normal, site.term(1), site.term(2), [-1, 1]).reshape(shape)


def _lp(site: ExpansionContext) -> Term:
    axes = [site.get("axis", -1) % len(site.x.shape)]
    if site.get("p", 2) == 1:
        return site.x / abs(site.x).total(axes)
    return site.x / (site.x * site.x).total(axes).apply("Sqrt")


def _across_channels(site: ExpansionContext) -> Term:
    """Squares are summed over neighbouring channels by a product with a band of ones."""
    shape, size = site.x.shape, site.get("size")
    distance = np.arange(shape[1]) - np.arange(shape[1])[:, None]
    band = ((distance >= -((size - 1) // 2)) & (distance <= size // 2)).astype(np.float32)
    squares = (site.x * site.x).reshape([shape[0], shape[1], -1])
    sums = site.apply("MatMul", [band, squares]).reshape(shape) * (site.get("alpha", 1e-4) / size)
    return site.x / (sums + site.get("bias", 1.0)).apply("Pow", site.get("beta", 0.75))


NORMALIZATION: dict[str, Rule] = {
    "BatchNormalization": _batch,
    "InstanceNormalization": _instance,
    "LayerNormalization": _layer,
    "GroupNormalization": _group,
    "LpNormalization": _lp,
    "LRN": _across_channels,
}
