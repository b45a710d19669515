"""Cross-layer equalization of Convs and those that read them (`projection.equalization`), of all uses of their weights
together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.quantization.channel_scales import ChannelScales, ScaledLayer, find_channel_scales
from ...compiler.graph.rewriter import Rewriter
from ...compiler.pipeline.data import Data
from ...compiler.pipeline.progress import Progress, silent
from ...runtime.calibration import channel_peaks
from ..projection.equalization import channel_gains, expected_sizes, scale_inputs, scale_outputs

SAMPLES = 16


def equalize(
    rewriter: Rewriter,
    accepts: Callable[[gs.Node], bool],
    data: Data | None,
    through_relu: bool,
    progress: Progress = silent,
) -> int:
    """Rescale the channels between accepted Convs, through a ReLU on request, and return how many are rescaled."""
    scales = find_channel_scales(rewriter.graph, accepts, through_relu)
    ranges, gains = _ranges(rewriter.graph, scales, data, progress), np.ones(len(scales.fixed))
    for numbers in scales.together():
        gains[numbers] = channel_gains(ranges[numbers])
    gains[scales.fixed] = 1.0
    for layer in scales.layers:
        _rescale(rewriter, layer, gains)
    return int((gains != 1.0).sum())


def _ranges(graph: gs.Graph, scales: ChannelScales, data: Data | None, progress: Progress) -> np.ndarray:
    """Of every channel, the largest in all that Convs read."""
    ranges = np.zeros(len(scales.fixed))
    if data is None:
        for layer in scales.layers:
            ranges[layer.written] = expected_sizes(layer.conv.weight, layer.conv.bias)
        return ranges
    free = [name for name, numbers in scales.tensors.items() if not scales.fixed[numbers].all()]
    for name, peaks in channel_peaks(graph, free, data, SAMPLES, progress).items() if free else ():
        np.maximum.at(ranges, scales.tensors[name], peaks)
    return ranges


def _rescale(rewriter: Rewriter, layer: ScaledLayer, gains: np.ndarray) -> None:
    conv, up, down = layer.conv, gains[layer.written], None if layer.read is None else gains[layer.read]
    weight = conv.weight if down is None else scale_inputs(conv.weight, down)
    if (up == 1).all() and (down is None or (down == 1).all()):
        return
    with rewriter.sharing(len(conv.uses)):
        for use in conv.uses:
            rewriter.set_weight(use.node, 1, scale_outputs(weight, up).astype(conv.dtype))
            if conv.bias is not None:
                rewriter.set_weight(use.node, 2, scale_outputs(conv.bias, up).astype(conv.dtype))
