"""Normalizations, from sums: (x - mean) / sqrt(variance + epsilon) * scale + bias."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import numpy as np

from .formula import Expansion, ExpansionContext, Term

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


def _batch(ctx: ExpansionContext) -> Term:
    if ctx.get("training_mode", 0):
        ctx.refuse("it takes the moments of the batch")
    x, scale, bias, mean, variance = (ctx.term(index) for index in range(5))
    column = _column(x.shape)
    gain = scale / (variance + ctx.get("epsilon", 1e-5)).apply("Sqrt")
    return _affine(x - mean.reshape(column), gain, bias, column)


def _instance(ctx: ExpansionContext) -> Term:
    shape = ctx.x.shape
    normal = _standardized(ctx.x, shape, range(2, len(shape)), ctx.get("epsilon", 1e-5))
    return _affine(normal, ctx.term(1), ctx.term(2), _column(shape))


def _layer(ctx: ExpansionContext) -> Term:
    if len([output for output in ctx.node.outputs if output.outputs]) > 1:
        ctx.refuse("its moments are used")
    shape = ctx.x.shape
    axes = range(ctx.get("axis", -1) % len(shape), len(shape))
    normal = _standardized(ctx.x, shape, axes, ctx.get("epsilon", 1e-5))
    bias = ctx.term(2) if ctx.has(2) else None
    return _affine(normal, ctx.term(1), bias, [shape[axis] for axis in axes])


def _group(ctx: ExpansionContext) -> Term:
    shape, groups, epsilon = ctx.x.shape, ctx.get("num_groups"), ctx.get("epsilon", 1e-5)
    rows = [shape[0], groups, prod(shape[1:]) // groups]
    normal = _standardized(ctx.x.reshape(rows), rows, [2], epsilon)
    if ctx.opset >= PER_CHANNEL:
        return _affine(normal.reshape(shape), ctx.term(1), ctx.term(2), _column(shape))
    return _affine(normal, ctx.term(1), ctx.term(2), [-1, 1]).reshape(shape)


def _lp(ctx: ExpansionContext) -> Term:
    axes = [ctx.get("axis", -1) % len(ctx.x.shape)]
    if ctx.get("p", 2) == 1:
        return ctx.x / abs(ctx.x).total(axes)
    return ctx.x / (ctx.x * ctx.x).total(axes).apply("Sqrt")


def _across_channels(ctx: ExpansionContext) -> Term:
    """Squares are summed over neighbouring channels by a product with a band of ones."""
    shape, size = ctx.x.shape, ctx.get("size")
    distance = np.arange(shape[1]) - np.arange(shape[1])[:, None]
    band = ((distance >= -((size - 1) // 2)) & (distance <= size // 2)).astype(np.float32)
    squares = (ctx.x * ctx.x).reshape([shape[0], shape[1], -1])
    sums = ctx.apply("MatMul", [band, squares]).reshape(shape) * (ctx.get("alpha", 1e-4) / size)
    return ctx.x / (sums + ctx.get("bias", 1.0)).apply("Pow", ctx.get("beta", 0.75))


NORMALIZATION: dict[str, Expansion] = {
    "BatchNormalization": _batch,
    "InstanceNormalization": _instance,
    "LayerNormalization": _layer,
    "GroupNormalization": _group,
    "LpNormalization": _lp,
    "LRN": _across_channels,
}
