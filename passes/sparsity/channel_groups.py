"""W = S + L with S on some input channels: Gather -> Conv(S), and Gather -> the chain of L on the others, and Add."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np

from ...compiler.costs.workload import ConvWorkload, conv_workload
from ...compiler.graph.convs import Conv
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.shapes import Shapes
from ..decomposition.branches import Branch, copy_workload, emit_sum, reading
from ..decomposition.forms import Factor, Form, Projection
from ..projection.admm import AdmmProblem
from ..projection.fit import Array, Fit
from ..projection.partition import Partition, input_scores
from .fitting import DEFAULT, SparsityOptions, activation_figures, first_error, largest, refit_projection, support


@dataclass(eq=False)
class ChannelGroups:
    """S on a share of the input channels, L (`low`) on the others; the size is the rank of L.

    Attributes:
        separable: L is (the ADMM then looks at the rank of its rearrangement).
        multiple: the number of channels of S is one of this.
    """

    low: Form
    share: float
    separable: bool = False
    multiple: int = 1
    settings: SparsityOptions = DEFAULT
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = f"{self.low.name}+{self.share:g}"

    def check(self, conv: Conv) -> str | None:
        if conv.group > 1:
            return "grouped: S would read some channels of some groups"
        if not 0 < self._count(conv) < conv.channels:
            return f"a share {self.share:g} of {conv.channels} channels is none, or all of them"
        return self.low.check(conv)

    def limit(self, conv: Conv) -> int:
        return self.low.limit(self._narrow(conv))

    def workloads(self, conv: Conv, size: int, shapes: Shapes) -> list[ConvWorkload]:
        count, dense = self._count(conv), conv_workload(conv, shapes)
        sparse = replace(dense, channels_in=count, bias=False)
        low = self.low.workloads(self._narrow(conv), size, shapes)
        return [copy_workload(dense, conv.channels - count), *low, copy_workload(dense, count), sparse]

    def curve(self, conv: Conv, fits: Sequence[Fit], largest: int) -> np.ndarray:
        parts = self._parts(conv, self._first(conv, fits[0]))
        return self.low.curve(self._narrow(conv), [parts.reduced(fits[0])], largest)

    def project(self, conv: Conv, fits: Sequence[Fit], size: int) -> Projection:
        fit, taps = fits[0], prod(conv.kernel)
        shape = conv.weight.shape[1:] if self.separable else None
        problem = AdmmProblem(
            "channels", taps, self._count(conv), size, self.settings.iterations, self.settings.penalty, shape
        )
        scores = input_scores(fit, first_error(fit), taps)
        found = support(fit, problem, scores, lambda groups: self._dense(conv, groups, size, fit))
        refitted = refit_projection(fit, lambda moved: self._dense(conv, found.groups, size, moved), self.settings)
        written = self._written(conv, found.groups, size, refitted.fit)
        return replace(written, bias=[refitted.bias], figures={**found.figures, **activation_figures([refitted])})

    def _count(self, conv: Conv) -> int:
        """q."""
        return -(-round(self.share * conv.channels) // self.multiple) * self.multiple

    def _narrow(self, conv: Conv) -> Conv:
        """A Conv with as many input channels as L reads."""
        return replace(conv, weight=conv.weight[:, : conv.channels - self._count(conv)])

    def _first(self, conv: Conv, fit: Fit) -> np.ndarray:
        return largest(input_scores(fit, first_error(fit), prod(conv.kernel)), self._count(conv))

    def _parts(self, conv: Conv, chosen: np.ndarray) -> Partition:
        return Partition.of(chosen, conv.channels, prod(conv.kernel))

    def _low(self, conv: Conv, chosen: np.ndarray, size: int, fit: Fit) -> Projection:
        others = np.setdiff1d(np.arange(conv.channels), chosen)
        return self.low.project(reading(conv, others), [self._parts(conv, chosen).reduced(fit)], size)

    def _dense(self, conv: Conv, chosen: np.ndarray, size: int, fit: Fit) -> Array:
        return self._parts(conv, chosen).joined(fit, self._low(conv, chosen, size, fit).dense[0])

    def _written(self, conv: Conv, chosen: np.ndarray, size: int, fit: Fit) -> Projection:
        low, parts = self._low(conv, chosen, size, fit), self._parts(conv, chosen)
        dense = parts.joined(fit, low.dense[0])
        weight = dense[:, parts.free].reshape(conv.filters, len(chosen), *conv.kernel)
        sparse = Factor("sparse", weight, range(len(conv.kernel)))
        others = np.setdiff1d(np.arange(conv.channels), chosen)
        branches = [Branch("others", others, low.factors), Branch("chosen", chosen, [sparse])]

        def write(rewriter: Rewriter, layer: Conv, bias: np.ndarray) -> None:
            emit_sum(rewriter, layer, branches, bias)

        return Projection([], [dense], write)


@dataclass(eq=False)
class LowRankOnly:
    """L alone, fitted through the activation; one L per group of the Conv."""

    low: Form
    settings: SparsityOptions = DEFAULT
    name: str = field(init=False)

    def __post_init__(self) -> None:
        self.name = self.low.name

    def check(self, conv: Conv) -> str | None:
        return self.low.check(conv)

    def limit(self, conv: Conv) -> int:
        return self.low.limit(conv)

    def workloads(self, conv: Conv, size: int, shapes: Shapes) -> Sequence[ConvWorkload]:
        return self.low.workloads(conv, size, shapes)

    def curve(self, conv: Conv, fits: Sequence[Fit], largest: int) -> np.ndarray:
        return self.low.curve(conv, fits, largest)

    def project(self, conv: Conv, fits: Sequence[Fit], size: int) -> Projection:
        one = replace(conv, weight=conv.weight[: conv.filters // conv.group], group=1)
        refitted = [
            refit_projection(fit, lambda moved: self.low.project(one, [moved], size).dense[0], self.settings)
            for fit in fits
        ]
        found = self.low.project(conv, [each.fit for each in refitted], size)
        return replace(found, bias=[each.bias for each in refitted], figures=activation_figures(refitted))
