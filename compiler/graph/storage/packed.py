"""Weights stored as small integers and rebuilt when the model is loaded or run.

scales * entries[codes]:

    8 bits    uint8 -> Cast -> Gather(entries)
    4, 2      several codes a byte, p = sum_i code_i 2^(bits i): code_i is element i P + position of the flat weight,
              P the number of bytes:
              uint8 (P,) -> Cast -> Div (1, 2^bits, ...) (8 / bits, 1) -> Mod 2^bits -> Reshape -> Gather(entries)
              A weight whose size is no multiple of 8 / bits is padded, and Slice cuts the padding off.
    scales    -> Mul(scales): one factor per filter

scales * (codes - zeros):

    8 bits    uint8 -> Cast -> Sub(zeros) -> Mul(scales)

Every operator is as old as opset 10, and codes are taken apart as int32, because Div takes no uint8 before opset 14.
Names are short: a weight of 2,304 values takes 1,152 bytes at 4 bits, and a name is written three times.

onnxruntime computes these nodes once, when it loads the model, and then runs the dense Conv. TensorRT 10 takes them
into its engine (checked with the builder of TensorRT for RTX). An engine that needs constant weights gets the dense
weight.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..rewriter import Rewriter


def code_bits(entries: int) -> int:
    """Bits per code that index so many entries: 2, 4 or 8."""
    return next(bits for bits in (2, 4, 8) if entries <= 2**bits)


def pack(codes: np.ndarray, bits: int) -> np.ndarray:
    """Codes of any shape, below 2^bits, as bytes (P,); see the module docstring."""
    share = 8 // bits
    padded = np.append(codes.ravel(), np.zeros(-codes.size % share, np.uint8)).reshape(share, -1)
    packed = padded[0].copy()
    for place in range(1, share):
        packed |= padded[place] << bits * place
    return packed


def stored_size(count: int, entries: int, scales: int, itemsize: int) -> int:
    """Bytes in a file of a weight of `count` values: codes, entries and scales, without names."""
    return -(-count * code_bits(entries) // 8) + (entries + scales) * itemsize


class Rebuilder:
    """Writes weights of one graph as codes; the constants of the arithmetic are shared."""

    def __init__(self, rewriter: Rewriter):
        self._rewriter = rewriter
        self._shared: dict[tuple[int, ...], gs.Constant] = {}

    def rebuild(self, node: gs.Node, codes: np.ndarray, entries: np.ndarray, scales: np.ndarray | None = None) -> None:
        """Make input 1 of `node` the weight scales * entries[codes], computed in the graph.

        Args:
            codes: uint8, of the shape of the weight.
            entries: (K,), of the type of the weight.
            scales: broadcast against the weight, of its type; None: not scaled.
        """
        chain = NodeChain(self._rewriter, node)
        tensor = self._codes(chain, codes, code_bits(len(entries)))
        tensor = chain.add("Gather", self._rewriter.constant("w", entries), tensor)
        if scales is not None:
            tensor = chain.add("Mul", tensor, self._rewriter.constant("w", scales))
        chain.place(1, tensor)

    def rescale(self, nodes: Sequence[gs.Node], codes: np.ndarray, scales: np.ndarray, zeros: np.ndarray) -> None:
        """Make input 1 of `nodes` the weight scales * (codes - zeros), computed in the graph before the first of them.

        Args:
            codes: uint8, of the shape of the weight.
            scales, zeros: float32, broadcast against the weight.
        """
        first, *others = nodes
        chain = NodeChain(self._rewriter, first)
        tensor = chain.add("Cast", self._rewriter.constant("w", codes), to=onnx.TensorProto.FLOAT)
        tensor = chain.add("Sub", tensor, self._rewriter.constant("w", zeros))
        tensor = chain.add("Mul", tensor, self._rewriter.constant("w", scales))
        chain.place(1, tensor)
        for node in others:
            self._rewriter.set_input(node, 1, tensor)

    def _codes(self, chain: NodeChain, codes: np.ndarray, bits: int) -> gs.Tensor:
        """The codes as int32, of their shape."""
        if bits == 8:
            return chain.add("Cast", self._rewriter.constant("w", codes), to=onnx.TensorProto.INT32)
        share = 8 // bits
        packed = chain.add("Cast", self._rewriter.constant("w", pack(codes, bits)), to=onnx.TensorProto.INT32)
        powers = self._constant(np.array([[2 ** (bits * i)] for i in range(share)], np.int32))
        tensor = chain.add("Mod", chain.add("Div", packed, powers), self._constant(np.array(2**bits, np.int32)))
        if codes.size % share:
            tensor = chain.add("Reshape", tensor, self._constant(np.array([-1])))
            tensor = chain.add("Slice", tensor, self._constant(np.array([0])), self._constant(np.array([codes.size])))
        return chain.add("Reshape", tensor, self._constant(np.array(codes.shape)))

    def _constant(self, values: np.ndarray) -> gs.Constant:
        key = (values.ndim, values.itemsize, *values.ravel().tolist())
        if key not in self._shared:
            self._shared[key] = self._rewriter.constant("w", values)
        return self._shared[key]


class NodeChain:
    """Nodes that compute an input of `node`, placed before it."""

    def __init__(self, rewriter: Rewriter, node: gs.Node):
        self._rewriter, self._node = rewriter, node
        self._nodes: list[gs.Node] = []

    def add(self, op: str, *inputs: gs.Tensor, **attrs: int) -> gs.Tensor:
        """The result of one more node."""
        result = self._rewriter.variable("w")
        self._nodes.append(self._rewriter.node(op, inputs, [result], "w", attrs, origin=self._node.name))
        return result

    def place(self, index: int, tensor: gs.Tensor) -> None:
        """Put the nodes into the graph and make `tensor` input number `index`."""
        self._rewriter.insert_before(self._node, self._nodes)
        self._rewriter.set_input(self._node, index, tensor)
