"""Cross-layer equalization: two Convs in a row get even channels between them (`projection.equalization`)."""

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
    """Rescale the chains of accepted Convs, those through a ReLU on request, and return how many there are."""
    chains = [chain for chain in find_conv_pairs(rewriter.graph, accepts) if chain.linear or through_relu]
    ranges = _ranges(rewriter.graph, chains, data)
    for chain in chains:
        _rescale(rewriter, chain, channel_gains(ranges[chain.between.name]))
    return len(chains)


def _ranges(graph: gs.Graph, chains: list[ConvPair], data: Data | None) -> Mapping[str, np.ndarray]:
    if data is None or not chains:
        return {chain.between.name: row_norms(chain.first.weight) for chain in chains}
    return channel_peaks(graph, [chain.between.name for chain in chains], data, SAMPLES)


def _rescale(rewriter: Rewriter, chain: ConvPair, gains: np.ndarray) -> None:
    # Chains overlap: an earlier one may have changed the weight of this one's first Conv.
    first, second = view(chain.first.node), view(chain.second.node)
    assert first is not None and second is not None
    rewriter.set_weight(first.node, 1, scale_outputs(first.weight, gains))
    if first.bias is not None:
        rewriter.set_weight(first.node, 2, scale_outputs(first.bias, gains))
    rewriter.set_weight(second.node, 1, scale_inputs(second.weight, gains))
