"""The project's own operators in numpy, for `onnx.reference`: slow, and written from the definition alone.

ReferenceEvaluator(model, new_ops=[SpatialBasisConv])
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import numpy as np
from onnx.reference.op_run import OpRun
from onnx_compress.compiler.graph.storage.operators import DOMAIN


def spatial_basis_conv(
    x: np.ndarray,
    basis: np.ndarray,
    transforms: np.ndarray,
    choice: np.ndarray,
    bias: np.ndarray,
    *,
    strides: Sequence[int],
    pads: Sequence[int],
    dilations: Sequence[int],
    kernel_shape: Sequence[int],
) -> np.ndarray:
    """Y[s, n, p] = b[n] + sum over g, k of T[n, g, k] Z[s, g, m(n), k, stride p + dilation k - pad]

    with the templates' maps Z[s, g, m, k, q] = sum over c of group g of B[m, c, k] X[s, c, q], zero outside of X.
    Shapes as in `graph.storage.operators`; computed in float64, returned in the precision of `x`.
    """
    rank, groups = len(kernel_shape), transforms.shape[1]
    basis = basis.reshape(len(basis), groups, -1, *kernel_shape)
    padded = np.pad(x, [(0, 0), (0, 0), *zip(pads[:rank], pads[rank:], strict=True)]).astype(np.float64)
    padded = padded.reshape(len(x), groups, -1, *padded.shape[2:])
    spans = [(size - 1) * step + 1 for size, step in zip(kernel_shape, dilations, strict=True)]
    sizes = [(size - span) // step + 1 for size, span, step in zip(padded.shape[3:], spans, strides, strict=True)]
    total = np.zeros((len(x), len(choice), *sizes)) + bias.reshape(-1, *[1] * rank)
    for tap in product(*map(range, kernel_shape)):
        window = tuple(
            slice(k * d, k * d + s * (n - 1) + 1, s) for k, d, s, n in zip(tap, dilations, strides, sizes, strict=True)
        )
        maps = np.einsum("mgc,sgc...->sgm...", basis[(..., *tap)], padded[(..., *window)])
        total += np.einsum("ng,sgn...->sn...", transforms[(slice(None), slice(None), *tap)], maps[:, :, choice])
    return total.astype(x.dtype)


class SpatialBasisConv(OpRun):
    """`spatial_basis_conv` as a node."""

    op_domain = DOMAIN

    def _run(self, *inputs: np.ndarray, **attributes: Any) -> tuple[np.ndarray]:
        known = {name: attributes[name] for name in ("strides", "pads", "dilations", "kernel_shape")}
        return (spatial_basis_conv(*inputs, **known),)
