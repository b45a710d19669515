"""Every operator of the engine torch computes what onnxruntime computes."""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
import onnx
import pytest
from builders import normal, proto, run

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from onnx_compress.runtime.training.torch_operators import BUILT, PLAIN  # noqa: E402
from onnx_compress.runtime.training.torch_operators.elementwise import clamp  # noqa: E402
from onnx_compress.runtime.training.torch_program import TorchProgram  # noqa: E402

X = "float[2,6,5,7] x"
POSITIVE = ("Log", "Sqrt", "Acosh", "Reciprocal")
# fmt: off
UNARY = (
    "Abs", "Acosh", "Asinh", "Atan", "Ceil", "Cos", "Cosh", "Elu", "Erf", "Exp", "Floor", "HardSigmoid",
    "HardSwish", "Identity", "LeakyRelu", "Log", "LogSoftmax", "Mish", "Neg", "Reciprocal", "Relu", "Round",
    "Selu", "Sigmoid", "Sign", "Sin", "Sinh", "Softmax", "Softplus", "Softsign", "Sqrt", "Tan", "Tanh",
    "ThresholdedRelu", "Celu", "GlobalAveragePool", "GlobalMaxPool", "Flatten", "LpNormalization", "Transpose",
    "Dropout",
)
# fmt: on
NARROW = ("Asin", "Acos", "Atanh")
BINARY = ("Add", "Sub", "Mul", "Div", "Max", "Min", "PRelu", "Sum", "Mean")
COMPARISONS = ("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
REDUCTIONS = ("L1", "L2", "LogSumExp", "Max", "Mean", "Min", "Prod", "Sum", "SumSquare")

NODES = (
    "y = Elu <alpha = 0.3> (x)",
    "y = Selu <alpha = 1.5, gamma = 1.2> (x)",
    "y = Celu <alpha = 0.7> (x)",
    "y = HardSigmoid <alpha = 0.3, beta = 0.4> (x)",
    "y = LeakyRelu <alpha = 0.3> (x)",
    "y = Softmax <axis = 1> (x)",
    "y = LogSoftmax <axis = 2> (x)",
    "low = Constant <value_float = -0.5> () y = Clip (x, low)",
    "high = Constant <value_float = 0.5> () y = Clip (x, , high)",
    "y = Clip (x)",
    "low = Constant <value_float = -0.5> () high = ReduceMax <keepdims = 0> (x) y = Clip (x, low, high)",
    "two = Constant <value_float = 2.0> () y = Pow (x, two)",
    "e = Constant <value_floats = [1.0, 2.0, 3.0, 2.0, 1.0, 0.0, 2.0]> () y = Pow (x, e)",
    "b = Constant <value_float = 0.7> () y = Mod <fmod = 1> (x, b)",
    "i = Cast <to = 7> (x) m = Constant <value_int = 3> () j = Mod (i, m) k = Div (i, m) y = Sub (j, k)",
    "i = Cast <to = 3> (x) j = Cast <to = 9> (i) k = Not (j) y = CastLike (k, x)",
    "n = Neg (x) c = Less (x, n) d = Greater (x, x) e = Or (c, d) f = And (c, e) g = Xor (f, d) y = Where (g, x, n)",
    "z = Sqrt (x) n = IsNaN (z) y = Where (n, x, z)",
    "y = Concat <axis = -2> (x, x)",
    "y = Flatten <axis = 2> (x)",
    "y = Transpose <perm = [0, 2, 3, 1]> (x)",
    "s = Constant <value_ints = [0, 3, -1]> () y = Reshape (x, s)",
    "s = Shape (x) n = Shape <start = -2> (x) m = Size (x) t = Constant <value_ints = [-1, 7]> () y = Reshape (x, t)",
    "a = Constant <value_ints = [0, -1]> () y = Unsqueeze (x, a)",
    "a = Constant <value_ints = [0, -1]> () u = Unsqueeze (x, a) b = Constant <value_ints = [-1]> ()"
    " y = Squeeze (u, b)",
    "s = Constant <value_ints = [3, 1, 1, 1, 7]> () y = Expand (x, s)",
    "r = Constant <value_ints = [1, 2, 1, 3]> () y = Tile (x, r)",
    "a, y = Split <axis = 3, num_outputs = 2> (x)",
    "s = Constant <value_ints = [2, 4]> () y, b = Split <axis = 1> (x, s)",
    "s = Constant <value_ints = [1, -1]> () e = Constant <value_ints = [9223372036854775807, 1]> ()"
    " a = Constant <value_ints = [1, -1]> () d = Constant <value_ints = [2, -2]> () y = Slice (x, s, e, a, d)",
    "s = Constant <value_ints = [-1]> () e = Constant <value_ints = [-9223372036854775807]> ()"
    " a = Constant <value_ints = [2]> () d = Constant <value_ints = [-1]> () y = Slice (x, s, e, a, d)",
    "s = Constant <value_ints = [0, 1]> () e = Constant <value_ints = [-1, 4]> () y = Slice (x, s, e)",
    "i = Constant <value_int = -2> () y = Gather <axis = 1> (x, i)",
    "i = Constant <value = int64[2,2] {0, -1, 2, 3}> () y = Gather <axis = 2> (x, i)",
    "k = ArgMax <axis = 3, keepdims = 0> (x) y = Gather <axis = 3> (x, k)",
    "k = ArgMin <axis = 3> (x) y = GatherElements <axis = 3> (x, k)",
    "k = ArgMax <axis = 3, select_last_index = 1> (x) u = Cast <to = 1> (k) y = ScatterElements <axis = -1> (x, k, u)",
    'k = ArgMax <axis = 1> (x) u = Cast <to = 1> (k) y = ScatterElements <axis = 1, reduction = "add"> (x, k, u)',
    "i = Constant <value = int64[2,2] {0, -1, 1, 3}> () y = GatherND (x, i)",
    "i = Constant <value = int64[2,3,1] {0, 1, 2, 3, 4, -1}> () y = GatherND <batch_dims = 1> (x, i)",
    "i = Constant <value = int64[1,2] {1, -1}> () s = Constant <value_ints = [1, 5, 7]> () u = ConstantOfShape (s)"
    " y = ScatterND (x, i, u)",
    "k = ArgMax <axis = 1, keepdims = 0> (x) d = Constant <value_int = 6> ()"
    " v = Constant <value_floats = [-1.0, 2.0]> () y = OneHot <axis = 1> (k, d, v)",
    "p = Constant <value_ints = [0, 0, 1, 2, 0, 0, 0, -1]> () f = Constant <value_float = 3.0> () y = Pad (x, p, f)",
    'p = Constant <value_ints = [0, 0, 1, 2, 0, 0, 3, 1]> () y = Pad <mode = "reflect"> (x, p)',
    'p = Constant <value_ints = [0, 0, 1, 2, 0, 0, 3, 1]> () y = Pad <mode = "edge"> (x, p)',
    'p = Constant <value_ints = [0, 3, 0, 2, 0, 1, 0, 1]> () y = Pad <mode = "reflect"> (x, p)',
    'p = Constant <value_ints = [1, 2]> () a = Constant <value_ints = [-1]> () y = Pad <mode = "edge"> (x, p, , a)',
    "a = Constant <value_int = 1> () y = CumSum <exclusive = 1> (x, a)",
    "a = Constant <value_int = -1> () y = CumSum <reverse = 1> (x, a)",
    "k = Constant <value_ints = [3]> () y, i = TopK <axis = 1, largest = 0> (x, k)",
    "k = Constant <value_ints = [3]> () v, y = TopK (x, k)",
    "c = Concat <axis = 1> (x, x) y = DepthToSpace <blocksize = 2> (c)",
    'c = Concat <axis = 1> (x, x) y = DepthToSpace <blocksize = 2, mode = "CRD"> (c)',
    "c = Concat <axis = 2> (x, x) d = Concat <axis = 3> (c, c) y = SpaceToDepth <blocksize = 2> (d)",
    "y = AveragePool <kernel_shape = [3, 2], strides = [2, 1]> (x)",
    "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (x)",
    "y = AveragePool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1> (x)",
    "y = AveragePool <kernel_shape = [3, 3], pads = [0, 2, 1, 1], strides = [2, 2]> (x)",
    "y = AveragePool <kernel_shape = [3, 3], pads = [0, 2, 1, 1], strides = [2, 2], count_include_pad = 1> (x)",
    "y = AveragePool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (x)",
    'y = AveragePool <kernel_shape = [3, 3], auto_pad = "SAME_UPPER", strides = [2, 2]> (x)',
    "y = MaxPool <kernel_shape = [3, 2], dilations = [2, 3]> (x)",
    "y = MaxPool <kernel_shape = [3, 3], pads = [0, 1, 2, 1], strides = [2, 2]> (x)",
    "y = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 1, 1], strides = [2, 2]> (x)",
    "y = MaxPool <kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1> (x)",
    "y = MaxPool <kernel_shape = [2, 2], strides = [3, 3], pads = [1, 1, 1, 1], ceil_mode = 1> (x)",
    'y = MaxPool <kernel_shape = [3, 3], auto_pad = "SAME_LOWER", strides = [2, 2]> (x)',
    "y = LRN <size = 3, alpha = 0.1> (x)",
    "y = LRN <size = 5, alpha = 0.1, bias = 2.0, beta = 1.0> (x)",
    "y = LpNormalization <axis = 1, p = 1> (x)",
    'y = Einsum <equation = "nchw,nchv->nwv"> (x, x)',
    "t = Transpose <perm = [0, 1, 3, 2]> (x) y = MatMul (x, t)",
    "s = Constant <value_float = 0.02> () z = Constant <value = uint8 {100}> () q = QuantizeLinear (x, s, z)"
    " y = DequantizeLinear (q, s, z)",
    "s = Constant <value_floats = [0.1, 0.2, 0.01, 0.3, 0.05, 0.02]> ()"
    " z = Constant <value = int8[6] {0, 1, 0, -3, 0, 0}> () q = QuantizeLinear <axis = 1> (x, s, z)"
    " r = MaxPool <kernel_shape = [1, 1]> (q) y = DequantizeLinear <axis = 1> (r, s, z)",
    "a = Constant <value_int = 2> () b = Constant <value_int = 9> () d = Constant <value_int = 3> ()"
    " r = Range (a, b, d) f = Cast <to = 1> (r) s = ReduceSum <keepdims = 0> (f) y = Add (x, s)",
)

RESIZES = (
    'mode = "nearest"',
    'mode = "nearest", nearest_mode = "floor", coordinate_transformation_mode = "asymmetric"',
    'mode = "nearest", nearest_mode = "ceil", coordinate_transformation_mode = "align_corners"',
    'mode = "nearest", nearest_mode = "round_prefer_ceil", coordinate_transformation_mode = "pytorch_half_pixel"',
    'mode = "linear"',
    'mode = "linear", coordinate_transformation_mode = "align_corners"',
    'mode = "linear", coordinate_transformation_mode = "asymmetric"',
    'mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel"',
)
SCALES = ("1.0, 1.0, 2.0, 2.0", "1.0, 1.0, 0.6, 1.7", "1.0, 1.0, 3.0, 0.5")

CONVS = (
    ("Conv", (2, 4, 9), (6, 4, 3), "pads = [2, 0], dilations = [2]"),
    ("Conv", (2, 4, 7, 8), (6, 2, 3, 2), "group = 2, pads = [1, 1, 1, 1], strides = [2, 1]"),
    ("Conv", (2, 4, 7, 8), (8, 1, 3, 3), "group = 4, pads = [0, 1, 2, 1], strides = [2, 2]"),
    ("Conv", (2, 4, 7, 8), (6, 4, 4, 3), 'auto_pad = "SAME_UPPER", strides = [2, 2]'),
    ("Conv", (2, 4, 7, 8), (6, 4, 4, 3), 'auto_pad = "SAME_LOWER"'),
    ("Conv", (2, 4, 7, 8), (6, 4, 3, 3), 'auto_pad = "VALID"'),
    ("Conv", (1, 4, 5, 6, 7), (6, 4, 2, 3, 2), "pads = [1, 0, 1, 0, 1, 1]"),
    ("ConvTranspose", (2, 4, 5, 6), (4, 3, 3, 3), "strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 0]"),
    ("ConvTranspose", (2, 4, 9), (4, 6, 3), "strides = [2], pads = [1, 1]"),
    (
        "ConvTranspose",
        (2, 4, 5, 6),
        (4, 3, 3, 3),
        "group = 2, strides = [2, 2], output_padding = [1, 1]",
    ),
    ("ConvTranspose", (2, 4, 5, 6), (4, 3, 3, 2), "strides = [2, 3], pads = [0, 1, 2, 0], dilations = [2, 1]"),
    ("ConvTranspose", (2, 4, 5, 6), (4, 3, 3, 3), 'strides = [2, 2], auto_pad = "SAME_UPPER"'),
    ("ConvTranspose", (2, 4, 5, 6), (4, 3, 3, 3), "strides = [2, 2], output_shape = [10, 13]"),
    ("ConvTranspose", (1, 4, 3, 4, 3), (4, 3, 2, 2, 2), "strides = [2, 2, 2]"),
)

PARAMETRIC = (
    ("y = BatchNormalization <epsilon = 0.01> (x, a, b, c, d)", {"a": (6,), "b": (6,), "c": (6,), "d": (6,)}),
    ("y = InstanceNormalization (x, a, b)", {"a": (6,), "b": (6,)}),
    ("y = LayerNormalization <axis = -2> (x, a, b)", {"a": (5, 7), "b": (5, 7)}),
    ("y = LayerNormalization <axis = 2> (x, a)", {"a": (7,)}),
    ("t = Constant <value_ints = [60, 7]> () m = Reshape (x, t) y = Gemm (m, a, b)", {"a": (7, 3), "b": (3,)}),
    ("t = Constant <value_ints = [60, 7]> () m = Reshape (x, t) y = Gemm <transB = 1> (m, a)", {"a": (3, 7)}),
    ("y = GroupNormalization <num_groups = 3> (x, a, b)", {"a": (3,), "b": (3,)}),
    (
        "t = Constant <value_ints = [60, 7]> () m = Reshape (x, t)"
        " y = Gemm <transA = 1, alpha = 0.5, beta = 2.0> (m, a, b)",
        {"a": (60, 2), "b": (7, 1)},
    ),
)

LABELLED = (
    "k = ArgMax <axis = 1, keepdims = 0> (x) y = SoftmaxCrossEntropyLoss (x, k)",
    'k = ArgMin <axis = 1, keepdims = 0> (x) y = SoftmaxCrossEntropyLoss <reduction = "sum", ignore_index = 2> (x, k)',
    'k = ArgMax <axis = 1, keepdims = 0> (x) y = NegativeLogLikelihoodLoss <reduction = "none"> (x, k)',
)

OTHER = (
    (20, "y = Gelu (x)"),
    (20, 'y = Gelu <approximate = "tanh"> (x)'),
    (12, "y = Softmax (x)"),
    (11, "y = LogSoftmax <axis = 2> (x)"),
    (11, "u = Unsqueeze <axes = [0, 2]> (x) y = Squeeze <axes = [0]> (u)"),
    (11, "a, y = Split <axis = 1, split = [2, 4]> (x)"),
    (11, "y = ReduceSum <axes = [1, -1], keepdims = 0> (x)"),
    (9, "y = Slice <axes = [1], starts = [1], ends = [5]> (x)"),
    (12, "y, mask = Dropout (x)"),
    (10, "y = Clip <min = -0.5, max = 0.5> (x)"),
    (10, 'y = Pad <mode = "edge", pads = [0, 0, 1, 1, 0, 0, 0, 2]> (x)'),
    (9, 's = Constant <value = float[4] {1.0, 1.0, 2.0, 3.0}> () y = Upsample <mode = "nearest"> (x, s)'),
    (9, 's = Constant <value = float[4] {1.0, 1.0, 2.0, 3.0}> () y = Upsample <mode = "linear"> (x, s)'),
    (10, 's = Constant <value = float[4] {1.0, 1.0, 2.0, 0.7}> () y = Resize <mode = "nearest"> (x, s)'),
)


def unary() -> Iterator[str]:
    yield from (f"y = {name} (x)" for name in UNARY if name not in POSITIVE)
    shifted = "a = Abs (x) one = Constant <value_float = 1.1> () b = Add (a, one)"
    yield from (f"{shifted} y = {name} (b)" for name in (*POSITIVE, "ReduceLogSum"))
    yield from (f"a = Tanh (x) y = {name} (a)" for name in NARROW)
    yield from (f"a = Abs (x) b = Exp (a) y = {name} (x, b)" for name in BINARY)
    yield from (f"n = Neg (x) y = {name} (x, n)" for name in COMPARISONS)
    yield from (f"y = Reduce{name} (x)" for name in REDUCTIONS)
    axes = "a = Constant <value_ints = [1, -1]> ()"
    yield from (f"{axes} y = Reduce{name} <keepdims = 0> (x, a)" for name in REDUCTIONS)
    yield from (f"a = Constant <value_floats = [{s}]> () y = Resize <{r}> (x, , a)" for r in RESIZES for s in SCALES)
    yield from (f"z = Constant <value_ints = [2, 6, 7, 7]> () y = Resize <{r}> (x, , , z)" for r in RESIZES)


def computed(model: onnx.ModelProto, **inputs: np.ndarray) -> list[np.ndarray]:
    program = TorchProgram(model, {name: torch.zeros(*value.shape) for name, value in inputs.items()})
    return [value.numpy() for value in program.run([torch.tensor(value) for value in inputs.values()])]


def check(nodes: str, opset: int = 18, declared: str = X, **weights: np.ndarray) -> None:
    """With the weights as constants, and as inputs."""
    model = proto(f"g ({declared}) => (y) {{ {nodes} }}", opset=opset, **weights)
    shape = [dim.dim_value for dim in model.graph.input[0].type.tensor_type.shape.dim]
    x = normal(*shape, seed=1)
    expected = run(model, x=x)["y"]
    for inputs in ({"x": x}, {"x": x, **weights}):
        (y,) = computed(model, **inputs)
        assert y.shape == expected.shape
        np.testing.assert_allclose(y, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("nodes", [*unary(), *NODES, *LABELLED])
def test_operators(nodes: str):
    check(nodes)


@pytest.mark.parametrize(("opset", "nodes"), OTHER)
def test_forms_of_other_versions(opset: int, nodes: str):
    check(nodes, opset)


@pytest.mark.parametrize(("nodes", "shapes"), PARAMETRIC)
def test_operators_with_weights(nodes: str, shapes: dict[str, tuple[int, ...]]):
    check(nodes, **{name: np.abs(normal(*shape, seed=len(name))) for name, shape in shapes.items()})


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("operator", "shape", "kernel", "attributes"), CONVS)
def test_convs(operator: str, shape: tuple[int, ...], kernel: tuple[int, ...], attributes: str, bias: bool):
    group = 2 if "group = 2" in attributes else 1
    channels = kernel[0] if operator == "Conv" else kernel[1] * group
    weights = {"w": normal(*kernel), **({"b": normal(channels)} if bias else {})}
    declared = f"float[{','.join(map(str, shape))}] x"
    check(f"y = {operator} <{attributes}> ({', '.join(['x', *weights])})", declared=declared, **weights)


@pytest.mark.parametrize(("low", "high"), [(0.0, 6.0), (-1.0, 1.0), (-128, 127), (1e-20, 1e20)])
def test_a_clamp_has_the_gradient_of_pytorchs_own(low: float, high: float):
    """On the bounds and beside them, and in the memory order of images."""
    values = np.array([low, high], np.float32)
    near = [np.nextafter(values, np.float32(way)) for way in (-np.inf, np.inf)]
    drawn = high * normal(2, 6, 5, 7)
    drawn.ravel()[:6] = np.concatenate([values, *near])
    x = torch.tensor(drawn).contiguous(memory_format=torch.channels_last).requires_grad_()
    slope = torch.tensor(normal(2, 6, 5, 7, seed=1))
    ours, expected = (torch.autograd.grad(function(x, low, high), x, slope)[0] for function in (clamp, torch.clamp))
    assert torch.equal(clamp(x, low, high), torch.clamp(x, low, high))
    assert torch.equal(ours, expected) and int((ours == 0).sum()) > 0


def test_every_operator_is_tested():
    texts = [*unary(), *NODES, *LABELLED, *(nodes for _, nodes in OTHER), *(nodes for nodes, _ in PARAMETRIC)]
    tried = {found for text in texts for found in re.findall(r"= ([A-Z]\w+) ?[<(]", text)} | {row[0] for row in CONVS}
    assert not (PLAIN.keys() | BUILT.keys()) - tried
