"""A Conv as a small set of basis filters and their mixture.

Two forms of basis; each Conv takes the one that loses less output energy for its cost:

    channel     y = U (V * x) + b           V: r basis filters (r, C/g, K, K), U: 1 x 1 mixture (N, r)
                MACs  P r (d + N)           against P N d, with d = C/g K^2 and P output positions
    separable   y = H *row (V *col x) + b   V: r filters (r, C/g, K, 1), H: (N, r, 1, K)
                MACs  P' r C/g K + P N r K  P': output rows times input columns (V strides along its own axis only)

With data the fit is the projection of the layer's best weight W* in the metric of its inputs (see `projection.fit`):
for the channel form the top eigenvectors of the outputs' covariance W* C W*^T, for the separable form alternating least
squares. Without data the metric is the identity, and both are truncated SVDs of the weight.

Sources: "Basis representation" for the channel form and its energy rule, Tayyab, Khan and Mahalanobis, ICIP 2021
(arXiv 2105.10436), from BasisConv (arXiv 1906.04509); separable filters, Jaderberg, Vedaldi and Zisserman, BMVC 2014
(arXiv 1405.3866), scheme 2. The papers cut the plain weight. Measured here on a ResNet-20 at half the MACs
of every layer, in the metric of the inputs, relative lost energy of the 18 inner Convs: channel form 3 to 20 %,
separable form 1 to 11 %.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Literal

import numpy as np

from ..compiler.costs.workload import ConvWorkload, conv_workload
from ..compiler.graph.convs import Conv
from ..compiler.graph.shapes import Shapes
from ..compiler.pipeline.base import option
from ..compiler.pipeline.registry import register
from .decomposition.base import DecompositionPass
from .decomposition.forms import Factor, Form, Projection
from .projection.fit import Fit
from .projection.lowrank import lowrank, lowrank_curve
from .projection.separable import compose, separable, separable_curve, separable_limit


class ChannelBasis:
    """r basis filters of the full kernel, mixed by a 1 x 1 Conv; one basis per group."""

    name = "channel"

    def check(self, conv: Conv) -> str | None:
        return None

    def limit(self, conv: Conv) -> int:
        return conv.filters // conv.group

    def workloads(self, conv: Conv, size: int, shapes: Shapes) -> list[ConvWorkload]:
        dense, ones = conv_workload(conv, shapes), (1,) * len(conv.kernel)
        after = dense.positions_out
        return [
            replace(dense, channels_out=conv.group * size, bias=False),
            replace(dense, channels_in=conv.group * size, kernel=ones, positions_in=after, bias=True),
        ]

    def curve(self, conv: Conv, fits: Sequence[Fit], largest: int) -> np.ndarray:
        return np.sum([lowrank_curve(fit)[: largest + 1] for fit in fits], axis=0)

    def project(self, conv: Conv, fits: Sequence[Fit], size: int) -> Projection:
        pairs = [lowrank(fit, size) for fit in fits]
        basis = np.concatenate([v.reshape(-1, *conv.weight.shape[1:]) for v, _ in pairs])
        mixture = np.concatenate([u for _, u in pairs]).reshape(conv.filters, size, *[1] * len(conv.kernel))
        factors = [Factor("basis", basis, range(len(conv.kernel))), Factor("mixture", mixture, ())]
        return Projection(factors, [u @ v for v, u in pairs])


class SeparableBasis:
    """r filters along the first kernel axis, mixed by filters along the second."""

    name = "separable"

    def check(self, conv: Conv) -> str | None:
        if len(conv.kernel) != 2 or min(conv.kernel) < 2:
            return "the kernel does not extend along two axes"
        return None

    def limit(self, conv: Conv) -> int:
        return separable_limit(conv.filters // conv.group, self._shape(conv))

    def workloads(self, conv: Conv, size: int, shapes: Shapes) -> list[ConvWorkload]:
        dense, between = conv_workload(conv, shapes), self._vertical_positions(conv, shapes)
        middle, (height, width) = conv.group * size, conv.kernel
        return [
            replace(dense, channels_out=middle, kernel=(height, 1), positions_out=between, bias=False),
            replace(dense, channels_in=middle, kernel=(1, width), positions_in=between, bias=True),
        ]

    def curve(self, conv: Conv, fits: Sequence[Fit], largest: int) -> np.ndarray:
        return np.sum([separable_curve(fit, self._shape(conv), largest) for fit in fits], axis=0)

    def project(self, conv: Conv, fits: Sequence[Fit], size: int) -> Projection:
        pairs = [separable(fit, self._shape(conv), size) for fit in fits]
        vertical = np.concatenate([v for v, _ in pairs])[:, :, :, None]
        horizontal = np.concatenate([h for _, h in pairs])[:, :, None, :]
        factors = [
            Factor("vertical", vertical, (0,)),
            Factor("horizontal", horizontal, (1,)),
        ]
        return Projection(factors, [compose(v, h) for v, h in pairs])

    def _vertical_positions(self, conv: Conv, shapes: Shapes) -> int | None:
        """Output rows times input columns: the first Conv strides along its own axis only."""
        if conv.output.name not in shapes or conv.input.name not in shapes:
            return None
        return shapes[conv.output.name][2] * shapes[conv.input.name][3]

    def _shape(self, conv: Conv) -> tuple[int, int, int]:
        channels, height, width = conv.weight.shape[1:]
        return channels, height, width


FORMS: dict[str, tuple[Form, ...]] = {
    "auto": (ChannelBasis(), SeparableBasis()),
    "channel": (ChannelBasis(),),
    "separable": (SeparableBasis(),),
}


@register
@dataclass(frozen=True)
class Basis(DecompositionPass):
    """Rewrite Convs as basis filters and a mixture of them.

    Left alone, with the reason in the report: depthwise Convs (each filter is its own basis), Convs that no basis makes
    cheaper (1 x 1 with few channels, first layers), and those out of --include / --exclude.
    """

    name: ClassVar[str] = "basis"
    form: Literal["auto", "channel", "separable"] = option(
        "auto", "which basis: channel (K x K then 1 x 1), separable (K x 1 then 1 x K)"
    )

    def forms(self) -> tuple[Form, ...]:
        return FORMS[self.form]

    def check(self, conv: Conv) -> str | None:
        if conv.group > 1 and conv.weight.shape[1] == 1:
            return "depthwise: every filter is its own basis"
        if prod(conv.weight.shape) == 0:
            return "empty weight"
        return None
