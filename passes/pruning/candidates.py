"""Which channel groups can be pruned, in which order their units go, and what that loses."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.costs.channel_macs import ChannelMacs
from ...compiler.graph.channels import Channels, Group, Part
from ...compiler.graph.shapes import Shapes
from ...compiler.pipeline.base import Decision
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...runtime.rows import Layer
from ..fitting.fits import fittable_layers
from ..fitting.lockstep import curve_fits
from ..fitting.samples import SPARE
from ..projection.elimination import Reader, eliminate
from ..projection.fit import Array, Fit, total_signal
from ..sensitivity.measure import SensitivityMeter
from .sensitivity import OPTIONS, Gains

Score = Callable[[Array], Array]


@dataclass(frozen=True, eq=False)
class PruningCandidate:
    """A group that can be pruned.

    Attributes:
        order: (size,) its units, the first to go first.
        losses: (size + 1,) lost output energy of the layers that read it, each relative to its signal and as often as
            it counts (`sensitivity`), once 0, 1, ... units are gone.
        scores: (size,) the criterion's value for each unit, in the order of removal.
        sizes: how many units may be gone, 0 first.
    """

    group: Group
    order: np.ndarray
    losses: Array
    scores: Array
    sizes: np.ndarray

    @property
    def name(self) -> str:
        return self.group.name

    def relative_to(self, scale: float, criteria: PruningCriteria) -> PruningCandidate:
        """With losses, and scores that are losses, on another scale."""
        scores = self.scores / scale if criteria.score is None else self.scores
        return replace(self, losses=self.losses / scale, scores=scores)

    def kept(self, gone: int) -> np.ndarray:
        """The units that stay, in their old order."""
        return np.sort(self.order[gone:])


@dataclass(frozen=True)
class PruningCriteria:
    """How units are ordered.

    Attributes:
        score: significance of the filters from their weights (size, d); None orders by the loss per MAC saved.
        align, minimum: of the numbers of units kept.
        ridge: see `projection.fit`.
        data: samples for the metrics; None compares weights.
        meter: of what the error of each layer counts; None counts all the same.
    """

    score: Score | None
    align: int
    minimum: int
    ridge: float
    data: Data | None = None
    meter: SensitivityMeter | None = None


def prunable_groups(channels: Channels, ctx: Context, criteria: PruningCriteria) -> tuple[list[Group], list[Decision]]:
    """The groups to prune, and a decision with the reason for every layer that makes the others."""
    groups: list[Group] = []
    skipped: list[Decision] = []
    for group in channels.groups:
        reason = _reason(group, ctx, criteria)
        if reason is None:
            groups.append(group)
        else:
            skipped += [Decision(name, "skipped", reason, {"units": group.size}) for name in producer_names(group)]
    return groups, skipped


def survey(
    graph: gs.Graph,
    ctx: Context,
    channels: Channels,
    groups: Sequence[Group],
    shapes: Shapes,
    criteria: PruningCriteria,
) -> list[PruningCandidate]:
    """A candidate for each of `groups`."""
    macs = ChannelMacs(channels, shapes)
    gains = _gains(graph, ctx, criteria) if groups else Gains(None)
    found: dict[Group, PruningCandidate] = {}
    for group, readers in _readers(graph, ctx, groups, criteria, gains):
        found[group] = _candidate(group, readers, macs.saved(group), criteria)
    return [found[group].relative_to(gains.scale, criteria) for group in groups]


def producer_names(group: Group) -> list[str]:
    """The names of the layers that make its channels."""
    return list(dict.fromkeys(part.node.name for part in group.producers))


def unit_weights(group: Group) -> Array:
    """(size, d) what makes each unit: the filters of all its layers, one after the other."""
    return np.hstack([_rows(part, group.size) for part in group.producers])


def allowed(size: int, align: int, minimum: int) -> np.ndarray:
    """How many of `size` units may be gone: none, or so many that a multiple of `align`, and `minimum`, stay."""
    left = np.arange(align, size, align)
    return np.concatenate([[0], size - left[left >= max(1, minimum)][::-1]])


def _reason(group: Group, ctx: Context, criteria: PruningCriteria) -> str | None:
    if group.frozen is not None:
        return " < ".join([f"its channels stay: {group.frozen}", *reversed(group.chain)])
    scope = next(filter(None, map(ctx.unselected, producer_names(group))), None)
    if scope is not None:
        return scope
    if len(allowed(group.size, criteria.align, criteria.minimum)) < 2:
        return f"{group.size} units: none can go with align={criteria.align} and minimum={criteria.minimum}"
    return None if np.isfinite(unit_weights(group)).all() else "its weight holds NaN or Inf"


def _candidate(
    group: Group, readers: Sequence[Reader], saved: np.ndarray, criteria: PruningCriteria
) -> PruningCandidate:
    price = np.maximum(saved, 1).astype(np.float64)
    order, scores = None, None
    if criteria.score is not None:
        scores = criteria.score(unit_weights(group).astype(np.float64))
        order = np.argsort(scores, kind="stable")
    found = eliminate(readers, price, order)
    values = np.diff(found.losses) if scores is None else scores[found.order]
    return PruningCandidate(
        group, found.order, found.losses, values, allowed(group.size, criteria.align, criteria.minimum)
    )


def _gains(graph: gs.Graph, ctx: Context, criteria: PruningCriteria) -> Gains:
    """Raises `CompressError`: the table's file is none, or there is nothing to measure on."""
    if criteria.meter is not None and criteria.data is not None:
        criteria.meter.prepare(graph, ctx, criteria.data, {"pass": "prune", "options": [criteria.ridge, *OPTIONS]})
        return Gains(criteria.meter)
    return Gains(None)


def _readers(
    graph: gs.Graph, ctx: Context, groups: Sequence[Group], criteria: PruningCriteria, gains: Gains
) -> Iterator[tuple[Group, list[Reader]]]:
    """Each group once all layers that read it are known; where some of them are not fitted, at the end, when it is
    known how much these count."""
    read = {id(part.node) for group in groups for part in group.consumers}
    layers = fittable_layers(graph, read) if criteria.data is not None else []
    measured = {id(layer.node) for layer in layers}
    waiting = {group: {id(part.node) for part in group.consumers} for group in groups}
    readers: dict[Group, list[Reader]] = {group: [] for group in groups}
    with ctx.progress("filters that can go", len(layers)) as advance:
        for layer, fits in curve_fits(graph, ctx, layers, criteria.data, criteria.ridge, spare=SPARE):
            gain = gains.of(layer, fits)
            for group in [group for group in readers if id(layer.node) in waiting[group]]:
                readers[group] += _dense(layer, fits, group, gain)
                waiting[group].discard(id(layer.node))
                if not waiting[group]:
                    yield group, readers.pop(group)
            advance(layer.name)
    for group, known in readers.items():
        plain = [_plain(part, group.size) for part in group.consumers if id(part.node) not in measured]
        yield group, [*known, *(replace(reader, signal=reader.signal / gains.scale) for reader in plain)]


def _dense(layer: Layer, fits: Sequence[Fit], group: Group, gain: float) -> list[Reader]:
    parts = [part for part in group.consumers if part.node is layer.node]
    span = layer.fan_in // layer.weight.shape[1]
    columns = [np.concatenate(each) for each in zip(*(_columns(p, group.size, span) for p in parts), strict=True)]
    signal = total_signal(fits) / gain
    return [Reader(fit.weight, fit.metric, columns, signal) for fit in fits]


def _plain(part: Part, size: int) -> Reader:
    """A layer in the identity metric."""
    weight: Array = part.entries().T.astype(np.float64)
    position = np.arange(len(part.index))
    columns = [position[part.unit == unit] for unit in range(size)]
    return Reader(weight, np.ones(len(part.index)), columns, float(np.sum(weight**2)))


def _columns(part: Part, size: int, span: int) -> list[np.ndarray]:
    """The columns of the flattened weight that each unit owns: `span` for a channel."""
    return [(part.index[part.unit == unit][:, None] * span + np.arange(span)).ravel() for unit in range(size)]


def _rows(part: Part, size: int) -> Array:
    """(size, d) the entries of each unit in one constant, zeros where it has fewer than others."""
    entries = part.entries().astype(np.float64)
    most = int(np.bincount(part.unit, minlength=size).max(initial=0))
    rows = np.zeros((size, most, entries.shape[1]))
    seen = np.zeros(size, np.int64)
    for unit, entry in zip(part.unit.tolist(), entries, strict=True):
        rows[unit, seen[unit]] = entry
        seen[unit] += 1
    return rows.reshape(size, -1)
