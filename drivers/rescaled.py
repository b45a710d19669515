"""Which maps between two Convs differ in the scales of their channels only, as cross-layer equalization leaves them?

    b_c = s_c a_c + e_c        a, b: channel c of a map in both networks
    s_c = sum b_c^2 / sum a_c b_c  >  0                           the least squares of a_c on b_c
    error without scales = sqrt(sum_c ||a_c - b_c / s_c||^2 / sum_c ||a_c||^2)

The Convs that read such a map divide their weights by s, so that nothing of it is left in their results. The scales are
divided out where both show it: the error without them is less than `EXPLAINED` of the whole one, and that of the
first reader's result less than `UNDONE` of it. Maps are judged from the last to the first, each by that result as that
was judged. A scale that no reader undoes, a wrong filter say, comes to a result that is no map between Convs, and
counts in all of them.

Source: Nagel et al. 2019, "Data-free quantization through weight equalization and bias correction", section 4.1.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from math import sqrt

import numpy as np
import onnx_graphsurgeon as gs

EXPLAINED, UNDONE = 0.5, 0.67
KEEP_SCALES = frozenset(
    (
        *("Relu", "LeakyRelu", "PRelu", "BatchNormalization", "QuantizeLinear", "DequantizeLinear"),
        *("Identity", "Dropout", "MaxPool", "Concat"),
    )
)
"""Operators between two Convs that a scale per channel passes; BatchNormalization does once it is folded."""


class ChannelSums:
    """Streamed over batches of maps (n, C, ...)."""

    def __init__(self) -> None:
        self._aa = self._ab = self._bb = np.zeros(())

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        x, y = (side.astype(np.float64).reshape(*side.shape[:2], -1) for side in (a, b))
        self._aa = self._aa + np.einsum("ncp,ncp->c", x, x)
        self._ab = self._ab + np.einsum("ncp,ncp->c", x, y)
        self._bb = self._bb + np.einsum("ncp,ncp->c", y, y)

    @property
    def error(self) -> float:
        """Without scales, relative to a."""
        total = float(self._aa.sum())
        if not total > 0:
            return float("nan")
        divided = self._aa - np.square(self._ab) / np.where(self._bb > 0, self._bb, 1.0)
        left = np.where(self._ab > 0, divided, self._aa - 2 * self._ab + self._bb)
        return sqrt(max(float(left.sum()), 0.0) / total)


def reader_results(graph: gs.Graph, compared: Collection[str]) -> dict[str, str]:
    """Compared tensor between Convs -> the first compared tensor of what the first of its readers makes of it, in graph
    order."""
    outputs = {id(tensor) for tensor in graph.outputs}
    lines = {id(node): _line(node, outputs) for node in graph.nodes if node.op == "Conv"}
    found: dict[str, str] = {}
    for tensors, reader in lines.values():
        after = lines[id(reader)][0] if reader is not None else []
        result = next((tensor.name for tensor in after if tensor.name in compared), None)
        if result is not None:
            found.update((tensor.name, result) for tensor in tensors if tensor.name in compared)
    return found


def undone(results: Mapping[str, str], errors: Mapping[str, float], without: Mapping[str, float]) -> dict[str, float]:
    """The errors of the tensors whose scales are divided out.

    Args:
        results: see `reader_results`.
        errors, without: of compared tensors, with scales and without.
    """
    found: dict[str, float] = {}
    for tensor, result in reversed(tuple(results.items())):
        if tensor not in without or result not in errors:
            continue
        after = found.get(result, errors[result])
        if without[tensor] < EXPLAINED * errors[tensor] and after < UNDONE * errors[tensor]:
            found[tensor] = without[tensor]
    return found


def _line(conv: gs.Node, outputs: set[int]) -> tuple[list[gs.Tensor], gs.Node | None]:
    """What a Conv makes, up to the Convs that alone read it, if some do, and the first of them."""
    tensors, convs, alone = {id(conv.outputs[0]): conv.outputs[0]}, list[gs.Node](), True
    waiting = [conv.outputs[0]]
    while waiting:
        tensor = waiting.pop(0)
        alone = alone and id(tensor) not in outputs
        for node in tensor.outputs:
            if node.op in KEEP_SCALES and id(node.outputs[0]) not in tensors:
                tensors[id(node.outputs[0])] = node.outputs[0]
                waiting.append(node.outputs[0])
            elif node.op == "Conv" and node.inputs[0] is tensor:
                convs.append(node)
            elif node.op not in KEEP_SCALES:
                alone = False
    return list(tensors.values()), convs[0] if convs and alone else None
