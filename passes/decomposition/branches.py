"""A Conv as a sum of chains, each of which reads some of its input channels: Gather -> Conv -> ... -> Add."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.costs.workload import ConvWorkload
from ...compiler.graph.convs import Conv
from ...compiler.graph.rewriter import Rewriter
from .forms import Factor, chain_nodes


@dataclass(frozen=True, eq=False)
class Branch:
    """One chain.

    Attributes:
        part: suffix of the name of the Gather.
        channels: the input channels that it reads, in order.
    """

    part: str
    channels: np.ndarray
    factors: Sequence[Factor]


def emit_sum(rewriter: Rewriter, conv: Conv, branches: Sequence[Branch], bias: np.ndarray) -> None:
    """Put the sum of two branches in the place of `conv`; `bias` (N,) goes to the first."""
    nodes: list[gs.Node] = []
    ends: list[gs.Tensor] = []
    for branch in branches:
        base = f"{conv.name}.{branch.part}"
        picked = rewriter.variable(f"{base}.output", conv.input.dtype)
        indices = rewriter.constant(f"{base}.indices", branch.channels.astype(np.int64))
        nodes.append(rewriter.node("Gather", [conv.input, indices], [picked], base, {"axis": 1}, origin=conv.name))
        nodes += chain_nodes(rewriter, conv, picked, branch.factors, bias if branch is branches[0] else None)
        ends.append(nodes[-1].outputs[0])
    total = rewriter.variable(f"{conv.name}.sum.output", conv.output.dtype)
    nodes.append(rewriter.node("Add", ends, [total], f"{conv.name}.sum", origin=conv.name))
    rewriter.replace(conv.node, nodes)


@dataclass(frozen=True)
class CopyWorkload(ConvWorkload):
    """A Gather of channels as a price sees it: the traffic of a depthwise 1 x 1 Conv, no work and no weights."""

    @property
    def weights(self) -> int:
        return 0

    @property
    def macs(self) -> int:
        return 0

    @property
    def params(self) -> int:
        return 0


def copy_workload(dense: ConvWorkload, channels: int) -> CopyWorkload:
    """The Gather of some of the input channels of a Conv."""
    ones, places = (1,) * len(dense.kernel), dense.positions_in
    return CopyWorkload(channels, channels, ones, channels, places, places, False, dense.itemsize)


def reading(conv: Conv, channels: np.ndarray) -> Conv:
    """The Conv (of one group) as if it read those channels alone."""
    return replace(conv, weight=conv.weight[:, channels])
