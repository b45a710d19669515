"""Reductions, as sums and as the first of a sorted axis."""

from __future__ import annotations

from math import prod

from .formula import ExpansionContext, Rule, Term


def _axes(site: ExpansionContext) -> list[int]:
    """Not negative, in order; all where none are given."""
    axes, rank = site.setting("axes", 1), len(site.x.shape)
    return sorted(axis % rank for axis in axes) if axes else list(range(rank))


def _total(site: ExpansionContext, x: Term) -> Term:
    return x.total(_axes(site), site.get("keepdims", 1))


def _extreme(site: ExpansionContext, largest: int) -> Term:
    """The first of the reduced elements, sorted; of several that are equal one has the gradient."""
    shape, axes = site.x.shape, _axes(site)
    rest = [axis for axis in range(len(shape)) if axis not in axes]
    rows = site.x.transpose([*rest, *axes]).reshape([prod(shape[axis] for axis in rest), -1])
    return rows.apply("TopK", [1], outputs=2, axis=1, largest=largest).reshape(site.result)


REDUCTIONS: dict[str, Rule] = {
    "ReduceMax": lambda site: _extreme(site, 1),
    "ReduceMin": lambda site: _extreme(site, 0),
    "ReduceL1": lambda site: _total(site, abs(site.x)),
    "ReduceSumSquare": lambda site: _total(site, site.x * site.x),
    "ReduceLogSum": lambda site: _total(site, site.x).apply("Log"),
}
