"""Operators that move elements, as Reshape, Transpose, Slice and Gather."""

from __future__ import annotations

from itertools import accumulate
from typing import Any

import numpy as np

from .formula import ExpansionContext, Rule, Term


def _depth_to_space(site: ExpansionContext) -> Term:
    (n, _, h, w), b = site.x.shape, site.get("blocksize")
    if site.get("mode", "DCR") == "CRD":
        return site.x.reshape([n, -1, b, b, h, w]).transpose([0, 1, 4, 2, 5, 3]).reshape([n, -1, h * b, w * b])
    return site.x.reshape([n, b, b, -1, h, w]).transpose([0, 3, 4, 1, 5, 2]).reshape([n, -1, h * b, w * b])


def _space_to_depth(site: ExpansionContext) -> Term:
    (n, c, h, w), b = site.x.shape, site.get("blocksize")
    blocks = site.x.reshape([n, c, h // b, b, w // b, b]).transpose([0, 3, 5, 1, 2, 4])
    return blocks.reshape([n, c * b * b, h // b, w // b])


def _pad(site: ExpansionContext) -> Term | None:
    """Constants are padded as they are, on all axes; other modes repeat elements."""
    mode: Any = site.get("mode", "constant")
    if mode == "constant" and not site.has(3):
        return None
    pads = _all_pads(site)
    if mode == "constant":
        before, after = zip(*pads, strict=True)
        return site.x.apply("Pad", [*before, *after], site.term(2) if site.has(2) else None)
    x = site.x
    for axis, (size, (before, after)) in enumerate(zip(site.x.shape, pads, strict=True)):
        if before or after:
            padded = np.pad(np.arange(size), (max(before, 0), max(after, 0)), mode)
            x = x.pick(axis, padded[max(-before, 0) : len(padded) - max(-after, 0)])
    return x if site.made else x.apply("Identity")


def _all_pads(site: ExpansionContext) -> list[tuple[int, int]]:
    """Elements before and after, by axis."""
    given, rank = site.setting("pads", 1) or [], len(site.x.shape)
    axes = site.setting("axes", 3) or list(range(rank))
    pads = [(0, 0)] * rank
    for axis, before, after in zip(axes, given, given[len(axes) :], strict=False):
        pads[axis] = (before, after)
    return pads


def _slice(site: ExpansionContext) -> Term | None:
    """Backwards, it has no gradient."""
    if not site.has(4) or all(step > 0 for step in site.setting("steps", 4) or []):
        return None
    starts, ends, steps = ([int(v) for v in site.setting("", index) or []] for index in (1, 2, 4))
    x = site.x
    for axis, *bounds in zip(site.setting("axes", 3) or range(len(starts)), starts, ends, steps, strict=True):
        x = x.pick(axis, np.arange(site.x.shape[axis])[slice(*bounds)])
    return x


def _split(site: ExpansionContext) -> list[Term]:
    """Its gradient takes for granted that every part has one."""
    axis: int = site.get("axis", 0)
    ends = list(accumulate(site.shape_of(part)[axis] for part in site.node.outputs))
    return [site.x.apply("Slice", [start], [end], [axis]) for start, end in zip([0, *ends[:-1]], ends, strict=True)]


LAYOUT: dict[str, Rule] = {
    "DepthToSpace": _depth_to_space,
    "SpaceToDepth": _space_to_depth,
    "Pad": _pad,
    "Slice": _slice,
    "Split": _split,
}
