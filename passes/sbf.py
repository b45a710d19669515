"""Spatial basis filters: templates scaled tap by tap.

    W[n, c, k] = B[m(n), c, k] T[n, k]        M templates B, a K-tap transform T and a template m(n) per filter;
                                              with G groups of channels T has a K-tap transform per group

Templates, transforms and m are fitted to the layer's best weight in the metric of its inputs (`projection.templates`).
How many templates a layer gets is the budget's choice, along error curves; `select` says which of its filters they
start from: `greedy`, those that explain most of the others, or `magnitude`, the largest.

    form=stock   saves work: 1 x 1 Conv to the G M K maps of the templates, one depthwise tap each, 1 x 1 Conv with T
                     MACs  P' C M K  +  P G M K^2  +  P N G K          P', P: input and output positions
                 Every template serves ceil(N / M) filters, as the groups of a Conv are of equal size.
    form=dense   saves parameters: Gather(B, m) * T is the Conv's weight; in full for engines that need constants
                     stored  C M K  +  N G K  +  N

The paper counts M/N + G/C - GM/(CN) of a Conv's MACs (`paper_ratio` in the report): it does not count the taps' MACs,
and the kept filters need no transform. The stock form pays for both, and its first Conv runs at input resolution, so
a strided Conv is rarely cheaper.

Source: Miles and Mikolajczyk, "Reconstructing pruned filters using cheap spatial transformations", ICCV Workshops 2023
(arXiv 2110.12844), section 3. The paper trains; its global threshold on magnitudes is replaced by the budget here.

Top-1 of ResNet-20 (91.73) on the 10,000 CIFAR-10 test images, 1,024 unlabelled images:

    stock, MACs kept     0.8    91.3     0.65    90.3     0.5    87.6        (`basis:form=channel` at 0.65: 89.4)
      magnitude                          0.65    90.2
      groups=2                           0.65    90.1
    dense, params kept                                    0.5    85.5        magnitude 85.2, groups=2 85.8
    stock without data                   0.65    13.0

One run each, so differences of a few tenths say little: between `select` and `groups` none can be told. It needs data
or training. At half the MACs `basis` is better (90.1). For storage, `codebook` is far better.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.base import PassResult, option
from ..compiler.context import Context
from ..compiler.graph.convs import Conv
from ..compiler.graph.rewriter import Rewriter
from ..compiler.graph.templates import Parts, write_dense, write_stock
from ..compiler.pieces import Piece, as_piece
from ..compiler.registry import register
from ..compiler.shapes import Shapes
from .decomposition.base import DecompositionPass
from .decomposition.forms import Form, Projection
from .projection.fit import Fit
from .projection.templates import Select, Templates, templates, templates_order
from .sharing.base import FOLDED, why_full

FIRST_OPSET = 13


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

    def pieces(self, conv: Conv, size: int, shapes: Shapes) -> Sequence[Piece]:
        dense, taps = as_piece(conv, shapes), prod(conv.kernel)
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
        write_stock(rewriter, conv, Parts(found.basis, found.transforms, found.choice), bias)

    def _shape(self, conv: Conv) -> tuple[int, int, int]:
        return self.groups, conv.channels // self.groups, prod(conv.kernel)


@dataclass(frozen=True)
class StoredPiece(Piece):
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

    def pieces(self, conv: Conv, size: int, shapes: Shapes) -> Sequence[Piece]:
        dense, taps = as_piece(conv, shapes), prod(conv.kernel)
        stored = conv.channels * size * taps + conv.filters * self.groups * taps + conv.filters
        fields = {name: getattr(dense, name) for name in Piece.__dataclass_fields__}
        return [StoredPiece(**fields, stored=stored)]

    def write(self, rewriter: Rewriter, conv: Conv, found: Templates, bias: np.ndarray) -> None:
        if self.full:
            conv.store(rewriter, found.dense(), bias)
        else:
            write_dense(rewriter, conv, Parts(found.basis, found.transforms, found.choice), bias)


@register
@dataclass(frozen=True)
class SpatialBasisFilters(DecompositionPass):
    """Write the filters of Convs as templates scaled tap by tap.

    Left alone, with the reason in the report: grouped and 1 x 1 Convs, Convs that no number of templates makes cheaper,
    and those out of --include / --exclude.
    """

    name: ClassVar[str] = "sbf"
    form: Literal["stock", "dense"] = option(
        "stock", "stock: fewer MACs, three Convs; dense: fewer parameters, one Conv"
    )
    groups: int = option(1, "groups of input channels, each with a transform of its own")
    select: Literal["greedy", "magnitude"] = option(
        "greedy", "templates start from the filters that explain most, or from the largest"
    )
    storage: Literal["auto", "shared", "full"] = option(
        "auto", "form=dense: what the file holds, the parts, full weights, or what the target takes"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.groups < 1:
            raise ValueError(f"groups={self.groups}: expected a positive integer")

    def forms(self) -> Sequence[Form]:
        if self.form == "stock":
            return [TemplateForm(self.groups, self.select)]
        return [DenseTemplateForm(self.groups, self.select, full=self.storage == "full")]

    def check(self, conv: Conv) -> str | None:
        return "empty weight" if prod(conv.weight.shape) == 0 else None

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        if self.form == "stock" or self.storage == "full":
            return super().run(graph, ctx)
        why = why_full(self.storage, ctx.target, graph.opset, FIRST_OPSET)
        if why is None:
            return super().run(graph, ctx)
        result = replace(self, storage="full").run(graph, ctx)
        result.notes.append(FOLDED.format(why=why))
        return result
