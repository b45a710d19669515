"""Cross-layer equalization of two Convs in a row (`projection.equalization`), of all uses of their weights together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.convs import view
from ...compiler.graph.quantization.chains import ConvPair, find_conv_pairs
from ...compiler.graph.rewriter import Rewriter
from ...compiler.pipeline.data import Data
from ...compiler.pipeline.progress import Progress, silent
from ...runtime.calibration import channel_peaks
from ..projection.equalization import channel_gains, expected_sizes, scale_inputs, scale_outputs

SAMPLES = 64


def equalize(
    rewriter: Rewriter,
    accepts: Callable[[gs.Node], bool],
    data: Data | None,
    through_relu: bool,
    progress: Progress = silent,
) -> int:
    """Rescale the pairs of accepted Convs, those through a ReLU on request, and return how many there are."""
    pairs = [pair for pair in find_conv_pairs(rewriter.graph, accepts) if pair.linear or through_relu]
    ranges = _ranges(rewriter.graph, pairs, data, progress)
    for pair, values in zip(pairs, ranges, strict=True):
        _rescale(rewriter, pair, channel_gains(values))
    return len(pairs)


def _ranges(graph: gs.Graph, pairs: list[ConvPair], data: Data | None, progress: Progress) -> list[np.ndarray]:
    """Of every channel between the two Convs of each pair, the largest of all uses."""
    if data is None or not pairs:
        return [expected_sizes(pair.first.weight, pair.first.bias) for pair in pairs]
    peaks = channel_peaks(graph, [tensor.name for pair in pairs for tensor in pair.between], data, SAMPLES, progress)
    return [np.max([peaks[tensor.name] for tensor in pair.between], axis=0) for pair in pairs]


def _rescale(rewriter: Rewriter, pair: ConvPair, gains: np.ndarray) -> None:
    # Pairs overlap: an earlier one may have changed the weight of this one's first Conv.
    first, second = view(pair.first.node), view(pair.second.node)
    assert first is not None and second is not None
    with rewriter.sharing(len(pair.first.uses)):
        for use in pair.first.uses:
            rewriter.set_weight(use.node, 1, scale_outputs(first.weight, gains))
            if first.bias is not None:
                rewriter.set_weight(use.node, 2, scale_outputs(first.bias, gains))
    with rewriter.sharing(len(pair.second.uses)):
        for use in pair.second.uses:
            rewriter.set_weight(use.node, 1, scale_inputs(second.weight, gains))
