"""The quantize pass: the form of the pairs, the numbers, what is left alone and why."""

from __future__ import annotations

from pathlib import Path

import ml_dtypes
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime as ort
import pytest
from builders import Images, model, node, normal, run
from onnx_compress.compiler.errors import UsageError
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import Model, to_proto
from onnx_compress.compiler.graph.weights import resolve
from onnx_compress.compiler.lint import lint
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.manager import PassManager
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.overrides import parse_override
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.compiler.targets import TARGETS
from onnx_compress.passes.quantization.losses import loss
from onnx_compress.passes.quantization.preparation import SINGLE_PRECISION
from onnx_compress.passes.quantize import WITHOUT_DATA, Quantize
from onnx_compress.runtime.rounded_inputs import RoundedInputs
from onnx_compress.runtime.session import Session

IMAGES = Images(normal(40, 4, 8, 8, seed=9))
TEXT = "g (float[N,4,8,8] x) => (float[N,4,H,W] y) { %s }"
WEIGHTS = {"w": normal(4, 4, 3, 3, seed=1), "v": normal(4, 4, 1, 1, seed=2), "b": normal(4, seed=3)}
ONE = TEXT % "y = Conv<pads = [1, 1, 1, 1]>(x, w, b)"
BLOCK = TEXT % (
    "r = Relu(x) a = Conv<pads = [1, 1, 1, 1]>(r, w, b) c = Relu(a) d = Conv(c, v, b) s = Add(d, r) y = Relu(s)"
)


def quantize(subject: Model, target: str = "xavier", data: Images | None = IMAGES, **options: object) -> PassResult:
    before = to_proto(subject)
    result = Quantize(**options).run(subject.graph, Context(RunOptions(target=target), data=data))
    check_graph(subject)
    onnx.checker.check_model(to_proto(subject))
    assert result.changed == (to_proto(subject) != before)
    assert_pairs_are_sound(subject.graph, TARGETS[target].asymmetric_activations)
    return result


def assert_pairs_are_sound(graph: gs.Graph, unsigned: bool) -> None:
    for entry in graph.nodes:
        if entry.op not in ("QuantizeLinear", "DequantizeLinear"):
            continue
        _, scale, zero = (resolve(tensor) for tensor in entry.inputs)
        assert scale is not None
        assert zero is not None
        assert scale.dtype == np.float32
        assert zero.dtype == (np.uint8 if unsigned and not scale.ndim else np.int8)
        assert scale.shape == zero.shape
        assert (scale >= np.finfo(np.float32).tiny).all()
        assert zero.dtype == np.uint8 or not zero.any()
        assert ("axis" in entry.attrs) == (scale.ndim == 1)


def reasons(result: PassResult) -> dict[str, str]:
    return {decision.node: decision.reason for decision in result.decisions if decision.action == "skipped"}


def scales(graph: gs.Graph) -> dict[str, float]:
    """Scale of the pair on each activation."""
    pairs = [entry for entry in graph.nodes if entry.op == "QuantizeLinear" and resolve(entry.inputs[0]) is None]
    return {entry.inputs[0].name: float(entry.inputs[1].values) for entry in pairs}


def error(before: Model, after: Model, x: np.ndarray = IMAGES.x) -> float:
    (wanted,), (found,) = ([value.astype(np.float64) for value in run(each, x=x).values()] for each in (before, after))
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def chain(graph: gs.Graph, layer: gs.Node) -> list[str]:
    """The ops behind the weight of `layer`."""
    tensor, ops = layer.inputs[1], []
    while tensor.inputs:
        ops.insert(0, tensor.inputs[0].op)
        tensor = tensor.inputs[0].inputs[0]
    assert isinstance(tensor, gs.Constant)
    return [str(tensor.values.dtype), *ops]


@pytest.mark.parametrize(
    ("target", "data", "form"),
    [
        ("xavier", IMAGES, ["float32", "QuantizeLinear", "DequantizeLinear"]),
        ("xavier", None, ["float32", "QuantizeLinear", "DequantizeLinear"]),
        ("trt10", IMAGES, ["int8", "DequantizeLinear"]),
        ("trt10", None, ["int8", "DequantizeLinear"]),
        ("ort", IMAGES, ["int8", "DequantizeLinear"]),
        ("ort", None, ["uint8", "Cast", "Sub", "Mul"]),
    ],
)
def test_form_of_weights(target: str, data: Images | None, form: list[str]):
    subject = model(ONE, **WEIGHTS)
    quantize(subject, target, data)
    conv = node(subject.graph, "Conv")
    assert chain(subject.graph, conv) == form
    assert conv.attrs["kernel_shape"] == [3, 3]
    assert isinstance(conv.inputs[2], gs.Constant)
    assert conv.inputs[2].values.dtype == np.float32


def test_both_forms_compute_the_same():
    before, after, other = (model(BLOCK, **WEIGHTS) for _ in range(3))
    quantize(after, "xavier")
    quantize(other, "trt10")
    assert error(before, after) < 0.02
    np.testing.assert_allclose(run(after, x=IMAGES.x)["y"], run(other, x=IMAGES.x)["y"], atol=1e-4)


def test_zero_points_spend_no_code_on_values_that_never_come():
    subject = model(TEXT % "r = Relu(x) a = Conv(r, v) e = Elu(a) y = Conv(e, u)", u=normal(4, 4, 1, 1), **WEIGHTS)
    quantize(subject, "ort", method="minmax", balance="none")
    pairs = {entry.inputs[0].name: entry for entry in subject.graph.nodes if entry.op == "QuantizeLinear"}
    scale, zero = (pairs["r"].inputs[index].values for index in (1, 2))
    assert (scale, zero) == (pytest.approx(IMAGES.x.max() / 255), 0)
    scale, zero = (pairs["e"].inputs[index].values for index in (1, 2))
    assert zero * scale == pytest.approx(1, abs=0.05)  # all that is below -1 after an Elu


def test_onnxruntime_runs_convs_and_sums_in_int8(tmp_path: Path):
    body = "a = Conv(x, v, b) c = Relu(a) d = Conv(c, v, b) s = Add(d, x) r = Relu(s) p = GlobalAveragePool(r)"
    text = f"g (float[N,4,8,8] x) => (float[N,5] y) {{ {body} f = Flatten(p) y = Gemm(f, m) }}"
    subject = model(text, m=normal(4, 5), **WEIGHTS)
    quantize(subject, "ort")
    ops = fused_ops(subject, tmp_path)
    assert (ops.count("QLinearConv"), ops.count("QLinearAdd")) == (2, 1)
    assert not {"Conv", "Add"} & set(ops)


def fused_ops(subject: Model, folder: Path) -> list[str]:
    """The operators that onnxruntime makes of a model."""
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(folder / "fused.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(to_proto(subject).SerializeToString(), options, ["CPUExecutionProvider"])
    return [entry.op_type for entry in onnx.load(folder / "fused.onnx").graph.node]


def test_weights_of_seven_bits_where_kernels_would_saturate():
    subject = model(ONE, **WEIGHTS)
    quantize(subject, "ort", weights="nearest", balance="none")
    stored = node(subject.graph, "Conv").inputs[1].inputs[0].inputs[0].values
    assert 0.7 * 64 < np.abs(stored.astype(int)).max() <= 64


def test_weights_alone_have_eight_bits():
    subject = model(ONE, **WEIGHTS)
    quantize(subject, "ort", None, balance="none")
    codes = node(subject.graph, "Cast").inputs[0].values
    assert codes.dtype == np.uint8
    assert int(codes.max()) - int(codes.min()) >= 254


def test_onnxruntime_rebuilds_weights_alone_once(tmp_path: Path):
    before, after = (model(BLOCK, **WEIGHTS) for _ in range(2))
    quantize(after, "ort", None)
    assert sorted(fused_ops(after, tmp_path)) == sorted(fused_ops(before, tmp_path))
    assert error(before, after) < 0.01


def test_weights_alone_of_all_kinds_of_layers():
    body = "a = Conv<group = 2>(x, g) c = Conv(a, v) d = Conv(c, v) f = Flatten(d) e = Gemm<transB = 1>(f, m)"
    text = f"g (float[N,4,8,8] x) => (float[N,5] y) {{ {body} y = MatMul(e, n) }}"
    weights = {"g": normal(4, 2, 1, 1), "v": normal(4, 4, 1, 1), "m": normal(7, 256), "n": normal(7, 5)}
    before, after = (model(text, **weights) for _ in range(2))
    result = quantize(after, "ort", None, balance="none")
    assert result.metrics == {"quantized": 5, "skipped": 0}
    assert error(before, after) < 0.01
    convs = [entry for entry in after.graph.nodes if entry.op == "Conv"]
    assert convs[1].inputs[1] is convs[2].inputs[1]


def test_weights_alone_can_be_read_and_rounded_again():
    before, once, twice, further = (model(BLOCK, **WEIGHTS) for _ in range(4))
    for subject in (once, twice, further):
        quantize(subject, "ort", None)
    assert [conv.name for conv in find_convs(once.graph)] == [conv.name for conv in find_convs(before.graph)]
    quantize(twice, "ort", None, balance="none")
    assert error(once, twice) < 1e-5
    quantize(further, "ort")
    assert error(before, further) < 0.03


def test_int8_files_are_a_quarter():
    text = "g (float[N,64,8,8] x) => (float[N,64,8,8] y) { y = Conv(x, w) }"
    subject = model(text, w=normal(64, 64, 1, 1))
    before = to_proto(subject).ByteSize()
    quantize(subject, "ort", None)
    assert to_proto(subject).ByteSize() < 0.35 * before


def test_without_data_only_weights():
    before, after = model(BLOCK, **WEIGHTS), model(BLOCK, **WEIGHTS)
    result = quantize(after, data=None)
    assert scales(after.graph) == {}
    assert result.notes == [WITHOUT_DATA]
    assert error(before, after) < 0.01


def test_scale_groups_are_written_alike():
    text = TEXT % "a = Relu(x) e = Sigmoid(x) c = Concat<axis = 1>(a, e) m = Conv(c, w8) y = Conv(m, v)"
    subject = model(text, w8=normal(4, 8, 1, 1), **WEIGHTS)
    quantize(subject, method="minmax", balance="none")
    found = scales(subject.graph)
    assert found["a"] == found["e"] == found["c"] == pytest.approx(IMAGES.x.max() / 127)
    assert found["m"] != found["c"]


def test_a_softmax_stays_symmetric():
    text = "g (float[N,6] x) => (float[N,3] y) { s = Softmax(x) y = Gemm(s, w) }"
    subject = model(text, w=normal(6, 3))
    data = Images(normal(30, 6))
    quantize(subject, data=data, method="minmax")
    peak = (np.exp(data.x) / np.exp(data.x).sum(1, keepdims=True)).max()
    assert scales(subject.graph)["s"] == pytest.approx(peak / 127, rel=1e-5)


@pytest.mark.parametrize(
    ("layer", "axis"), [("Gemm(x, w)", 1), ("Gemm<transB = 1>(x, u)", 0), ("MatMul(x, w)", 1)]
)  # fmt: skip
def test_axis_of_matrices(layer: str, axis: int):
    text = f"g (float[N,6] x) => (float[N,3] y) {{ y = {layer} }}"
    weight = normal(6, 3)
    before, after = (model(text, w=weight, u=np.ascontiguousarray(weight.T)) for _ in range(2))
    data = Images(normal(64, 6))
    quantize(after, data=data)
    dequantize = node(after.graph, layer.split("(")[0].split("<")[0]).inputs[1].inputs[0]
    assert dequantize.attrs["axis"] == axis
    assert dequantize.inputs[1].values.shape == (3,)
    assert error(before, after, data.x) < 0.02


class Sixes(Images):
    fixed_batch = 6


@pytest.mark.parametrize("attributes", ["alpha = 2.0", "beta = 0.5", "transA = 1"])
def test_scaled_and_transposed_gemms(attributes: str):
    text = f"g (float[6,6] x) => (float[6,3] y) {{ y = Gemm<{attributes}>(x, w, b) }}"
    weights = {"w": normal(6, 3), "b": normal(3, seed=4)}
    before, after = model(text, **weights), model(text, **weights)
    data = Sixes(normal(60, 6))
    quantize(after, data=data)
    assert error(before, after, data.x[:6]) < 0.03


@pytest.mark.parametrize("method", ["minmax", "percentile", "mse", "entropy"])
@pytest.mark.parametrize("weights", ["nearest", "feedback"])
def test_methods(method: str, weights: str):
    before, after = model(BLOCK, **WEIGHTS), model(BLOCK, **WEIGHTS)
    quantize(after, method=method, weights=weights, bias_correction=weights == "nearest")
    assert error(before, after) < 0.03


@pytest.mark.parametrize(
    ("attributes", "shape"),
    [
        pytest.param("strides = [2, 2], dilations = [2, 1]", (4, 4, 2, 3), id="strided, dilated"),
        pytest.param("group = 4", (8, 1, 3, 3), id="depthwise"),
        pytest.param('group = 2, auto_pad = "SAME_UPPER"', (4, 2, 3, 3), id="grouped"),
        pytest.param("pads = [0, 1, 2, 0]", (4, 4, 3, 3), id="asymmetric pads"),
    ],
)
def test_kinds_of_convs(attributes: str, shape: tuple[int, ...]):
    text = f"g (float[N,4,8,8] x) => (float[N,C,H,W] y) {{ y = Conv<{attributes}>(x, w) }}"
    before, after = model(text, w=normal(*shape)), model(text, w=normal(*shape))
    result = quantize(after, "ort")
    assert [decision.action for decision in result.decisions] == ["quantized"]
    assert error(before, after) < 0.02


@pytest.mark.parametrize(("x", "w"), [((40, 4, 16), (4, 4, 3)), ((20, 4, 4, 4, 4), (4, 4, 1, 2, 2))])
def test_1d_and_3d(x: tuple[int, ...], w: tuple[int, ...]):
    dims = ",".join(map(str, x[1:]))
    text = f"g (float[N,{dims}] x) => (float[{','.join('NCDHW'[: len(x)])}] y) {{ y = Conv(x, w) }}"
    before, after = model(text, w=normal(*w)), model(text, w=normal(*w))
    data = Images(normal(*x, seed=5))
    quantize(after, data=data)
    assert error(before, after, data.x) < 0.02


def test_a_dead_filter_and_a_dead_tensor():
    weight = WEIGHTS["w"].copy()
    weight[1] = 0
    text = TEXT % "n = Neg(x) a = Abs(n) m = Neg(a) r = Relu(m) c = Conv(r, w, b) y = Conv(c, v)"
    subject = model(text, **(WEIGHTS | {"w": weight}))
    quantize(subject)
    assert scales(subject.graph)["r"] > 0
    assert not [finding for finding in lint(to_proto(subject), TARGETS["xavier"]) if finding.severity == "error"]


@pytest.mark.parametrize("target", ["ort", "trt10", "xavier"])
def test_biases_of_filters_that_are_nearly_dead_stay_without_data(target: str):
    first = WEIGHTS["w"] * np.array([1, 1e-8, 1, 1], np.float32).reshape(4, 1, 1, 1)
    weights = WEIGHTS | {"w": first, "b": np.array([0, 50, 1, -1], np.float32)}
    before, after = (model(TEXT % "a = Conv(x, w, b) r = Relu(a) y = Conv(r, v)", **weights) for _ in range(2))
    quantize(after, target, None)
    assert error(before, after) < 0.02


NARROW = "f = GlobalAveragePool(x) h = Flatten(f) "
WITH_BIAS = {
    "Conv": "c = Conv(x, w, b)",
    "depthwise Conv": "c = Conv<group = 4>(x, k, b)",
    "Gemm": NARROW + "g = Gemm<transB = 1, beta = 0.5>(h, m, b) c = Unsqueeze(g, a)",
    "MatMul": NARROW + "g = MatMul(h, t) s = Add(g, b) c = Unsqueeze(s, a)",
}


@pytest.mark.parametrize("target", ["ort", "trt10", "xavier"])
@pytest.mark.parametrize("layer", WITH_BIAS)
@pytest.mark.parametrize("bias", [6.0, 6e6])
def test_biases_fit_into_32_bits(layer: str, target: str, bias: float):
    """INT8 kernels hold a bias in steps of (input scale * weight scale), tiny ones for a filter that is nearly dead."""
    nearly_dead = normal(4, 4, 1, 1, seed=2) * np.float32([1, 1e-7, 1e-9, 1]).reshape(4, 1, 1, 1)
    matrix = nearly_dead.reshape(4, 4)
    weights = {"w": nearly_dead, "k": nearly_dead[:, :1], "m": matrix, "t": np.ascontiguousarray(matrix.T)}
    weights |= {"b": np.array([0, bias, 1, -bias], np.float32), "a": np.array([2, 3]), "v": WEIGHTS["v"]}
    before, after = (model(TEXT % f"{WITH_BIAS[layer]} y = Conv(c, v)", **weights) for _ in range(2))
    quantize(after, target)
    assert error(before, after) < 0.03
    (written,) = run(after, x=IMAGES.x).values()
    (default,) = Session(to_proto(after), fused=True).run({"x": IMAGES.x}).values()
    np.testing.assert_allclose(default, written, atol=0.02 * np.abs(written).max())


def test_a_shared_weight_has_one_pair():
    before, after = (model(TEXT % "a = Conv(x, v, b) r = Sigmoid(a) y = Conv(r, v, b)", **WEIGHTS) for _ in range(2))
    quantize(after)
    first, second = (entry for entry in after.graph.nodes if entry.op == "Conv")
    assert first.inputs[1] is second.inputs[1]
    assert error(before, after) < 0.03


def test_a_weight_that_something_else_reads_stays_in_float():
    subject = model(TEXT % "a = Conv(x, v, b) k = Add(v, v) y = Conv(a, k)", **WEIGHTS)
    found = reasons(quantize(subject))
    assert found["Conv_0"] == "shares its weight with Add 'Add_1', which keeps it"
    assert found["Conv_2"] == "its weight is not constant"


def test_the_old_weight_is_gone():
    text = TEXT % "k = Transpose<perm = [1, 0, 2, 3]>(w) y = Conv(x, k, b)"
    subject = model(text, **WEIGHTS)
    PassManager([Quantize()]).run(subject, Context(RunOptions(target="ort"), data=IMAGES))
    assert all(entry.op != "Transpose" for entry in subject.graph.nodes)
    assert "w" not in subject.graph.tensors()


def test_everything_appears_in_the_report():
    text = TEXT % (
        "a = Conv(x, v) t = ConvTranspose(a, u) h = Conv(t, x) p = Conv<group = 2>(h, g2) y = Conv(p, w)"
    )  # fmt: skip
    subject = model(text, g2=normal(4, 2, 1, 1), u=normal(4, 4, 1, 1, seed=9), **WEIGHTS)
    result = Quantize().run(subject.graph, Context(RunOptions(exclude="Conv_4")))
    found = reasons(result)
    assert [decision.node for decision in result.decisions if decision.action == "quantized"] == ["Conv_0"]
    for name, word in [("ConvTranspose_1", "ConvTranspose"), ("Conv_2", "constant"), ("Conv_3", "grouped")]:
        assert word in found[name]
    assert "--exclude" in found["Conv_4"]
    assert result.metrics == {"quantized": 1, "skipped": 4}


def test_layers_in_subgraphs_are_reported():
    text = """g (bool c, float[1,4,8,8] x) => (float[1,4,8,8] y) {
        y = If (c) <then_branch = t () => (float[1,4,8,8] z) { z = Conv(x, v) },
                    else_branch = e () => (float[1,4,8,8] z) { z = Relu(x) }> }"""
    subject = model(text, **WEIGHTS)
    result = quantize(subject, data=None)
    assert not result.changed
    assert list(reasons(result).values()) == ["inside the body of an If, Loop or Scan"]


HALF = "r = Relu(x) a = Conv<pads = [1, 1, 1, 1]>(r, w, b) s = Add(a, r) p = GlobalAveragePool(s) y = Conv(p, v)"
CASTS = "h = Cast<to = 10>(x) r = Relu(h) a = Conv(r, v, b) p = Sigmoid(a) c = Conv(p, v) y = Cast<to = 1>(c)"


@pytest.mark.parametrize("opset", [13, 19])
@pytest.mark.parametrize("target", ["xavier", "trt10", "ort"])
@pytest.mark.parametrize("data", [IMAGES, None], ids=["data", "no data"])
@pytest.mark.parametrize("layers", [HALF, CASTS])
def test_half_precision(layers: str, data: Images | None, target: str, opset: int):
    """Every layer is quantized, in a network that is half throughout as in one between Casts."""
    kind = "float" if layers == CASTS else "float16"
    text = (TEXT % layers).replace("float", kind)
    weights = {name: values.astype(np.float16) for name, values in WEIGHTS.items()}
    before, after = (model(text, opset, **weights) for _ in range(2))
    x = IMAGES.x.astype(np.float16 if layers == HALF else np.float32)
    result = quantize(after, target, None if data is None else Images(x))
    assert [decision.action for decision in result.decisions] == ["quantized", "quantized"]
    assert SINGLE_PRECISION in result.notes
    assert error(before, after, x) < 0.03
    (default,) = Session(to_proto(after), fused=True).run({"x": x}).values()
    assert default.dtype == x.dtype and np.abs(default - run(after, x=x)["y"]).max() < 0.02 * np.abs(default).max()


CAST = "k = Cast<to = %d>(w) c = Cast<to = %d>(b) a = Conv<pads = [1, 1, 1, 1]>(%s, k, c) r = Relu(a) "
CAST_WEIGHTS = {
    "half in a float network": ("float", CAST % (1, 1, "x") + "q = Cast<to = 1>(v) y = Conv(r, q)", np.float16),
    "float in a half network": ("float16", CAST % (10, 10, "x") + "q = Cast<to = 10>(v) y = Conv(r, q)", np.float32),
    "float in half between Casts": (
        "float",
        f"h = Cast<to = 10>(x) {CAST % (10, 10, 'h')} q = Cast<to = 10>(v) d = Conv(r, q) y = Cast<to = 1>(d)",
        np.float32,
    ),
    "there and back": (
        "float16",
        CAST.replace("k = ", "j = Cast<to = 1>(w) k = ").replace("(w) c", "(j) c") % (10, 10, "x") + "y = Conv(r, v)",
        np.float16,
    ),
    "moved": (
        "float",
        CAST.replace("k = Cast", "j = Identity(w) k = Cast").replace("(w) c", "(j) c") % (1, 1, "x")
        + "q = Cast<to = 1>(v) y = Conv(r, q)",
        np.float16,
    ),
    "shared": ("float", "k = Cast<to = 1>(v) r = Conv(x, k) y = Conv(r, k)", np.float16),
}


@pytest.mark.parametrize("target", ["xavier", "xavier-8.2", "xavier-8.0", "trt10", "ort"])
@pytest.mark.parametrize("data", [True, False], ids=["data", "no data"])
@pytest.mark.parametrize("form", CAST_WEIGHTS)
def test_half_weights_that_are_cast(form: str, data: bool, target: str):
    kind, layers, stored = CAST_WEIGHTS[form]
    text = (TEXT % layers).replace("float", kind)
    weights = {name: values.astype(stored) for name, values in WEIGHTS.items() if f"({name})" in layers or name == "v"}
    before, after = (model(text, **weights) for _ in range(2))
    x = IMAGES.x.astype(np.float16 if kind == "float16" else np.float32)
    result = quantize(after, target, Images(x) if data else None)
    assert [decision.action for decision in result.decisions] == ["quantized", "quantized"]
    assert error(before, after, x) < 0.03


def test_half_precision_that_cannot_be_left():
    text = """g (float16[N,4,8,8] x) => (float16[N,4,8,8] y) { a = Conv(x, v) b = my.Act(a) y = Conv(b, v) }"""
    subject = model(text, domains=', "my" : 1', v=WEIGHTS["v"].astype(np.float16))
    result = Quantize().run(subject.graph, Context(RunOptions()))
    assert not result.changed
    assert "half precision" in reasons(result)["Conv_0"] and "my.Act" not in subject.graph.tensors()


@pytest.mark.parametrize("dtype", [np.float64, ml_dtypes.bfloat16])
def test_reasons_of_other_types(dtype: type):
    name = {"float64": "double", "bfloat16": "bfloat16"}[np.dtype(dtype).name]
    text = (TEXT % "y = Conv(x, v)").replace("float", name)
    result = Quantize().run(model(text, v=WEIGHTS["v"].astype(dtype)).graph, Context(RunOptions()))
    assert "its weight is " in reasons(result)["Conv_0"] and "constant" not in reasons(result)["Conv_0"]


def test_a_second_run_changes_nothing():
    subject = model(BLOCK, **WEIGHTS)
    quantize(subject)
    result = quantize(subject)
    assert not result.changed
    assert set(reasons(result).values()) == {"its weight is quantized already"}


def test_figures():
    result = quantize(model(ONE, **WEIGHTS))
    (decision,) = result.decisions
    assert decision.figures["channels"] == 4
    assert 0 < decision.figures["weight_error"] < 1e-4
    assert decision.figures["input_scale"] == pytest.approx(np.abs(IMAGES.x).max() / 127, rel=0.3)


def test_new_nodes_know_their_origin():
    ctx = Context(data=IMAGES)
    subject = model(ONE, **WEIGHTS)
    Quantize().run(subject.graph, ctx)
    pair = [entry.name for entry in subject.graph.nodes if "weight" in entry.name]
    assert {ctx.origins[name] for name in pair} == {"Conv_0"}


@pytest.mark.parametrize("opset", [9, 11])
def test_old_opsets_are_raised(opset: int):
    before, after = (model(BLOCK, opset=opset, ir=6, **WEIGHTS) for _ in range(2))
    result = quantize(after)
    assert after.graph.opset == 13
    assert "raised" in result.notes[0]
    assert error(before, after) < 0.02


def test_one_scale_per_weight_where_the_opset_cannot_be_raised(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onnx_compress.passes.quantization.preparation.raise_opset", lambda *_: "no adapter")
    before, after = (model(BLOCK, opset=12, ir=7, **WEIGHTS) for _ in range(2))
    result = quantize(after)
    assert result.notes[0] == "no adapter"
    assert all(np.ndim(entry.inputs[1].values) == 0 for entry in after.graph.nodes if entry.op == "DequantizeLinear")
    assert error(before, after) < 0.03


def test_no_quantizelinear_before_opset_10(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("onnx_compress.passes.quantization.preparation.raise_opset", lambda *_: "no adapter")
    result = quantize(model(ONE, opset=9, ir=6, **WEIGHTS))
    assert not result.changed
    assert reasons(result) == {"Conv_0": "opset 9 has no QuantizeLinear"}


def test_versions_of_the_target():
    subject = model(ONE, ir=10, **WEIGHTS)
    quantize(subject)
    assert to_proto(subject).ir_version == 8
    newer = model(ONE, opset=21, ir=10, **WEIGHTS)
    result = Quantize().run(newer.graph, Context(RunOptions(legalize=False)))
    assert any("opset 21" in note for note in result.notes)
    assert not any("opset" in note for note in quantize(model(ONE, opset=21, ir=10, **WEIGHTS)).notes)


def test_same_seed_same_bytes():
    def once() -> bytes:
        subject = model(BLOCK, **WEIGHTS)
        quantize(subject)
        return to_proto(subject).SerializeToString(deterministic=True)

    assert once() == once()


GATED = TEXT % "a = Conv(x, w, b) s = Sigmoid(a) m = Mul(a, s) c = Conv<group=4>(m, d) y = Conv(c, v)"


def gated(ranges: float) -> Model:
    """A depthwise Conv behind a SiLU whose channels have ranges from 1 to `ranges`."""
    gains = np.geomspace(1, ranges, 4, dtype=np.float32)
    depthwise = np.random.default_rng(3).standard_normal((4, 1, 3, 3)).astype(np.float32)
    shaped = gains.reshape(4, 1, 1, 1)
    weights = {"w": np.abs(WEIGHTS["w"]) * shaped, "b": np.abs(WEIGHTS["b"]) * gains, "d": depthwise / shaped}
    return model(GATED, **weights, v=WEIGHTS["v"])


def test_layers_that_lose_too_much_stay_in_float():
    before, after, whole = (gated(1000) for _ in range(3))
    result = quantize(after)
    assert [node for node, reason in reasons(result).items() if "stays in float" in reason] == ["Conv_3"]
    assert "1 layer stays in float" in result.notes[-1] and "'Conv_3'" in result.notes[-1]
    assert not any("float" in note for note in quantize(whole, noise=1.0).notes)
    assert error(before, after) < 0.1 * error(before, whole)
    assert_pairs_are_sound(after.graph, unsigned=False)


def test_layers_that_lose_little_are_quantized():
    result = quantize(gated(1))
    assert not result.notes and reasons(result) == {}


def test_a_layer_may_lose_what_is_set_for_it():
    ctx = Context(data=IMAGES, overrides=(parse_override("Conv_3:quantize.noise=1", [Quantize()]),), running="quantize")
    assert reasons(Quantize().run(gated(1000).graph, ctx)) == {}


def test_what_a_layer_loses_is_the_share_of_every_channel():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1000, 1, 5)).astype(np.float32)
    weight, other = rng.standard_normal((2, 1, 4, 5)).astype(np.float32)
    y = np.einsum("gnd,sgd->sgn", weight, x) * np.float32([1, 10, 100, 0]) + 3
    inputs = RoundedInputs(x, None, y.mean(axis=0), np.arange(1000), y.transpose(1, 0, 2))
    expected = np.square(y - np.einsum("gnd,sgd->sgn", other, x)).mean(axis=0)
    against = np.maximum(np.maximum(y.var(axis=0), 1e-2 * np.square(y).mean(axis=0)), 1e-4 * np.square(y).mean())
    assert loss(inputs, other[0], 0.0) == pytest.approx((expected / np.maximum(against, expected)).mean(), rel=1e-3)


UNEVEN = (np.float32(10.0) ** np.linspace(0, -3, 4, dtype=np.float32)).reshape(4, 1, 1, 1)


@pytest.mark.parametrize("between", ["", "Relu"])
@pytest.mark.parametrize("data", [None, IMAGES])
def test_balance_changes_nothing_in_float_and_helps_in_int8(between: str, data: Images | None):
    body = f"a = Conv(x, w, b) r = {between}(a) y = Conv(r, v)" if between else "a = Conv(x, w, b) y = Conv(a, v)"
    weights = {"w": WEIGHTS["w"] * UNEVEN, "b": WEIGHTS["b"] * UNEVEN.reshape(-1)}
    weights["v"] = WEIGHTS["v"] / UNEVEN.reshape(1, 4, 1, 1)
    before, plain, even = (model(TEXT % body, **weights) for _ in range(3))
    with_rounding = {"weights": "nearest", "bias_correction": False, "noise": 1.0}
    quantize(plain, balance="none", data=data, **with_rounding)
    quantize(even, data=data, **with_rounding)
    assert error(before, even) < (0.5 if data else 1.01) * error(before, plain)


def test_balance_before_depthwise_convs_and_between_several_readers():
    body = "a = Conv(x, w, b) r = Relu(a) c = Conv<group = 4, pads = [1, 1, 1, 1]>(r, d) e = Conv(r, v) y = Add(c, e)"
    weights = {"w": WEIGHTS["w"] * UNEVEN, "b": WEIGHTS["b"] * UNEVEN.reshape(-1)}
    weights |= {"v": WEIGHTS["v"] / UNEVEN.reshape(1, 4, 1, 1), "d": normal(4, 1, 3, 3, seed=21) / UNEVEN}
    before, plain, even = (model(TEXT % body, **weights) for _ in range(3))
    quantize(plain, balance="none", noise=1.0)
    quantize(even, noise=1.0)
    assert error(before, even) < 0.2 * error(before, plain)


def test_balance_stops_at_readers_outside_the_chain():
    body = "a = Conv(x, w, b) c = Conv(a, v) d = Sigmoid(a) y = Mul(c, d)"
    before, after = model(TEXT % body, **WEIGHTS), model(TEXT % body, **WEIGHTS)
    quantize(after)
    assert error(before, after) < 0.03


def test_balance_of_a_shared_weight():
    body = "a = Conv(x, v, b) c = Relu(a) y = Conv(c, v, b)"
    before, after = model(TEXT % body, **WEIGHTS), model(TEXT % body, **WEIGHTS)
    quantize(after)
    assert error(before, after) < 0.03


@pytest.mark.parametrize(
    ("spec", "word"),
    [
        ("quantize:percentile=0", "percentile"),
        ("quantize:percentile=101", "percentile"),
        ("quantize:samples=0", "samples"),
        ("quantize:method=kl", "method"),
        ("quantize:weights=best", "weights"),
    ],
)
def test_bad_options(spec: str, word: str):
    with pytest.raises(UsageError, match=word):
        parse_pipeline(spec)


@pytest.mark.parametrize("form", ["pairs", "cache"])
def test_what_was_seen_is_traced(form: str):
    traces = quantize(model(BLOCK, **WEIGHTS), form=form).traces.spreads if form == "pairs" else cached().traces.spreads
    seen = {spread.tensor: spread for spread in traces if spread.kind == "activation"}
    assert sum(seen["r"].counts) == 40 * 4 * 8 * 8
    assert all(0 < spread.low == spread.high <= spread.top * (1 + 1e-6) for spread in seen.values())
    weights = [spread for spread in traces if spread.kind == "weight"]
    assert [sum(spread.counts) for spread in weights] == ([144, 16] if form == "pairs" else [])
    assert all(spread.low < spread.high for spread in weights)


def cached() -> PassResult:
    return Quantize(form="cache").run(model(BLOCK, **WEIGHTS).graph, Context(RunOptions(target="xavier"), data=IMAGES))


SILU = TEXT % "a = Conv(x, w, b) s = Sigmoid(a) m = Mul(a, s) y = Conv(m, v)"


def scaling(gains: list[float], bias: list[float]) -> dict[str, np.ndarray]:
    """Weights of `SILU`, of which the first Conv scales its four channels."""
    gain = np.diag(gains).astype(np.float32).reshape(4, 4, 1, 1)
    return {"w": gain, "b": np.array(bias, np.float32), "v": WEIGHTS["v"]}


def test_a_result_in_front_of_a_gate_is_clipped_where_the_gate_is_flat():
    """One channel is at -60 +- 20, which a SiLU makes 0: a step that reaches down to it is 0.98, and the error 0.27."""
    weights = scaling([1, 1, 1, 20], [0, 0, 0, -60])
    before, after = model(SILU, **weights), model(SILU, **weights)
    result = quantize(after, "ort", balance="none")
    assert not reasons(result)
    assert scales(after.graph)["a"] < 0.1
    assert error(before, after) < 0.05


def test_a_given_method_keeps_its_range_in_front_of_a_gate():
    weights = scaling([1, 1, 1, 20], [0, 0, 0, -60])
    subject = model(SILU, **weights)
    quantize(subject, "ort", balance="none", method="minmax", noise=1.0)
    assert scales(subject.graph)["a"] > 0.9


def test_a_layer_whose_result_is_too_noisy_behind_its_gate_stays_in_float():
    """Three channels are within 0.1, the fourth reaches to 90: one step serves both."""
    weights = scaling([0.02, 0.02, 0.02, 20], [0, 0, 0, 0])
    subject = model(SILU, **weights)
    (decision, _) = quantize(subject, "ort", balance="none").decisions
    assert "stays in float: INT8 would lose 1.5%" in decision.reason
    assert "a" not in scales(subject.graph)


def test_where_kernels_write_float_a_gate_is_nothing_to_a_layer():
    weights = scaling([0.02, 0.02, 0.02, 20], [0, 0, 0, 0])
    (decision, _) = quantize(model(SILU, **weights), "xavier", balance="none").decisions
    assert decision.figures["int8_loss"] < 1e-3
