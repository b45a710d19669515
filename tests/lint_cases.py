"""How the tests of the lint write their models: one line of nodes, over weights that have names."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from builders import normal, proto

IMAGE = "float[1,4,8,8] x"
ZEROS = np.zeros(4, np.int8)
SCALES = np.full(4, 0.1, np.float32)
ONE, NONE = np.float32(0.1), np.int8(0)


@dataclass(frozen=True)
class Case:
    """`bad` breaks `rule` on `target`, once or more; `good` does not."""

    rule: str
    bad: onnx.ModelProto
    good: onnx.ModelProto
    target: str = "xavier"

    def __str__(self) -> str:
        return self.rule


def net(body: str, inputs: str = IMAGE, opset: int = 17, domains: str = "", **weights: np.ndarray) -> onnx.ModelProto:
    """A model whose last node writes `y`; only the weights that its text names are stored."""
    words = body.replace("(", " ").replace(")", " ").replace(",", " ").split()
    known = {**WEIGHTS, **weights}
    used = {name: np.asarray(values) for name, values in known.items() if name in words}
    return proto(f"g ({inputs}) => (float y) {{ {body} }}", opset=opset, domains=domains, **used)


def case(rule: str, bad: str, good: str, inputs: str = IMAGE, target: str = "xavier", **keywords: object) -> Case:
    return Case(rule, net(bad, inputs, **keywords), net(good, inputs, **keywords), target)  # type: ignore[arg-type]


WEIGHTS: dict[str, np.ndarray] = {
    "w": normal(4, 4, 3, 3),
    "half": normal(4, 2, 3, 3),
    "matrix": normal(4, 4),
    "b": normal(4),
    "b2": normal(4, 1),
    "one": np.asarray(ONE),
    "zero": np.asarray(np.float32(0)),
    "tiny": np.asarray(np.float32(1e-40)),
    "nan": np.asarray(np.float32("nan")),
    "minus": np.asarray(np.float32(-0.1)),
    "none": np.asarray(NONE),
    "none4": ZEROS,
    "none3": ZEROS[:3],
    "three": np.asarray(np.int8(3)),
    "unsigned": np.asarray(np.uint8(0)),
    "scales": SCALES,
    "scales3": SCALES[:3],
    "double": np.asarray([1, 1, 2, 2], np.float32),
    "channels": np.asarray([1, 2, 1, 1], np.float32),
    "axis": np.asarray([1], np.int64),
    "axes": np.asarray([2, 3], np.int64),
    "k": np.asarray([2], np.int64),
    "many": np.asarray([4000], np.int64),
    "pads": np.asarray([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
    "pads3": np.asarray([0, 1, 1, 1, 0, 0, 1, 1], np.int64),
    "ints": np.ones((4, 4, 3, 3), np.int8),
    "bias32": np.ones(4, np.int32),
    "yes": np.asarray(True),
    "no": np.asarray(False),
}
QUANTIZED = "q = QuantizeLinear(x, one, none) d = DequantizeLinear(q, one, none)"


def weight(layer: str, name: str = "w", axis: int = 0, data: str = "d") -> str:
    """A layer with quantized data and a weight quantized along `axis`."""
    pair = f"<axis={axis}>({{}}, scales, none4)"
    first, second = pair.format(name), pair.format("qw")
    return f"{QUANTIZED} qw = QuantizeLinear{first} dw = DequantizeLinear{second} y = {layer}({data}, dw)"
