"""A decomposition of your own: a K x K Conv as a depthwise K x K Conv and a 1 x 1 Conv.

    y = U (V * x) + b        V: r filters of every input channel (C r, 1, K, K), group C;   U: 1 x 1 mixture (N, C r)
    MACs  P C r (K^2 + N)    against P C N K^2, with P output positions

Any weight is of this form at r = min(N, K^2): the slice W[:, c] (N, K^2) of a channel has no higher rank. V takes the
right singular vectors of the slice in the metric of that channel; U is the least-squares fit of all outputs to V * x.

onnx-compress model.onnx --plugin examples/depthwise_separable.py -p depthwise-separable:macs=0.7 --data d.npz
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar

import numpy as np
from onnx_compress import Conv, register
from onnx_compress.compiler.costs.workload import ConvWorkload, conv_workload
from onnx_compress.compiler.graph.shapes import Shapes
from onnx_compress.passes.decomposition.base import DecompositionPass
from onnx_compress.passes.decomposition.forms import Factor, Form, Projection
from onnx_compress.passes.projection.fit import Fit
from scipy.linalg import block_diag


class DepthwiseSeparableForm:
    name = "depthwise-separable"

    def check(self, conv: Conv) -> str | None:
        return "grouped" if conv.group > 1 else "1 x 1" if prod(conv.kernel) == 1 else None

    def limit(self, conv: Conv) -> int:
        return min(conv.filters, prod(conv.kernel))

    def workloads(self, conv: Conv, size: int, shapes: Shapes) -> list[ConvWorkload]:
        dense, maps, ones = conv_workload(conv, shapes), conv.channels * size, (1,) * len(conv.kernel)
        depthwise = replace(dense, channels_out=maps, group=conv.channels, bias=False)
        return [depthwise, replace(dense, channels_in=maps, kernel=ones, positions_in=dense.positions_out, bias=True)]

    def curve(self, conv: Conv, fits: Sequence[Fit], largest: int) -> np.ndarray:
        (fit,) = fits
        pairs = (factors(fit, prod(conv.kernel), size) for size in range(1, largest + 1))
        return np.array([fit.lost(np.zeros_like(fit.weight)), *(fit.lost(u @ block_diag(*v)) for v, u in pairs)])

    def project(self, conv: Conv, fits: Sequence[Fit], size: int) -> Projection:
        v, u = factors(fits[0], prod(conv.kernel), size)
        depthwise, pointwise = v.reshape(-1, 1, *conv.kernel), u.reshape(*u.shape, *[1] * len(conv.kernel))
        first = Factor("depthwise", depthwise, range(len(conv.kernel)), group=conv.channels)
        return Projection([first, Factor("pointwise", pointwise, ())], [u @ block_diag(*v)])


def factors(fit: Fit, taps: int, size: int) -> tuple[np.ndarray, np.ndarray]:
    """V (C, size, taps) and U (N, C size) near W* (N, C taps) in the metric M."""
    slices = fit.weight.reshape(len(fit.weight), -1, taps).swapaxes(0, 1)
    own = np.einsum("ckcl->ckl", fit.metric.reshape(len(slices), taps, len(slices), taps))
    root = np.linalg.cholesky(own)
    principal = np.linalg.svd(slices @ root, full_matrices=False)[2][:, :size]
    v = np.linalg.solve(root.swapaxes(1, 2), principal.swapaxes(1, 2)).swapaxes(1, 2)
    rows = block_diag(*v)
    return v, np.linalg.solve(fit.pulled(rows) @ rows.T, rows @ fit.wanted.T).T


@register
@dataclass(frozen=True)
class DepthwiseSeparable(DecompositionPass):
    """Rewrite Convs as depthwise and 1 x 1 Convs."""

    name: ClassVar[str] = "depthwise-separable"

    def forms(self) -> Sequence[Form]:
        return (DepthwiseSeparableForm(),)

    def check(self, conv: Conv) -> str | None:
        return None if prod(conv.weight.shape) else "empty weight"
