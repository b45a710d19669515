"""W = S + L with S on some output rows: Conv([V; S]) -> Conv 1 x 1 ([U, E]), no Add. E: 0/1 columns that hand S on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from ...compiler.costs.workload import ConvWorkload, conv_workload
from ...compiler.graph.convs import Conv
from ...compiler.graph.shapes import Shapes
from ..decomposition.forms import Factor, Projection
from ..projection.admm import AdmmProblem
from ..projection.fit import Array, Fit
from ..projection.lowrank import lowrank, lowrank_curve
from ..projection.partition import output_scores, rows_of
from .fitting import DEFAULT, SparsityOptions, activation_figures, first_error, refit_projection, support


@dataclass(eq=False)
class RowGroups:
    """S on a share of the output rows, L on the others; the size is q + r. Up to size q there is no L."""

    share: float
    settings: SparsityOptions = DEFAULT
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"rows+{self.share:g}"

    def check(self, conv: Conv) -> str | None:
        if conv.group > 1:
            return "grouped: S would be some filters of some groups"
        return None if self._count(conv) else f"a share {self.share:g} of {conv.filters} filters is none"

    def limit(self, conv: Conv) -> int:
        return conv.filters

    def workloads(self, conv: Conv, size: int, shapes: Shapes) -> list[ConvWorkload]:
        dense, ones = conv_workload(conv, shapes), (1,) * len(conv.kernel)
        mixture = replace(dense, channels_in=size, kernel=ones, positions_in=dense.positions_out, bias=True)
        return [replace(dense, channels_out=size, bias=False), mixture]

    def curve(self, conv: Conv, fits: Sequence[Fit], largest: int) -> np.ndarray:
        fit, count = fits[0], self._count(conv)
        order = np.argsort(-output_scores(fit, first_error(fit)), kind="stable")
        energies = output_scores(fit, fit.weight)[order]
        alone = energies.sum() - np.append(0.0, np.cumsum(energies))[:count]
        return np.append(alone, lowrank_curve(rows_of(fit, np.sort(order[count:]))))[: largest + 1]

    def project(self, conv: Conv, fits: Sequence[Fit], size: int) -> Projection:
        fit, count = fits[0], min(size, self._count(conv))
        settings = self.settings
        problem = AdmmProblem("rows", prod(conv.kernel), count, size - count, settings.iterations, settings.penalty)
        scores = output_scores(fit, first_error(fit))
        found = support(fit, problem, scores, lambda rows: _dense(rows, size, fit))
        refitted = refit_projection(fit, lambda moved: _dense(found.groups, size, moved), settings)
        basis, mixed = factors_of(found.groups, size, refitted.fit)
        figures = {**found.figures, **activation_figures([refitted])}
        return Projection(_factors(conv, basis, mixed), [mixed @ basis], None, figures, [refitted.bias])

    def _count(self, conv: Conv) -> int:
        """q."""
        return round(self.share * conv.filters)


def factors_of(rows: np.ndarray, size: int, fit: Fit) -> tuple[Array, Array]:
    """[V; S] (size, d) and [U, E] (n, size) for S on given rows."""
    others = np.setdiff1d(np.arange(len(fit.weight)), rows)
    basis, mixture = lowrank(rows_of(fit, others), size - len(rows))
    mixed = np.zeros((len(fit.weight), size))
    mixed[others, : len(basis)] = mixture
    mixed[rows, len(basis) + np.arange(len(rows))] = 1
    return np.concatenate([basis, fit.weight[rows]]), mixed


def _dense(rows: np.ndarray, size: int, fit: Fit) -> Array:
    basis, mixed = factors_of(rows, size, fit)
    return mixed @ basis


def _factors(conv: Conv, basis: Array, mixed: Array) -> list[Factor]:
    ones = [1] * len(conv.kernel)
    return [
        Factor("basis", basis.reshape(-1, *conv.weight.shape[1:]), range(len(conv.kernel))),
        Factor("mixture", mixed.reshape(*mixed.shape, *ones), ()),
    ]
