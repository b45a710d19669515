"""Weights alone, for an engine that rebuilds them once, when it loads the model (`Target.folds_weight_arithmetic`).

    W[n]  ->  s_n (q - z_n)        0 <= q, z_n <= 255

Codes are the nearest ones (`projection.grid`), and arithmetic in the graph undoes them (`graph.storage.packed`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.quantization.qdq import QuantizedTensor, quantized_weights
from ...compiler.graph.quantization.quantizable import channel_axis
from ...compiler.graph.quantization.quantizers import along, write_kernel_shapes
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.storage.packed import Rebuilder
from ...compiler.graph.weights import resolve
from ...compiler.pipeline.traces import Spread, weight_spread
from ..projection.grid import CODES, to_unsigned_grid, unsigned_error

LayerReport = dict[str, float | int | str]


def pack_weights(rewriter: Rewriter, layers: Iterable[gs.Node], spreads: list[Spread]) -> dict[str, LayerReport]:
    """Round and write the weights of `layers`; node name -> figures for the report. What was rounded: `spreads`."""
    rebuilder, reports = Rebuilder(rewriter), dict[str, LayerReport]()
    for entry in quantized_weights(layers):
        figures, spread = _pack(rebuilder, entry)
        spreads.append(spread)
        reports.update((node.name, figures) for node, _ in entry.slots)
    return reports


def channel_rows(entry: QuantizedTensor, axis: int) -> tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]:
    """The weight of `entry` as (channels, d), its channels along `axis`, and what gives such rows its shape again."""
    values = resolve(entry.tensor)
    assert values is not None
    channels_first = np.moveaxis(values, axis, 0)
    shape = channels_first.shape
    return channels_first.reshape(len(channels_first), -1), lambda rows: np.moveaxis(rows.reshape(shape), 0, axis)


def _pack(rebuilder: Rebuilder, entry: QuantizedTensor) -> tuple[LayerReport, Spread]:
    nodes = [node for node, _ in entry.slots]
    axis = channel_axis(nodes[0])
    rows, shaped = channel_rows(entry, axis)
    codes, scale, zero = to_unsigned_grid(rows)
    stored = shaped(codes)
    rebuilder.rescale(nodes, stored, along(scale, axis, stored.ndim), along(zero, axis, stored.ndim))
    write_kernel_shapes(nodes, stored.shape)
    error = unsigned_error(rows, codes, scale, zero)
    reach = scale * np.maximum(zero, CODES - zero)
    return {"channels": len(rows), "weight_error": error}, weight_spread(nodes[0].name, rows, reach)
