"""One rule of the DLA, one case that it lets pass and one that it does not."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from builders import model, normal
from onnx_compress.compiler.dla import DlaLayer, dla_layers, dla_share
from onnx_compress.compiler.graph.shapes import infer_shapes

X = "float[1,4,8,8] x"
CONSTANTS = {
    "one": np.array([1]), "two": np.array([2]), "zero": np.array([0]), "all": np.array([0, 0, 2, 2]),
    "four": np.array([4, 8, 8, 8]), "none": np.array([], np.float32),
    "f0": np.array(0, np.float32), "f6": np.array(6, np.float32), "f128": np.array(128, np.float32),
    "half": np.array(0.5, np.float32), "k": normal(4), "slope": normal(4, 1, 1),
    "up2": np.float32([1, 1, 2, 2]), "up33": np.float32([1, 1, 33, 2]), "up4": np.float32([1, 1, 4, 1.5]),
    "up5": np.float32([1, 1, 5, 5]), "up15": np.float32([1, 1, 1.5, 2]), "deep": np.float32([1, 2, 2, 2]),
}  # fmt: skip


def layers(graph: gs.Graph, **options: str) -> list[DlaLayer]:
    return dla_layers(graph, infer_shapes(graph), **options)


def one(layer: str, inputs: str = X, precision: str = "int8", **weights: np.ndarray) -> DlaLayer:
    """The layer that writes `y`."""
    body = layer if "=" in layer.split("(")[0].split("<")[0] else f"y = {layer}"
    return layers(model(f"g ({inputs}) => (float y) {{ {body} }}", **CONSTANTS, **weights).graph, precision=precision)[
        -1
    ]


def check(layer: DlaLayer, reason: str | None) -> None:
    assert layer.runs == (reason is None)
    assert reason is None or reason in layer.reason


def conv(attributes: str, shape: tuple[int, ...], inputs: str = X, **options: str) -> DlaLayer:
    return one(f"Conv<{attributes}>(x, w)", inputs, w=normal(*shape), **options)


WIDE = "float[1,1,64,64] x"


@pytest.mark.parametrize(
    ("attributes", "shape", "inputs", "reason"),
    [
        ("group = 1", (2, 1, 32, 32), WIDE, None),
        ("group = 1", (2, 1, 33, 1), WIDE, "kernel 33 x 1, expected 1 to 32"),
        ("strides = [8, 1]", (2, 1, 3, 3), WIDE, None),
        ("strides = [9, 1]", (2, 1, 3, 3), WIDE, "stride 9 x 1, expected 1 to 8"),
        ("pads = [31, 0, 0, 31]", (2, 1, 32, 32), WIDE, None),
        ("pads = [32, 0, 0, 0]", (2, 1, 32, 32), WIDE, "padding 32 x 0 x 0 x 0, expected 0 to 31"),
        ("pads = [2, 2, 2, 2]", (2, 1, 3, 3), WIDE, None),
        ("pads = [0, 0, 0, 3]", (2, 1, 3, 3), WIDE, "padding 0 x 0 x 0 x 3 for a kernel 3 x 3, expected less"),
        ('auto_pad = "SAME_UPPER"', (2, 1, 3, 3), WIDE, None),
        ('auto_pad = "SAME_LOWER", dilations = [20, 20]', (2, 1, 2, 3), WIDE, "padding 10 x 20 x 10 x 20 for a"),
        ('auto_pad = "VALID"', (2, 1, 3, 3), WIDE, None),
        ("dilations = [32, 31]", (2, 1, 2, 2), WIDE, None),
        ("dilations = [33, 1]", (2, 1, 2, 2), WIDE, "dilation 33 x 1, expected 1 to 32"),
        ("group = 8192", (8192, 1, 1, 1), "float[1,8192,1,1] x", None),
        ("group = 1", (8192, 1, 1, 1), "float[1,1,4,4] x", None),
        ("group = 1", (8193, 1, 1, 1), "float[1,1,4,4] x", "a dimension of 8193 in 'y': at most 8192"),
        ("group = 1", (2, 4, 3), "float[1,4,8] x", "a weight of 3 dimensions, expected 4"),
    ],
)
def test_conv(attributes: str, shape: tuple[int, ...], inputs: str, reason: str | None):
    check(conv(attributes, shape, inputs), reason)


@pytest.mark.parametrize(
    ("channels", "width", "kernel", "precision", "reason"),
    [
        pytest.param(1024, 480, 1, "int8", None, id="1 and 15"),
        pytest.param(1024, 481, 1, "int8", "1 + 16 banks", id="width"),
        pytest.param(1024, 480, 1, "fp16", "1 + 30 banks", id="twice the bytes"),
        pytest.param(1024, 160, 3, "int8", None, id="1 and 5 a row"),
        pytest.param(1024, 160, 4, "int8", "1 + 20 banks", id="kernel rows"),
        pytest.param(8192, 8, 8, "int8", "16 + 16 banks", id="weights"),
        pytest.param(512, 28, 3, "int8", None, id="a usual layer"),
    ],
)
def test_convolution_buffer(channels: int, width: int, kernel: int, precision: str, reason: str | None):
    inputs = f"float[1,{channels},{kernel},{width}] x"
    check(conv("group = 1", (1, channels, kernel, kernel), inputs, precision=precision), reason)


def test_convolution_buffer_with_dilation():
    """5 banks a row of the input: rows that a tap skips count."""
    inputs = "float[1,1024,6,160] x"
    check(conv("dilations = [2, 1]", (1, 1024, 2, 1), inputs), None)
    check(conv("dilations = [3, 1]", (1, 1024, 2, 1), inputs), "1 + 20 banks")


def test_conv_needs_a_constant_weight():
    check(one("Conv(x, v)", f"{X}, float[4,4,1,1] v"), "its weight is not constant")


@pytest.mark.parametrize(
    ("attributes", "shape", "reason"),
    [
        ("strides = [2, 2]", (4, 3, 32, 32), None),
        ("strides = [1, 1]", (4, 3, 33, 1), "kernel 33 x 1, expected 1 to 32, or 1 x 64"),
        ("strides = [1, 96]", (4, 3, 1, 64), None),
        ("strides = [1, 65]", (4, 3, 1, 64), "stride 1 x 65, expected 1 to 32, or 1 x 64"),
        ("pads = [1, 1, 1, 1]", (4, 3, 3, 3), "padding 1 x 1 x 1 x 1, expected 0"),
        ("group = 2", (4, 3, 3, 3), "groups 2, expected 1"),
        ("dilations = [2, 2]", (4, 3, 3, 3), "dilation 2 x 2, expected 1"),
        ("dilations = [2]", (4, 3, 3), "a weight of 3 dimensions, expected 4"),
    ],
)
def test_conv_transpose(attributes: str, shape: tuple[int, ...], reason: str | None):
    inputs = X if len(shape) == 4 else "float[1,4,8] x"
    check(one(f"ConvTranspose<{attributes}>(x, w)", inputs, w=normal(*shape)), reason)


@pytest.mark.parametrize("op", ["Gemm", "MatMul"])
def test_matrices(op: str):
    check(one(f"{op}(x, w)", "float[1,8] x", w=normal(8, 5)), None)
    check(one(f"{op}(x, v)", "float[1,8] x, float[8,5] v"), "its weight is not constant")
    check(one(f"{op}(x, w)", "float[1,1] x", w=normal(1, 8193)), "8193")


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("MaxPool<kernel_shape = [8, 8]>(x)", None),
        ("MaxPool<kernel_shape = [9, 1]>(x)", "window 9 x 1, expected 1 to 8"),
        ("MaxPool<kernel_shape = [2, 2], strides = [16, 1]>(x)", None),
        ("MaxPool<kernel_shape = [2, 2], strides = [17, 1]>(x)", "stride 17 x 1, expected 1 to 16"),
        ("MaxPool<kernel_shape = [8, 8], pads = [7, 7, 7, 7]>(x)", None),
        ("MaxPool<kernel_shape = [8, 8], pads = [8, 0, 0, 0]>(x)", "padding 8 x 0 x 0 x 0, expected 0 to 7"),
        ("AveragePool<kernel_shape = [3, 3]>(x)", None),
        ("AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(x)", None),
        ("AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)", "leaves the padding out"),
        ('AveragePool<kernel_shape = [3, 3], auto_pad = "SAME_UPPER">(x)', "leaves the padding out"),
    ],
)
def test_pools(layer: str, reason: str | None):
    check(one(layer, "float[1,4,40,40] x"), reason)


def test_pools_have_two_spatial_dimensions():
    check(one("MaxPool<kernel_shape = [2]>(x)", "float[1,4,8] x"), "a window of 1 dimensions, expected 2")


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("Relu(x)", None),
        ("LeakyRelu<alpha = 0.1>(x)", None),
        ("Abs(x)", None),
        ("Exp(x)", "no other unary operator"),
        ("Clip(x, f0, f6)", None),
        ("Clip(x, f6, f128)", "limits 6 and 128, expected 0, and 1 to 127"),
        ("Clip(x, f0, half)", "limits 0 and 0.5"),
        ("Clip(x, f0)", "not both given"),
        ("PRelu(x, slope)", None),
        ("PRelu(x, x)", "its slope is not constant"),
        ("Elu(x)", "Elu has no way onto the DLA"),
        ("Softmax(x)", "Softmax has no way onto the DLA"),
        ("BatchNormalization(x, k, k, k, k)", None),
        ("BatchNormalization(x, k, k, k, v)", "its parameters are not constant"),
    ],
)
def test_activations(layer: str, reason: str | None):
    check(one(layer, f"{X}, float[4] v"), reason)


def test_sigmoid_runs_in_fp16():
    assert [one(f"{op}(x)").reason for op in ("Sigmoid", "Tanh", "Relu")] == ["in FP16", "in FP16", ""]
    assert one("Sigmoid(x)", precision="fp16") == DlaLayer("Sigmoid_0", "Sigmoid", True, "", 0)


def test_clip_before_opset_11():
    graph = model(f"g ({X}) => (float y) {{ y = Clip<min = 0.0, max = 6.0>(x) }}", opset=10).graph
    assert layers(graph)[0].runs


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Max", "Min"])
def test_elementwise(op: str):
    check(one(f"{op}(x, x)"), None)
    check(one(f"{op}(x, slope)"), None)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [("Div(x, x)", "Div has no way"), ("Pow(x, x)", "Pow has no way"), ("Sum(x, x, x)", "operands 3")],
)
def test_elementwise_that_stays(layer: str, reason: str):
    check(one(layer), reason)


@pytest.mark.parametrize(
    ("layer", "reason"),
    [
        ("Concat<axis = 1>(x, x)", None),
        ("Concat<axis = -3>(x, x)", None),
        ("Concat<axis = 2>(x, x)", "along axis 2 of 4 dimensions"),
        ("Slice(x, zero, two, one)", None),
        ("Slice(x, zero, one, zero)", "along axis 0, the batch"),
        ("Slice(x, zero, two)", "along axis 0, the batch"),
        ("Slice(x, zero, two, one, two)", "steps 2, expected 1"),
        ("Slice(x, zero, e, one)", "the shape of 'y' is not known"),
        ("y, z = Split<axis = 1>(x, halves)", None),
        ("y, z = Split<axis = 0>(b, halves)", "along axis 0, the batch"),
        ("LRN<size = 5>(x)", None),
        ("LRN<size = 4>(x)", "window 4, expected one of 3, 5, 7, 9"),
        ('Resize<mode = "nearest">(x, none, up2)', None),
        ('Resize<mode = "nearest">(x, none, up33)', "nearest by 33 x 2, expected by a whole factor of 1 to 32"),
        ('Resize<mode = "nearest">(x, none, up15)', "nearest by 1.5 x 2"),
        ('Resize<mode = "linear">(x, none, up4)', None),
        ('Resize<mode = "linear">(x, none, up5)', "linear by 5 x 5, expected by 1 to 4"),
        ('Resize<mode = "cubic">(x, none, up2)', "mode cubic"),
        ('Resize<mode = "nearest">(x, none, deep)', "more than height and width"),
    ],
)
def test_movers(layer: str, reason: str | None):
    check(one(layer, f"{X}, int64[1] e, float[4,4,8,8] b", halves=np.array([2, 2])), reason)


def test_slices_have_four_dimensions():
    check(one("Slice(x, zero, two, one)", "float[1,4,8] x"), "a tensor of 3 dimensions, expected 4")


@pytest.mark.parametrize(
    "layer", ["GlobalAveragePool(x)", "ReduceMean(x)", "Flatten(x)", "Gather(x, one)", "Pad(x, pads)"]
)
def test_no_way_onto_the_dla(layer: str):
    check(one(layer, pads=np.zeros(8, np.int64)), "has no way onto the DLA")


def test_no_pairs():
    body = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) a = Relu(d) y = Relu(a)"
    source = model(f"g ({X}) => (float y) {{ {body} }}", s=np.array(0.1, np.float32), z=np.array(0, np.int8))
    found = layers(source.graph)
    assert [layer.runs for layer in found] == [False, False, False, True]
    assert all("no Q/DQ pairs" in layer.reason for layer in found[:3])


@pytest.mark.parametrize(
    ("shape", "reason"),
    [
        ("N,4,8,8", None),
        ("1,4,H,8", "dimension 2 of 'x' is left open"),
        ("4096,1,1,1", None),
        ("4097,1,1,1", "a batch of 4097 in 'x': at most 4096"),
        ("64,65,1,2,2", "a batch of 4160 in 'x': at most 4096"),
        ("1,1,8192,1", None),
        ("1,1,8193,1", "a dimension of 8193 in 'x': at most 8192"),
        ("1,8193", "a dimension of 8193"),
    ],
)
def test_shapes(shape: str, reason: str | None):
    check(one("Relu(x)", f"float[{shape}] x"), reason)


def test_shapes_that_are_not_known():
    body = "i = NonZero(x) g = Gather(x, i) y = Relu(g)"
    check(layers(model(f"g ({X}) => (float y) {{ {body} }}").graph)[-1], "the shape of 'g' is not known")


def test_share_of_macs():
    body = "a = Conv(x, w) r = Relu(a) b = Conv<strides = [9, 9]>(r, v) f = Flatten(b) y = Gemm(f, g)"
    weights = {"w": normal(4, 4, 3, 3), "v": normal(2, 4, 3, 3), "g": normal(2, 5)}
    found = layers(model(f"g ({X}) => (float y) {{ {body} }}", **weights).graph)
    assert [(layer.op, layer.runs, layer.macs) for layer in found] == [
        ("Conv", True, 36 * 4 * 36), ("Relu", True, 0), ("Conv", False, 2 * 36), ("Flatten", False, 0),
        ("Gemm", True, 10),
    ]  # fmt: skip
    assert dla_share(found) == (36 * 4 * 36 + 10) / (36 * 4 * 36 + 2 * 36 + 10)
    assert dla_share([]) == 0


def test_what_is_computed_at_build_time_is_no_layer():
    found = layers(model(f"g ({X}) => (float y) {{ t = Transpose(w) y = Mul(x, t) }}", w=normal(1, 1, 1, 1)).graph)
    assert [layer.op for layer in found] == ["Mul"]


def test_macs_of_open_sizes_are_not_known():
    graph = model("g (float[1,4,H,8] x) => (float[1,4,H,8] y) { y = Conv(x, w) }", w=normal(4, 4, 1, 1)).graph
    found = dla_layers(graph, infer_shapes(graph))
    assert [layer.macs for layer in found] == [None] and dla_share(found) == 0
    assert dla_share([DlaLayer("a", "Conv", True, "", 5), DlaLayer("b", "Conv", False, "", None)]) is None
