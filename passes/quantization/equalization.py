"""Cross-layer equalization of a Conv and those that read it (`projection.equalization`), of all uses of their weights
together."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.convs import view
from ...compiler.graph.quantization.chains import ConvChain, find_conv_chains
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
    """Rescale the chains of accepted Convs, those through a ReLU on request, and return how many there are."""
    chains = [chain for chain in find_conv_chains(rewriter.graph, accepts) if chain.linear or through_relu]
    ranges = _ranges(rewriter.graph, chains, data, progress)
    for chain, values in zip(chains, ranges, strict=True):
        _rescale(rewriter, chain, channel_gains(values))
    return len(chains)


def _ranges(graph: gs.Graph, chains: list[ConvChain], data: Data | None, progress: Progress) -> list[np.ndarray]:
    """Of every channel between the Convs of each chain, the largest of all uses."""
    if data is None or not chains:
        return [expected_sizes(chain.first.weight, chain.first.bias) for chain in chains]
    peaks = channel_peaks(graph, [tensor.name for chain in chains for tensor in chain.between], data, SAMPLES, progress)
    return [np.max([peaks[tensor.name] for tensor in chain.between], axis=0) for chain in chains]


def _rescale(rewriter: Rewriter, chain: ConvChain, gains: np.ndarray) -> None:
    # Chains overlap: an earlier one may have changed the weight of this one's first Conv.
    first = view(chain.first.node)
    assert first is not None
    with rewriter.sharing(len(chain.first.uses)):
        for use in chain.first.uses:
            rewriter.set_weight(use.node, 1, scale_outputs(first.weight, gains))
            if first.bias is not None:
                rewriter.set_weight(use.node, 2, scale_outputs(first.bias, gains))
    for reader in chain.readers:
        second = view(reader.node)
        assert second is not None
        with rewriter.sharing(len(reader.uses)):
            for use in reader.uses:
                rewriter.set_weight(use.node, 1, scale_inputs(second.weight, gains))
