"""What stands for outputs that differ from run to run, or in shape."""

from __future__ import annotations

import numpy as np
import pytest
from builders import model, normal
from onnx_compress.compiler.graph.comparable import comparable_tensors

STORED = {
    "w": normal(8, 3, 1, 1),
    "cut": np.array(0.1, np.float32),
    "half": np.array([0.5], np.float32),
    "many": np.array([5], np.int64),
    "two": np.array(2, np.int64),
    "one": np.array(1, np.int64),
    "axis": np.array([1], np.int64),
    "rows": np.array([0, 8, -1], np.int64),
    "flat": np.array([-1], np.int64),
    "scale": np.array(0.1, np.float32),
    "zero": np.array(0, np.int8),
    "yes": np.array(True),
}
CASES = {
    "plain": ("c = Conv(x, w) y = Relu(c)", ["y"]),
    "a NonMaxSuppression": (
        "c = Conv(x, w) r = Reshape(c, rows) b, s = Split<axis = 1>(r, fours) boxes = Transpose<perm=[0,2,1]>(b)"
        " scores = Sigmoid(s) n = NonMaxSuppression(boxes, scores, many, half, half) i = Gather<axis=1>(n, two)"
        " q = Squeeze(boxes, nought) y = Gather(q, i)",
        ["q", "boxes", "scores"],
    ),
    "a threshold": ("c = Conv(x, w) s = Sigmoid(c) g = Greater(s, cut) y = NonZero(g)", ["s"]),
    "a mask": ("c = Conv(x, w) f = Reshape(c, flat) g = Greater(f, cut) y = Compress(f, g)", ["f"]),
    "what counts decides": (
        "c = Conv(x, w) f = Reshape(c, flat) g = Greater(f, cut) i = Cast<to=7>(g) k = ReduceSum(i) y, z = TopK(f, k)",
        ["f"],
    ),
    "a known shape after one that is not": (
        "c = Conv(x, w) f = Reshape(c, flat) n = NonZero(f) t = Transpose<perm=[1,0]>(n) v = GatherND(f, t)"
        " e = Exp(v) u = ScatterND(f, t, e) y = Relu(u)",
        ["y"],
    ),
    "sizes of shapes": (
        "c = Conv(x, w) s = Shape(x) h = Gather(s, two) k = Unsqueeze(h, nought) f = Reshape(c, flat)"
        " y, z = TopK(f, k)",
        ["y"],
    ),
    "quantizers before it": (
        "c = Conv(x, w) q = QuantizeLinear(c, scale, zero) d = DequantizeLinear(q, scale, zero) y = NonZero(d)",
        ["c"],
    ),
    "random numbers": ("c = Conv(x, w) e = RandomNormalLike(c) s = Exp(c) z = Mul(s, e) y = Add(c, z)", ["c", "s"]),
    "a draw": ("c = Conv(x, w) s = Sigmoid(c) y = Bernoulli(s)", ["s"]),
    "a sequence": ("c = Conv(x, w) r = Relu(c) y = SequenceConstruct(c, r)", ["c", "r"]),
    "out of a sequence": ("c = Conv(x, w) q = SplitToSequence<axis=1>(c, two) y = SequenceAt(q, one)", ["y"]),
    "nothing else": ("y = NonZero(x)", ["y"]),
}
MORE = {"fours": np.array([4, 4], np.int64), "nought": np.array([0], np.int64)}


@pytest.mark.parametrize("case", CASES)
def test_what_networks_are_compared_at(case: str):
    body, expected = CASES[case]
    words = body.replace("(", " ").replace(")", " ").replace(",", " ").split()
    stored = {name: values for name, values in {**STORED, **MORE}.items() if name in words}
    net = model(f"g (float[1,3,4,4] x) => (float y) {{ {body} }}", **stored)
    assert comparable_tensors(net.graph) == expected


def test_other_outputs_stay_in_their_places():
    text = "g (float[1,3,4,4] x) => (float y, float z) { c = Conv(x, w) s = Sigmoid(c) y = NonZero(s) z = Relu(c) }"
    assert comparable_tensors(model(text, w=normal(8, 3, 1, 1)).graph) == ["s", "z"]


def test_the_condition_of_a_loop_counts():
    body = """loop (int64 i, bool go, float[1,8,4,4] v) => (bool on, float[1,8,4,4] r, float p)
        {{ r = Relu(v) s = ReduceSum<keepdims = 0>(r) {on} p = Identity(s) }}"""
    text = "g (float[1,3,4,4] x) => (float y) {{ c = Conv(x, w) z, y = Loop(many, yes, c) <body = {body}> }}"
    stored = {"w": normal(8, 3, 1, 1), "many": np.array(3, np.int64), "yes": np.array(True)}
    fixed = model(text.format(body=body.format(on="on = Identity(go)")), **stored)
    early = model(text.format(body=body.format(on="on = Cast<to = 9>(s)")), **stored)
    assert (comparable_tensors(fixed.graph), comparable_tensors(early.graph)) == (["y"], ["c"])
