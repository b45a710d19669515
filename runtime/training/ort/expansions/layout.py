"""Operators that move elements, as Reshape, Transpose, Slice and Gather."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np

from .formula import Expansion, ExpansionContext, Term


def _depth_to_space(ctx: ExpansionContext) -> Term:
    (n, _, h, w), b = ctx.x.shape, ctx.get("blocksize")
    if ctx.get("mode", "DCR") == "CRD":
        return ctx.x.reshape([n, -1, b, b, h, w]).transpose([0, 1, 4, 2, 5, 3]).reshape([n, -1, h * b, w * b])
    return ctx.x.reshape([n, b, b, -1, h, w]).transpose([0, 3, 4, 1, 5, 2]).reshape([n, -1, h * b, w * b])


def _space_to_depth(ctx: ExpansionContext) -> Term:
    (n, c, h, w), b = ctx.x.shape, ctx.get("blocksize")
    blocks = ctx.x.reshape([n, c, h // b, b, w // b, b]).transpose([0, 3, 5, 1, 2, 4])
    return blocks.reshape([n, c * b * b, h // b, w // b])


def _pad(ctx: ExpansionContext) -> Term | None:
    """Constants are padded as they are, on all axes; other modes repeat elements."""
    mode: Any = ctx.get("mode", "constant")
    if mode == "constant" and not ctx.has(3):
        return None
    pads = _all_pads(ctx)
    if mode == "constant":
        before, after = zip(*pads, strict=True)
        return ctx.x.apply("Pad", [*before, *after], ctx.term(2) if ctx.has(2) else None)
    x = ctx.x
    for axis, (size, (before, after)) in enumerate(zip(ctx.x.shape, pads, strict=True)):
        if before or after:
            padded = np.pad(np.arange(size), (max(before, 0), max(after, 0)), mode)
            x = x.pick(axis, padded[max(-before, 0) : len(padded) - max(-after, 0)])
    return x if ctx.made else x.apply("Identity")


def _all_pads(ctx: ExpansionContext) -> list[tuple[int, int]]:
    """Elements before and after, by axis."""
    given, rank = ctx.setting("pads", 1) or [], len(ctx.x.shape)
    axes = ctx.setting("axes", 3) or list(range(rank))
    pads = [(0, 0)] * rank
    for axis, before, after in zip(axes, given, given[len(axes) :], strict=False):
        pads[axis] = (before, after)
    return pads


def _slice(ctx: ExpansionContext) -> Term | None:
    """Backwards, it has no gradient."""
    if not ctx.has(4) or all(step > 0 for step in ctx.setting("steps", 4) or []):
        return None
    starts, ends, steps = ([int(v) for v in ctx.setting("", index) or []] for index in (1, 2, 4))
    x = ctx.x
    for axis, *bounds in zip(ctx.setting("axes", 3) or range(len(starts)), starts, ends, steps, strict=True):
        x = x.pick(axis, np.arange(ctx.x.shape[axis])[slice(*bounds)])
    return x


def _split(ctx: ExpansionContext) -> list[Term]:
    """Its gradient takes for granted that every part has one."""
    axis: int = ctx.get("axis", 0)
    ends = list(accumulate(ctx.shape_of(part)[axis] for part in ctx.node.outputs))
    return [ctx.x.apply("Slice", [start], [end], [axis]) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


LAYOUT: dict[str, Expansion] = {
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
}
