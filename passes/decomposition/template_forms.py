"""The forms of the pass `sbf`: what a Conv written as templates is made of, costs and loses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any, ClassVar

import numpy as np

from ...compiler.costs.workload import ConvWorkload, conv_workload
from ...compiler.graph.convs import Conv
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.shapes import Shapes
from ...compiler.graph.storage.templates import TemplateParts, write_dense, write_plugin, write_stock
from ..projection.fit import Fit
from ..projection.templates import Select, Templates, templates, templates_order
from .forms import Projection


@dataclass(eq=False)
class TemplateForm:
    """What stock and dense form share."""

    groups: int
    select: Select
    name: str = "stock"
    equal: ClassVar[bool] = True

    def check(self, conv: Conv) -> str | None:
        if conv.group > 1:
            return "grouped: templates are shared by all filters"
        if prod(conv.kernel) == 1:
            return "1 x 1: a filter scaled tap by tap is a multiple of its template"
        if conv.channels % self.groups:
            return f"its {conv.channels} channels are no multiple of {self.groups} groups"
        return None

    def limit(self, conv: Conv) -> int:
        return conv.filters

    def workloads(self, conv: Conv, size: int, shapes: Shapes) -> Sequence[ConvWorkload]:
        dense, taps = conv_workload(conv, shapes), prod(conv.kernel)
        ones, maps = (1,) * len(conv.kernel), self.groups * size * taps
        padded, before, after = size * -(-conv.filters // size), dense.positions_in, dense.positions_out
        first = replace(dense, channels_out=maps, kernel=ones, group=self.groups, positions_out=before, bias=False)
        second = replace(dense, channels_in=maps, channels_out=maps, group=maps, bias=False)
        return [
            first,
            second,
            replace(
                dense, channels_in=maps, channels_out=padded, kernel=ones, group=size, positions_in=after, bias=True
            ),
        ]

    def curve(self, conv: Conv, fits: Sequence[Fit], largest: int) -> np.ndarray:
        return templates_order(fits[0], self._shape(conv), self.select)[1][: largest + 1]

    def project(self, conv: Conv, fits: Sequence[Fit], size: int) -> Projection:
        order, _ = templates_order(fits[0], self._shape(conv), self.select)
        found = templates(fits[0], self._shape(conv), order[:size], self.equal)

        def write(rewriter: Rewriter, layer: Conv, bias: np.ndarray) -> None:
            self.write(rewriter, layer, found, bias)

        share, groups = size / conv.filters, self.groups / conv.channels
        return Projection([], [found.dense()], write, {"paper_ratio": share + groups - share * groups})

    def write(self, rewriter: Rewriter, conv: Conv, found: Templates, bias: np.ndarray) -> None:
        write_stock(rewriter, conv, TemplateParts(found.basis, found.transforms, found.choice), bias)

    def _shape(self, conv: Conv) -> tuple[int, int, int]:
        return self.groups, conv.channels // self.groups, prod(conv.kernel)


@dataclass(frozen=True)
class StoredWorkload(ConvWorkload):
    """A Conv of which fewer values are stored than its weight has."""

    stored: int = 0

    @property
    def params(self) -> int:
        return self.stored + self.channels_out


@dataclass(eq=False)
class DenseTemplateForm(TemplateForm):
    """Templates as a way to store a weight; `full`: stored as the dense weight it stands for."""

    name: str = "dense"
    full: bool = False
    equal: ClassVar[bool] = False

    def workloads(self, conv: Conv, size: int, shapes: Shapes) -> Sequence[ConvWorkload]:
        taps = prod(conv.kernel)
        stored = conv.channels * size * taps + conv.filters * self.groups * taps + conv.filters
        return [StoredWorkload(**_fields(conv, shapes), stored=stored)]

    def write(self, rewriter: Rewriter, conv: Conv, found: Templates, bias: np.ndarray) -> None:
        if self.full:
            conv.store(rewriter, found.dense(), bias)
        else:
            write_dense(rewriter, conv, TemplateParts(found.basis, found.transforms, found.choice), bias)


@dataclass(frozen=True)
class PluginWorkload(ConvWorkload):
    """A SpatialBasisConv: every template's maps at the output positions, then every filter's taps.

    Attributes:
        values: of templates and transforms; each is used once per output position.
    """

    values: int = 0

    @property
    def weights(self) -> int:
        return self.values


@dataclass(eq=False)
class PluginTemplateForm(TemplateForm):
    """One node for an engine that has the project's plugin."""

    name: str = "plugin"
    equal: ClassVar[bool] = False

    def check(self, conv: Conv) -> str | None:
        if str(conv.node.attrs.get("auto_pad", "NOTSET")).startswith("SAME"):
            return "auto_pad: the plugin takes stated pads"
        return super().check(conv)

    def workloads(self, conv: Conv, size: int, shapes: Shapes) -> Sequence[ConvWorkload]:
        taps = prod(conv.kernel)
        values = conv.channels * size * taps + conv.filters * self.groups * taps
        return [PluginWorkload(**_fields(conv, shapes), values=values)]

    def write(self, rewriter: Rewriter, conv: Conv, found: Templates, bias: np.ndarray) -> None:
        write_plugin(rewriter, conv, TemplateParts(found.basis, found.transforms, found.choice), bias)


def _fields(conv: Conv, shapes: Shapes) -> dict[str, Any]:
    dense = conv_workload(conv, shapes)
    return {**{name: getattr(dense, name) for name in ConvWorkload.__dataclass_fields__}, "bias": True}
