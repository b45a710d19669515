"""Nothing is counted from a guess: a budget whose cost hangs on an unknown shape is refused by name."""

from __future__ import annotations

from pathlib import Path

import builders
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx_compress import compress
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.passes.budgets import search
from onnx_compress.runtime.shapes import network_shapes

PASSES = ("basis", "sbf", "sparse-lowrank", "prune")
BEHIND = """g (float[1,3,16,16] x) => (float[1,32,H,W] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    b = plugins.MyAct(a)
    c = Conv<pads=[1,1,1,1]>(b, w2)
    d = Relu(c)
    y = Conv<pads=[1,1,1,1]>(d, w3)
}"""
OPEN = """g (float[N,3,H,W] x) => (float[N,32,H,W] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    b = Relu(a)
    c = Conv<pads=[1,1,1,1]>(b, w2)
    d = Relu(c)
    y = Conv<pads=[1,1,1,1]>(d, w3)
}"""
SHAPES = {"w1": (16, 3, 3, 3), "w2": (32, 16, 3, 3), "w3": (32, 32, 3, 3)}
MACS = 256 * (16 * 27 + 32 * 144 + 32 * 288)


def network(text: str) -> onnx.ModelProto:
    weights = {name: builders.normal(*shape, seed=i) / 20 for i, (name, shape) in enumerate(SHAPES.items())}
    return builders.proto(text, domains=', "plugins" : 1', **weights)


def refusal(text: str, pipeline: str) -> str:
    with pytest.raises(CompressError) as raised:
        compress(network(text), pipeline, plugin_operators=["MyAct"])
    assert raised.value.exit_code == 1
    return str(raised.value)


@pytest.mark.parametrize("budget", ["macs=0.6", "latency=0.9", "macs=0.6:params=0.9"])
@pytest.mark.parametrize("name", PASSES)
def test_a_shape_behind_an_unknown_operator_is_named(name: str, budget: str):
    said = refusal(BEHIND, f"{name}:{budget}")
    assert said.startswith(f"budget: {budget} cannot be counted: the shape of 'b' behind MyAct '")
    assert "budget by params= or bytes=" in said


@pytest.mark.parametrize("budget", ["macs=0.6", "latency=0.9"])
@pytest.mark.parametrize("name", PASSES)
def test_an_open_size_is_named(name: str, budget: str):
    said = refusal(OPEN, f"{name}:{budget}")
    assert said.startswith(f"budget: {budget} cannot be counted: the size of input 'x' is open")
    assert "give data or shapes x:1x3x?x?, or budget by params= or bytes=" in said


@pytest.mark.parametrize("text", [BEHIND, OPEN])
@pytest.mark.parametrize("name", PASSES)
def test_parameters_need_no_shapes(name: str, text: str):
    report = compress(network(text), f"{name}:params=0.6", plugin_operators=["MyAct"]).report
    assert report["before"]["macs"] is report["after"]["macs"] is report["before"]["latency"] is None
    assert report["after"]["params"] <= 0.6 * report["before"]["params"]
    assert any(note.startswith("MACs and latency are not known: the s") for note in report["notes"])


@pytest.mark.parametrize("text", [BEHIND, OPEN])
@pytest.mark.parametrize("name", PASSES)
def test_the_default_without_data_needs_no_shapes(name: str, text: str):
    assert compress(network(text), name, plugin_operators=["MyAct"]).report["before"]["macs"] is None


def test_what_is_known_is_counted():
    """A Conv before the operator keeps its MACs in the table, those behind it have none."""
    report = compress(network(BEHIND), "basis:params=0.6", plugin_operators=["MyAct"]).report
    assert [layer["before"]["macs"] for layer in report["layers"]] == [256 * 16 * 27, None, None]


@pytest.mark.parametrize("name", PASSES)
def test_given_sizes_are_counted(name: str):
    result = compress(network(OPEN), f"{name}:macs=0.6", shapes=["x:1x3x16x16"])
    assert result.report["before"]["macs"] == MACS and 0 < result.report["after"]["macs"] <= 0.6 * MACS
    assert "--shapes=x:1x3x16x16" in result.report["target"]["command"]


def test_an_input_without_a_rank_takes_the_one_that_is_given():
    model = network(OPEN.replace("float[N,3,H,W] x", "float x"))
    model.graph.input[0].type.tensor_type.ClearField("shape")
    with pytest.raises(CompressError, match="the size of input 'x' is open"):
        compress(model, "basis:macs=0.6")
    assert compress(model, "basis:macs=0.6", shapes=["x:1x3x16x16"]).report["before"]["macs"] == MACS


def test_sizes_of_the_data_are_counted_unless_others_are_given():
    data = builders.normal(8, 3, 16, 16)
    assert compress(network(OPEN), "basis:macs=0.6", data=data).report["before"]["macs"] == MACS
    asked = compress(network(OPEN), "basis:macs=0.6", data=data, shapes=["x:1x3x32x32"])
    assert asked.report["before"]["macs"] == 4 * MACS


def test_shapes_of_no_input_are_refused():
    with pytest.raises(CompressError, match="the model has no input 'z'"):
        compress(network(OPEN), "basis:macs=0.6", shapes=["z:1x3x16x16"])


def test_a_run_tells_shapes_that_inference_does_not():
    """The second Conv reads behind an operator of onnxruntime's own, in the body of which ONNX cannot look."""
    text = OPEN.replace("b = Relu(a)", "b = com.microsoft.QuickGelu(a)").replace("H,W", "16,16")
    model = builders.model(text, domains=', "com.microsoft" : 1', **{n: builders.normal(*s) for n, s in SHAPES.items()})
    shapes = network_shapes(model.graph, Context(RunOptions()))
    assert shapes["b"] == (1, 16, 16, 16) and shapes["y"] == (1, 32, 16, 16)


def test_shapes_that_hang_on_values_are_not_known():
    text = "g (float[1,8] x) => (float y) { r = Relu(x) a = NonZero(r) b = Cast<to=1>(a) y = ReduceSum(b) }"
    shapes = network_shapes(builders.model(text).graph, Context(RunOptions()))
    assert "a" not in shapes and "b" not in shapes and shapes["r"] == (1, 8)


def optimized(proto: onnx.ModelProto, folder: Path, level: str) -> onnx.ModelProto:
    """As onnxruntime writes it."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(folder / "optimized.onnx")


MIXED = """g (float[1,3,16,16] x) => (float[1,32,16,16] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    b = Relu(a)
    c = Conv<pads=[1,1,1,1]>(b, w2)
    y = Conv<pads=[1,1,1,1]>(c, w3)
}"""


@pytest.mark.parametrize("name", ["basis", "sbf"])
def test_what_onnxruntime_has_optimized_is_counted(name: str, tmp_path: Path):
    """FusedConv is a Conv that stays; what reads it is counted by a run."""
    proto = optimized(network(MIXED), tmp_path, "ORT_ENABLE_EXTENDED")
    assert {node.op_type for node in proto.graph.node} == {"Conv", "FusedConv"}
    report = compress(proto, f"{name}:macs=0.6", plugin_operators=["FusedConv"]).report
    assert report["before"]["macs"] == MACS and 0 < report["after"]["macs"] <= 0.6 * MACS
    with pytest.raises(CompressError, match="cannot be reached"):
        compress(proto, f"{name}:macs=0.01", plugin_operators=["FusedConv"])


DETECTOR = """g (float[1,3,16,16] x) => (float[1,1,16,16] s, int64[K,3] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1) r = Relu(a) b = Conv(r, wb) s = Conv(r, ws)
    c = Reshape(b, four) d = Transpose<perm=[0,2,1]>(c) e = Reshape(s, one) y = NonMaxSuppression(d, e, k) }"""


@pytest.mark.parametrize("name", PASSES)
def test_a_time_that_hangs_on_values_is_not_known_and_macs_are(name: str):
    weights = {
        "w1": builders.normal(32, 3, 3, 3),
        "wb": builders.normal(4, 32, 1, 1),
        "ws": builders.normal(1, 32, 1, 1),
    }
    shapes = {"four": np.array([1, 4, 256]), "one": np.array([1, 1, 256]), "k": np.array([10])}
    model = builders.proto(DETECTOR, **weights, **shapes)
    report = compress(model, f"{name}:macs=0.9").report
    assert report["after"]["macs"] <= 0.9 * report["before"]["macs"] and report["before"]["latency"] is None
    assert "the latency is not known: the shape of 'y' behind NonMaxSuppression" in "".join(report["notes"])
    with pytest.raises(CompressError, match=r"latency=0\.9 cannot be counted.*budget by macs=, params= or bytes="):
        compress(model, f"{name}:latency=0.9")


@pytest.mark.parametrize("name", PASSES)
def test_an_agreement_cannot_be_searched_for_by_macs_that_hang_on_values(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(search, "TRIALS", 1)
    text = """g (float[N,3,16,16] x) => (float[N,4] y) {
        a = Conv<pads=[1,1,1,1]>(x, w1) s = ReduceMax<axes=[0,1,2,3], keepdims=0>(a) k = Cast<to=7>(s)
        i = Range(zero, k, one) p = Gather<axis=2>(a, i) q = Conv<pads=[1,1,1,1]>(p, w2)
        g = GlobalAveragePool(q) y = Flatten(g) }"""
    weights = {"w1": 0.4 * abs(builders.normal(8, 3, 3, 3)), "w2": builders.normal(4, 8, 3, 3)}
    scalars = {"zero": np.array(0), "one": np.array(1)}
    model = builders.proto(text, **weights, **scalars)
    images = abs(builders.normal(64, 3, 16, 16)) * np.linspace(0.5, 1.0, 64).astype(np.float32)[:, None, None, None]
    with pytest.raises(CompressError, match=r"agreement=0\.9 cannot be counted: the shape of "):
        compress(model, f"{name}:agreement=0.9", data=images)
    notes = [note for entry in compress(model, name, data=images).report["passes"] for note in entry["notes"]]
    assert any("without a budget every layer is left as it is: the shape of " in note for note in notes)


@pytest.mark.parametrize(
    "name", ["basis:energy=0.9", "basis:params=0.9", "sbf:energy=0.9", "sparse-lowrank:energy=0.9"]
)
def test_a_conv_whose_input_alone_is_not_known_is_counted_as_far_as_it_can_be(name: str):
    """The number of channels is left open, the output has a shape."""
    text = "g (float[N,C,16,16] x) => (float[N,32,16,16] y) { a = Conv<pads=[1,1,1,1]>(x, w) y = Relu(a) }"
    model = builders.proto(text, w=builders.normal(32, 16, 3, 3))
    try:
        result = compress(model, name, target="ort")
    except CompressError as error:
        assert "cannot be reached" in error.what or "cannot be counted" in error.what
    else:
        assert "energy" in name or result.report["after"]["params"] <= 0.9 * result.report["before"]["params"]
