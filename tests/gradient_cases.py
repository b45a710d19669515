"""What the ort engine has gradients of: an expression `z` of float tensors, by name of the case.

Names that begin with `c` are constants, float tensors of other names are differentiated.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from builders import RUNTIME, normal, proto
from onnx import ModelProto, helper, numpy_helper
from onnx_compress.runtime.session import Session

Arrays = dict[str, np.ndarray]


@dataclass(frozen=True)
class Case:
    body: str
    values: Arrays = field(default_factory=dict)
    opset: int = 17

    @property
    def inputs(self) -> Arrays:
        return {name: value for name, value in self.values.items() if not name.startswith("c")}

    def model(self) -> ModelProto:
        """The loss: the elements of z, weighted at random."""
        declared = ", ".join(f"float{list(value.shape)} {name}" for name, value in self.inputs.items())
        constants = {name: value for name, value in self.values.items() if name.startswith("c")}
        made = proto(f"g ({declared}) => (float z) {{ {self.body} }}", self.opset, **constants)
        weights = normal(*Session(made, threads=1).run(self.inputs)["z"].shape, seed=9)
        made.graph.initializer.append(numpy_helper.from_array(np.asarray(weights, np.float32), "weights"))
        made.graph.node.append(helper.make_node("Mul", ["z", "weights"], ["weighted"]))
        made.graph.node.append(helper.make_node("ReduceSum", ["weighted"], ["loss"], keepdims=0))
        made.graph.output[0].CopyFrom(helper.make_tensor_value_info("loss", 1, []))
        return made


def distinct(*shape: int, spread: float = 4.0) -> np.ndarray:
    """Numbers around 0, none of them 0, in random order and evenly apart."""
    count = int(np.prod(shape))
    order = np.random.default_rng(3).permutation(count)
    return ((order - count / 2 + 0.5) * (spread / count)).astype(np.float32).reshape(shape)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def floats(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


def scalar(value: float) -> np.ndarray:
    return np.array(value, np.float32)


IMAGE = {"x": normal(2, 4, 6, 6)}
SMALL = {"x": normal(1, 2, 3, 3)}
APART = {"x": distinct(2, 3, 4)}
POOLED = {"x": distinct(2, 2, 4, 4, spread=16.0)}
ABOVE = {"x": np.abs(normal(2, 3, 4)) + np.float32(0.5)}
FILTERS = {**IMAGE, "w": normal(5, 4, 3, 3), "b": normal(5)}
PAIR = {"x": normal(2, 3, 4), "y": np.abs(normal(3, 1)) + np.float32(0.5)}
ARITHMETIC = ("Add", "Sub", "Mul", "Div")
TWICE = {"csizes": floats(1, 1, 2, 2)}
NORMALIZED = {"x": normal(2, 4, 5), "s": normal(5), "b": normal(5)}

CASES = {
    "Conv": Case("z = Conv<pads=[1,1,1,1]>(x, w, b)", FILTERS),
    "Conv strided": Case("z = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w, b)", FILTERS),
    "Conv dilated": Case("z = Conv<pads=[2,2,2,2], dilations=[2,2]>(x, w, b)", FILTERS),
    "Conv, one-sided pads": Case("z = Conv<pads=[0,0,1,1]>(x, w, b)", FILTERS),
    "Conv SAME_UPPER": Case('z = Conv<auto_pad="SAME_UPPER", strides=[2,2]>(x, w)', {**IMAGE, "w": normal(5, 4, 3, 3)}),
    "Conv grouped": Case("z = Conv<group=2>(x, w, b)", {**IMAGE, "w": normal(6, 2, 3, 3), "b": normal(6)}),
    "Conv depthwise": Case("z = Conv<group=4>(x, w, b)", {**IMAGE, "w": normal(4, 1, 3, 3), "b": normal(4)}),
    "Conv 1 x 1": Case("z = Conv(x, w)", {**IMAGE, "w": normal(5, 4, 1, 1)}),
    "Conv 1-D": Case("z = Conv<pads=[1,1]>(x, w, b)", {"x": normal(2, 4, 6), "w": normal(5, 4, 3), "b": normal(5)}),
    "Conv 3-D": Case("z = Conv(x, w)", {"x": normal(2, 2, 3, 4, 3), "w": normal(3, 2, 3, 3, 3)}),
    "ConvTranspose": Case(
        "z = ConvTranspose<strides=[2,2]>(x, w, b)", {"x": normal(2, 4, 3, 3), "w": normal(4, 3, 2, 2), "b": normal(3)}
    ),
    "ConvTranspose with all": Case(
        "z = ConvTranspose<strides=[2,3], dilations=[1,2], pads=[1,0,2,1], output_padding=[1,0], group=2>(x, w)",
        {"x": normal(2, 4, 3, 3), "w": normal(4, 3, 3, 2)},
    ),
    "ConvTranspose SAME_UPPER": Case(
        'z = ConvTranspose<strides=[2,2], auto_pad="SAME_UPPER">(x, w)',
        {**SMALL, "w": normal(2, 2, 3, 3)},
    ),
    "ConvTranspose to a shape": Case(
        "z = ConvTranspose<strides=[2], output_shape=[8]>(x, w)", {"x": normal(1, 2, 4), "w": normal(2, 2, 3)}
    ),
    "Gemm": Case("z = Gemm<transB=1>(x, w, b)", {"x": normal(3, 4), "w": normal(5, 4), "b": normal(5)}),
    "Gemm scaled": Case(
        "z = Gemm<transA=1, alpha=0.5, beta=2.0>(x, w, b)", {"x": normal(4, 3), "w": normal(4, 5), "b": normal(3, 1)}
    ),
    "MatMul": Case("z = MatMul(x, w)", {"x": normal(2, 3, 4), "w": normal(4, 5)}),
    "MatMul batched": Case("z = MatMul(x, w)", {"x": normal(2, 3, 4), "w": normal(2, 4, 5)}),
    **{
        op: Case(f"z = {op}(x)", APART)
        for op in (
            *("Relu", "LeakyRelu", "Sigmoid", "HardSigmoid", "HardSwish", "Tanh", "Elu", "Selu", "Celu", "Erf"),
            *("ThresholdedRelu", "Softplus", "Softsign", "Softmax", "LogSoftmax", "Exp", "Abs", "Neg", "Sin", "Cos"),
            *("Identity", "Dropout", "Transpose", "Max", "Sum", "Flatten", "Trilu"),
            *("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin", "ReduceL1", "ReduceL2", "ReduceLogSumExp"),
            *("ReduceSumSquare", "LpNormalization"),
        )
    },
    **{op: Case(f"z = {op}(x)", ABOVE) for op in ("Sqrt", "Log", "Reciprocal", "ReduceLogSum")},
    **{op: Case(f"z = {op}(x)", APART, opset=20) for op in ("Gelu", "Mish")},
    "Gelu by tanh": Case('z = Gelu<approximate="tanh">(x)', APART, opset=20),
    **{
        f"{op} of two": Case(f"z = {op}(x, y)", PAIR)
        for op in ("Add", "Sub", "Mul", "Div", "Sum", "Mean", "Min", "Max")
    },
    **{f"{op} a scalar": Case(f"z = {op}(x, y)", {**ABOVE, "y": scalar(1.5)}) for op in ARITHMETIC},
    "Max of three": Case(
        "z = Max(x, y, v)",
        {**APART, "y": APART["x"][::-1].copy(), "v": APART["x"][:, ::-1] + scalar(0.03)},
    ),
    "Clip": Case("z = Clip(x, c0, c1)", {**APART, "c0": scalar(0), "c1": scalar(1)}),
    "Clip from below": Case("z = Clip(x, c0)", {**APART, "c0": scalar(0)}),
    "PRelu": Case("z = PRelu(x, s)", {**APART, "s": normal(3, 1)}),
    "Pow": Case("z = Pow(x, c)", {**ABOVE, "c": scalar(2.5)}),
    "Softmax, axis 1": Case("z = Softmax<axis=1>(x)", APART),
    "x * x": Case("z = Mul(x, x)", APART),
    "x used often": Case("a = Relu(x) b = Sigmoid(x) d = Mul(a, b) z = Add(d, x)", APART),
    "mask": Case("a = Greater(x, c) b = Cast<to=1>(a) z = Mul(b, x)", {**APART, "c": scalar(0)}),
    "Cast": Case("a = Cast<to=11>(x) z = Cast<to=1>(a)", APART),
    "Where": Case("a = Greater(x, c) z = Where(a, x, y)", {**APART, "y": normal(2, 3, 4), "c": scalar(0)}),
    "Where broadcast": Case("a = Greater(x, c) z = Where(a, x, y)", {**APART, "y": normal(1), "c": scalar(0)}),
    "Concat": Case("z = Concat<axis=1>(x, y)", {"x": normal(2, 3), "y": normal(2, 2)}),
    "Split": Case("a, b = Split<axis=1>(x, c) z = Mul(a, b)", {"x": normal(2, 4), "c": ints(2, 2)}),
    "Split in equal parts": Case("a, b = Split<axis=1, num_outputs=2>(x) z = Mul(a, b)", {"x": normal(2, 4)}, opset=20),
    "Split, one part read": Case("a, b = Split<axis=1>(x, c) z = Mul(b, b)", {"x": normal(2, 4), "c": ints(2, 2)}),
    "Slice": Case(
        "z = Slice(x, c0, c1, c2, c3)", {"x": normal(2, 5), "c0": ints(0), "c1": ints(5), "c2": ints(1), "c3": ints(2)}
    ),
    "Slice backwards": Case(
        "z = Slice(x, c0, c1, c2, c3)",
        {"x": normal(2, 5), "c0": ints(-1), "c1": ints(-6), "c2": ints(1), "c3": ints(-2)},
    ),
    "Gather, axis 0": Case("z = Gather<axis=0>(x, c)", {"x": normal(4, 3), "c": ints(0, 2, 2)}),
    "Gather, axis 1": Case("z = Gather<axis=1>(x, c)", {"x": normal(2, 4, 3), "c": ints(-1, 2, 2)}),
    "Gather one": Case("z = Gather<axis=1>(x, c)", {"x": normal(2, 4, 3), "c": np.array(1)}),
    "GatherElements": Case(
        "z = GatherElements<axis=1>(x, c)", {"x": normal(2, 4), "c": np.array([[0, 1, 1], [2, 3, 0]])}
    ),
    "GatherND": Case("z = GatherND(x, c)", {"x": normal(2, 4), "c": np.array([[0, 1], [1, 3]])}),
    "ScatterElements": Case(
        "z = ScatterElements<axis=1>(x, c, u)", {"x": normal(2, 4), "c": np.array([[0], [2]]), "u": normal(2, 1)}
    ),
    "ScatterND": Case("z = ScatterND(x, c, u)", {"x": normal(2, 4), "c": np.array([[0]]), "u": normal(1, 4)}),
    "TopK": Case("z, i = TopK<axis=1>(x, c)", {**APART, "c": ints(2)}),
    "Reshape": Case("z = Reshape(x, c)", {"x": normal(2, 3, 4), "c": ints(0, -1)}),
    "Squeeze": Case("z = Squeeze(x, c)", {"x": normal(2, 1, 3), "c": ints(1)}),
    "Unsqueeze": Case("z = Unsqueeze(x, c)", {"x": normal(2, 3), "c": ints(1)}),
    "Expand": Case("z = Expand(x, c)", {"x": normal(3, 1), "c": ints(2, 3, 4)}),
    "Tile": Case("z = Tile(x, c)", {"x": normal(2, 3), "c": ints(2, 2)}),
    "Pad": Case("z = Pad(x, c)", {"x": normal(2, 3), "c": ints(0, -1, 1, 2)}),
    "Pad reflect": Case('z = Pad<mode="reflect">(x, c)', {"x": normal(2, 3), "c": ints(0, 1, 0, 2)}),
    "Pad edge": Case('z = Pad<mode="edge">(x, c)', {"x": normal(2, 3), "c": ints(1, -1, 0, 2)}),
    "Pad on axes": Case(
        "z = Pad(x, c0, c1, c2)", {"x": normal(2, 3), "c0": ints(1, 2), "c1": scalar(2), "c2": ints(1)}, opset=20
    ),
    "DepthToSpace": Case("z = DepthToSpace<blocksize=2>(x)", IMAGE),
    "DepthToSpace CRD": Case('z = DepthToSpace<blocksize=2, mode="CRD">(x)', IMAGE),
    "SpaceToDepth": Case("z = SpaceToDepth<blocksize=2>(x)", IMAGE),
    "AveragePool": Case("z = AveragePool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x)", IMAGE),
    "AveragePool over pads": Case("z = AveragePool<kernel_shape=[3,3], pads=[1,1,1,1], count_include_pad=1>(x)", IMAGE),
    "AveragePool SAME_LOWER": Case('z = AveragePool<kernel_shape=[2,2], auto_pad="SAME_LOWER">(x)', IMAGE),
    "AveragePool 1-D": Case("z = AveragePool<kernel_shape=[2]>(x)", {"x": normal(2, 3, 4)}),
    "AveragePool ceil": Case("z = AveragePool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(x)", IMAGE, opset=20),
    "MaxPool": Case("z = MaxPool<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(x)", POOLED),
    "MaxPool ceil": Case("z = MaxPool<kernel_shape=[3,3], strides=[2,2], ceil_mode=1>(x)", POOLED),
    "MaxPool dilated": Case("z = MaxPool<kernel_shape=[2,2], dilations=[2,2]>(x)", POOLED),
    "MaxPool SAME_LOWER": Case('z = MaxPool<kernel_shape=[2,2], auto_pad="SAME_LOWER">(x)', POOLED),
    "MaxPool 1-D": Case("z = MaxPool<kernel_shape=[2]>(x)", APART),
    "MaxPool 3-D": Case("z = MaxPool<kernel_shape=[2,2,2]>(x)", {"x": distinct(1, 2, 3, 3, 3, spread=16.0)}),
    "GlobalAveragePool": Case("z = GlobalAveragePool(x)", IMAGE),
    "GlobalMaxPool": Case("z = GlobalMaxPool(x)", POOLED),
    "ReduceMean, axes": Case("z = ReduceMean<axes=[1,2], keepdims=0>(x)", APART),
    "ReduceMean, axes as input": Case("z = ReduceMean(x, c)", {**APART, "c": ints(1, 2)}, opset=20),
    "ReduceSum, axes": Case("z = ReduceSum<keepdims=0>(x, c)", {**APART, "c": ints(-1)}),
    "ReduceMax, axes": Case("z = ReduceMax<axes=[0,2], keepdims=0>(x)", APART),
    "ReduceMax, axes as input": Case("z = ReduceMax(x, c)", {**APART, "c": ints(-1)}, opset=20),
    "ReduceL1, axes": Case("z = ReduceL1<axes=[1]>(x)", APART),
    "Resize nearest": Case(
        'z = Resize<mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor">(x,, csizes)',
        {**SMALL, **TWICE},
    ),
    "Resize linear": Case('z = Resize<mode="linear">(x,, csizes)', {**SMALL, **TWICE}),
    "Resize cubic": Case('z = Resize<mode="cubic">(x,, csizes)', {**SMALL, **TWICE}),
    "Resize by corners": Case(
        'z = Resize<mode="linear", coordinate_transformation_mode="align_corners">(x,, csizes)', {**SMALL, **TWICE}
    ),
    "Resize to a size": Case('z = Resize<mode="linear">(x,,, c)', {**SMALL, "c": ints(1, 2, 5, 2)}),
    "Resize, axis 0": Case("z = Resize(x,, c)", {"x": normal(2, 3, 4), "c": floats(2, 1, 1)}),
    "Einsum of one": Case('z = Einsum<equation="ncv->vn">(x)', APART),
    "Einsum over the last axis": Case('z = Einsum<equation="nvc->vn">(x)', APART),
    "Einsum": Case('z = Einsum<equation="nchw, dc -> ndhw">(x, w)', {"x": normal(2, 4, 3, 3), "w": normal(5, 4)}),
    "Einsum in batches": Case(
        'z = Einsum<equation="bhqd,bhkds->bqhk">(x, w)', {"x": normal(2, 3, 2, 4), "w": normal(2, 3, 5, 4, 2)}
    ),
    "BatchNormalization": Case(
        "z = BatchNormalization(x, s, b, c0, c1)",
        {**IMAGE, "s": normal(4), "b": normal(4), "c0": normal(4), "c1": np.abs(normal(4)) + scalar(0.5)},
    ),
    "InstanceNormalization": Case("z = InstanceNormalization(x, s, b)", {**IMAGE, "s": normal(4), "b": normal(4)}),
    "LayerNormalization": Case("z = LayerNormalization(x, s, b)", NORMALIZED),
    "GroupNormalization by group": Case(
        "z = GroupNormalization<num_groups=2>(x, s, b)", {**NORMALIZED, "s": normal(2), "b": normal(2)}, opset=20
    ),
    "LpNormalization, p = 1": Case("z = LpNormalization<axis=1, p=1>(x)", ABOVE),
    "LRN": Case("z = LRN<size=3, alpha=0.5>(x)", IMAGE),
}
if RUNTIME <= (1, 23):
    del CASES["Einsum of one"]
