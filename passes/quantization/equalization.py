"""Cross-layer equalization of two Convs in a row (`projection.equalization`)."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.convs import view
from ...compiler.graph.quantization.chains import ConvPair, find_conv_pairs
from ...compiler.graph.rewriter import Rewriter
from ...compiler.pipeline.data import Data
from ...runtime.calibration import channel_peaks
from ..projection.equalization import channel_gains, row_norms, scale_inputs, scale_outputs

SAMPLES = 128


def equalize(rewriter: Rewriter, accepts: Callable[[gs.Node], bool], data: Data | None, through_relu: bool) -> int:
    """Rescale the pairs of accepted Convs, those through a ReLU on request, and return how many there are."""
    pairs = [pair for pair in find_conv_pairs(rewriter.graph, accepts) if pair.linear or through_relu]
    ranges = _ranges(rewriter.graph, pairs, data)
    for pair in pairs:
        _rescale(rewriter, pair, channel_gains(ranges[pair.between.name]))
    return len(pairs)


def _ranges(graph: gs.Graph, pairs: list[ConvPair], data: Data | None) -> Mapping[str, np.ndarray]:
    if data is None or not pairs:
        return {pair.between.name: row_norms(pair.first.weight) for pair in pairs}
    return channel_peaks(graph, [pair.between.name for pair in pairs], data, SAMPLES)


def _rescale(rewriter: Rewriter, pair: ConvPair, gains: np.ndarray) -> None:
    # Pairs overlap: an earlier one may have changed the weight of this one's first Conv.
    first, second = view(pair.first.node), view(pair.second.node)
    assert first is not None and second is not None
    rewriter.set_weight(first.node, 1, scale_outputs(first.weight, gains))
    if first.bias is not None:
        rewriter.set_weight(first.node, 2, scale_outputs(first.bias, gains))
    rewriter.set_weight(second.node, 1, scale_inputs(second.weight, gains))
