"""One small network per rule: which units it leaves, and that what is pruned equals what is masked."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import onnx
import pytest
from builders import normal, proto
from pruning import check_equal, half, prune

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Case:
    """x (N, 2, 4, 4) -> a: a Conv of 8 filters; `body` makes b of it, which a Conv of `read` channels reads."""

    name: str
    body: str
    units: tuple[int, ...]
    read: int = 8
    weights: Shapes = field(default_factory=dict)
    ints: dict[str, list[int]] = field(default_factory=dict)
    opset: int = 17
    batch: int = 2

    def proto(self) -> onnx.ModelProto:
        shapes: Shapes = {"first": (8, 2, 1, 1), "last": (2, self.read, 1, 1), **self.weights}
        arrays = {name: normal(*shape, seed=seed) for seed, (name, shape) in enumerate(shapes.items())}
        integers = {name: np.array(values, np.int64) for name, values in self.ints.items()}
        text = f"a = Conv(x, first) {self.body} y = Conv(b, last)"
        return proto(f"g (float[N,2,4,4] x) => (float[N,2,h,w] y) {{ {text} }}", self.opset, **arrays, **integers)


CASES = [
    Case("plain", "b = Relu(a)", (8,)),
    Case("residual", "c = Conv(a, w) b = Add(a, c)", (8,), weights={"w": (8, 8, 1, 1)}),
    Case("chain", "c = Conv(a, w) d = Relu(c) b = Conv(d, v)", (8, 6, 4), 4, {"w": (6, 8, 1, 1), "v": (4, 6, 1, 1)}),
    Case("depthwise", "b = Conv <group=8> (a, w, v)", (8,), weights={"w": (8, 1, 1, 1), "v": (8,)}),
    Case("depthwise multiplier", "b = Conv <group=8> (a, w)", (8,), 16, {"w": (16, 1, 1, 1)}),
    Case("along another axis", "c = Transpose <perm=[0,2,1,3]> (a) b = Conv(c, w)", (6,), 6, {"w": (6, 4, 1, 1)}),
    Case("two groups keep positions", "b = Conv <group=2> (a, w)", (4, 6), 12, {"w": (12, 4, 1, 1)}),
    Case("four groups go whole", "b = Conv <group=4> (a, w)", (4,), 12, {"w": (12, 2, 1, 1)}),
    Case("transposed", "b = ConvTranspose(a, w, v)", (8, 6), 6, {"w": (8, 6, 1, 1), "v": (6,)}),
    Case("transposed groups", "b = ConvTranspose <group=2> (a, w, v)", (4, 3), 6, {"w": (8, 3, 1, 1), "v": (6,)}),
    Case("transposed depthwise", "b = ConvTranspose <group=8> (a, w)", (8,), 16, {"w": (8, 2, 1, 1)}),
    Case("concat with itself", "b = Concat <axis=1> (a, a)", (8,), 16),
    Case("concat with a constant", "c = Relu(a) b = Concat <axis=-3> (c, w)", (8,), 11, {"w": (1, 3, 4, 4)}, batch=1),
    Case("concat over positions", "c = Conv(x, w) b = Concat <axis=2> (a, c)", (8,), 8, {"w": (8, 2, 1, 1)}),
    Case("cascade", "c, d = Split <axis=1> (a) e = Concat <axis=1> (d, c) f = Add(a, e) b = Relu(f)", (4,)),
    Case("split over positions", "c, d = Split <axis=3> (a) b = Add(c, d)", (8,)),
    Case("split sizes", "c, b = Split <axis=1> (a, s)", (8,), 5, ints={"s": [3, 5]}),
    Case("old split", "c, b = Split <axis=1> (a)", (8,), 4, opset=11),
    Case("num_outputs", "c, b = Split <axis=1, num_outputs=2> (a)", (8,), 4, opset=18),
    Case("slice", "b = Slice(a, s, e, i)", (8,), 3, ints={"s": [-6], "e": [5], "i": [1]}),
    Case("slice with a step", "b = Slice(a, s, e, i, t)", (8,), 3, ints={"s": [0], "e": [7], "i": [1], "t": [3]}),
    Case("old slice", "b = Slice <starts=[2], ends=[100], axes=[1]> (a)", (8,), 6, opset=9),
    Case("gather", "b = Gather <axis=1> (a, i)", (8,), 4, ints={"i": [7, -8, 2, 2]}),
    Case("pad", "b = Pad(a, p)", (8,), 11, ints={"p": [0, 2, 0, 0, 0, 1, 0, 0]}),
    Case("crop", "b = Pad(a, p)", (8,), 5, ints={"p": [0, -2, 0, 0, 0, -1, 0, 0]}),
    Case("pad axes", "b = Pad(a, p, , i)", (8,), 10, ints={"p": [2, 0], "i": [1]}, opset=18),
    Case("old pad", "b = Pad <pads=[0,1,0,0,0,1,0,0]> (a)", (8,), 10, opset=9),
    Case(
        "option A",
        "c = Conv(a, w) s = MaxPool <kernel_shape=[1,1]> (a) p = Pad(s, q) d = Add(c, p) b = Relu(d)",
        (12,),
        12,
        {"w": (12, 8, 1, 1)},
        {"q": [0, 2, 0, 0, 0, 2, 0, 0]},
    ),
    Case("scalar operand", "b = Mul(a, w)", (8,), weights={"w": (1,)}),
    Case("operand per channel", "c = Mul(w, a) b = Add(c, v)", (8,), weights={"w": (8, 1, 1), "v": (1, 8, 1, 4)}),
    Case("prelu", "b = PRelu(a, w)", (8,), weights={"w": (8, 1, 1)}),
    Case("where", "c = Greater(a, w) d = Neg(a) b = Where(c, a, d)", (8,), weights={"w": ()}),
    Case("instance norm", "b = InstanceNormalization(a, w, v)", (8,), weights={"w": (8,), "v": (8,)}),
    Case("layer norm over positions", "b = LayerNormalization <axis=2> (a, w)", (8,), weights={"w": (4, 4)}),
    Case("softmax over positions", "b = Softmax <axis=3> (a)", (8,)),
    Case(
        "squeeze and excite",
        "p = GlobalAveragePool(a) q = Conv(p, w) r = Relu(q) s = Conv(r, v) t = Sigmoid(s) b = Mul(a, t)",
        (8, 3),
        weights={"w": (3, 8, 1, 1), "v": (8, 3, 1, 1)},
    ),
    Case(
        "squeeze and excite by Gemm",
        "p = GlobalAveragePool(a) f = Flatten(p) q = Gemm <transB=1> (f, w) s = Gemm(q, v)"
        " t = Reshape(s, i) b = Mul(a, t)",
        (8, 3),
        weights={"w": (3, 8), "v": (3, 8)},
        ints={"i": [-1, 8, 1, 1]},
    ),
    Case("spatial attention", "c = Conv(a, w) b = Mul(a, c)", (8,), weights={"w": (1, 8, 1, 1)}),
    Case(
        "shuffle",
        "c = Reshape(a, s) d = Transpose <perm=[0,2,1,3,4]> (c) b = Reshape(d, t)",
        (4,),
        ints={"s": [0, 2, 4, 4, 4], "t": [0, 8, 4, 4]},
    ),
    Case("depth to space", "b = DepthToSpace <blocksize=2> (a)", (2,), 2),
    Case("depth to space by columns", 'b = DepthToSpace <blocksize=2, mode="CRD"> (a)', (2,), 2),
    Case("space to depth", "b = SpaceToDepth <blocksize=2> (a)", (8,), 32),
    Case("tile", "b = Tile(a, r)", (8,), 24, ints={"r": [1, 3, 1, 1]}),
    Case("expand", "c = GlobalMaxPool(a) b = Expand(c, s)", (8,), ints={"s": [1, 8, 4, 4]}),
    Case("expand to the rest", "c = GlobalMaxPool(a) b = Expand(c, s)", (8,), ints={"s": [4, 4]}),
    Case("resize to sizes", "b = Resize(a, , , s)", (8,), ints={"s": [2, 8, 8, 8]}),
    Case("mean over positions", "c = ReduceMean <axes=[2,-1]> (a) b = Mul(a, c)", (8,)),
    Case("old unsqueeze", "c = ReduceMax <axes=[2], keepdims=0> (a) b = Unsqueeze <axes=[2]> (c)", (8,), opset=11),
    Case(
        "positions as tokens",
        "c = Reshape(a, s) d = Transpose <perm=[0,2,1]> (c) e = MatMul(d, w) f = Add(e, v)"
        " g = Transpose <perm=[0,2,1]> (f) b = Reshape(g, t)",
        (8, 6),
        6,
        {"w": (8, 6), "v": (6,)},
        {"s": [0, 8, -1], "t": [0, 6, 4, 4]},
    ),
    Case(
        "weight on the left",
        "c = Reshape(a, s) d = MatMul(w, c) b = Reshape(d, t)",
        (8, 6),
        6,
        {"w": (6, 8)},
        {"s": [0, 8, 16], "t": [0, 6, 4, 4]},
    ),
    Case(
        "matmul over positions",
        "c = Reshape(a, s) d = MatMul(c, w) b = Reshape(d, t)",
        (8,),
        8,
        {"w": (16, 16)},
        {"s": [0, 0, 16], "t": [0, -1, 4, 4]},
    ),
    Case(
        "sizes from a shape",
        "s = Shape(a) n = Slice(s, zero, two) t = Concat <axis=0> (n, size) b = Resize(a, , , t)",
        (8,),
        ints={"zero": [0], "two": [2], "size": [8, 8]},
    ),
    Case(
        "batch from a shape",
        "s = Shape(a) n = Gather(s, zero) t = Concat <axis=0> (n, size) b = Reshape(a, t)",
        (8,),
        ints={"zero": [0], "size": [8, 2, 8]},
    ),
    Case(
        "shape of the channels alone",
        "s = Shape <start=1, end=2> (a) t = Concat <axis=0> (n, s, m) b = Reshape(a, t)",
        (8,),
        ints={"n": [-1], "m": [8, 2]},
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_units_and_values(case: Case):
    result = prune(case.proto(), half)
    assert tuple(group.size for group in result.groups if group.frozen is None) == case.units
    assert result.removed == sum(size // 2 for size in case.units)
    check_equal(result, x=normal(case.batch, 2, 4, 4, seed=99))


FROZEN = [
    ("softmax over channels", "b = Softmax <axis=1> (a)", "Softmax 'Softmax_1' mixes channels"),
    ("old softmax over the rest", "b = Softmax(a)", "mixes channels"),
    ("local response", "b = LRN <size=3> (a)", "LRN 'LRN_1' mixes channels"),
    ("mean over channels", "c = ReduceMean <axes=[1]> (a) b = Mul(c, a)", "reduces over channels"),
    ("two computed matrices", "b = MatMul(a, a)", "multiplies two computed tensors"),
    ("no rule", "b = CumSum(a, axis)", "CumSum 'CumSum_1' has no rule"),
    ("layer norm", "b = LayerNormalization <axis=1> (a, scale)", "mixes channels"),
    ("fixed channels", "c = Concat <axis=1> (x, x, x, x) b = Add(a, c)", "Add 'Add_2' meets 'c', whose channels stay"),
    ("reflection", 'b = Pad <mode="reflect"> (a, pads)', "Pad 'Pad_1' pads channels by reflect"),
    ("pooling indices", "b, i = MaxPool <kernel_shape=[1,1]> (a) j = Identity(i)", "gives indices that count channels"),
    ("one norm for several channels", "c = Reshape(a, half) d = InstanceNormalization(c, s2, s2) b = Reshape(d, all)",
     "InstanceNormalization 'InstanceNormalization_2'"),
    ("another axis", "b = Transpose <perm=[0,2,3,1]> (a) c = GlobalMaxPool(b)", "along axis 3"),
    ("computed weight", "w = Relu(last8) b = Conv(a, w)", "Conv 'Conv_2' has a weight that is not constant"),
    ("a count in arithmetic", "s = Shape(a) t = Mul(s, ones) b = Reshape(a, t)", "computes with their number"),
    ("captured", "b = If(flag) <then_branch = g () => (float[N,8,4,4] t) { t = Neg(a) },"
     " else_branch = h () => (float[N,8,4,4] e) { e = Abs(a) }>", "'a' is read in a subgraph of If 'If_1'"),
]  # fmt: skip


@pytest.mark.parametrize(("body", "reason"), [case[1:] for case in FROZEN], ids=[case[0] for case in FROZEN])
def test_what_mixes_channels_freezes_them(body: str, reason: str):
    opset = 11 if body == "b = Softmax(a)" else 17
    integers = {"pads": [0, 1, 0, 0, 0, 1, 0, 0], "ones": [1] * 4, "half": [0, 2, -1], "axis": 1}
    arrays = {name: np.array(values, np.int64) for name, values in {**integers, "all": [0, 8, 4, 4]}.items()}
    arrays |= {"first": normal(8, 2, 1, 1), "last8": normal(8, 8, 1, 1), "scale": normal(8, 4, 4), "s2": normal(2)}
    used = {name: values for name, values in arrays.items() if name in f"first {body}"}
    source = proto(
        f"g (float[N,2,4,4] x, bool flag) => (float[N,c,h,w] y) {{ a = Conv(x, first) {body} y = Relu(b) }}",
        opset, **used,
    )  # fmt: skip
    result = prune(source, half)
    first = [group for group in result.groups if group.name == "Conv_0"]
    assert any(reason in (group.frozen or "") for group in first)
    assert result.removed == 0
