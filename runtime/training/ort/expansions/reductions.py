"""Reductions, as sums and as the first of a sorted axis."""

from __future__ import annotations

from math import prod

from .formula import Expansion, ExpansionContext, Term


def _axes(ctx: ExpansionContext) -> list[int]:
    """Not negative, in order; all where none are given."""
    axes, rank = ctx.setting("axes", 1), len(ctx.x.shape)
    return sorted(axis % rank for axis in axes) if axes else list(range(rank))


def _total(ctx: ExpansionContext, x: Term) -> Term:
    return x.total(_axes(ctx), ctx.get("keepdims", 1))


def _extreme(ctx: ExpansionContext, largest: int) -> Term:
    """The first of the reduced elements, sorted; of several that are equal one has the gradient."""
    shape, axes = ctx.x.shape, _axes(ctx)
    rest = [axis for axis in range(len(shape)) if axis not in axes]
    rows = ctx.x.transpose([*rest, *axes]).reshape([prod(shape[axis] for axis in rest), -1])
    return rows.apply("TopK", [1], outputs=2, axis=1, largest=largest).reshape(ctx.result)


REDUCTIONS: dict[str, Expansion] = {
    "ReduceMax": lambda ctx: _extreme(ctx, 1),
    "ReduceMin": lambda ctx: _extreme(ctx, 0),
    "ReduceL1": lambda ctx: _total(ctx, abs(ctx.x)),
    "ReduceSumSquare": lambda ctx: _total(ctx, ctx.x * ctx.x),
    "ReduceLogSum": lambda ctx: _total(ctx, ctx.x).apply("Log"),
}
