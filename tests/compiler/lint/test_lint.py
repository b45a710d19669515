"""The lint as a whole: order, subgraphs, external data, plugins, big models, the shipped network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import normal, proto
from lint_cases import QUANTIZED, net, weight
from onnx import helper, numpy_helper
from onnx_compress.compiler.graph.weightless import weightless_copy
from onnx_compress.compiler.lint import Finding, lint
from onnx_compress.compiler.lint.network import Network
from onnx_compress.compiler.targets import TARGETS, find_target

XAVIER = find_target("xavier")
NETWORK = Path(__file__).parents[3] / "models" / "resnet20_cifar10.onnx"


def rules(model: onnx.ModelProto, target: str = "xavier", folder: Path | None = None) -> set[str]:
    return {finding.rule for finding in lint(model, find_target(target), folder)}


def test_a_finding_names_node_problem_fix_and_rule():
    model = net("y = Compress(x, c)", "float[4] x, bool[4] c")
    model.graph.node[0].name = "pick"
    assert lint(model, XAVIER) == [
        Finding(
            "operator-missing",
            "pick",
            "TensorRT 8.5 has no Compress",
            "decompose it, or compute it outside of the network",
            "error",
        )
    ]


def test_a_node_without_a_name_is_called_as_tensorrt_calls_it():
    (finding,) = lint(net("y = NonZero(x)"), XAVIER)
    assert finding.node == "node_of_y"


def test_errors_come_first():
    found = lint(net("t = NonZero(x) u = Compress(x, c) y = RandomUniform<shape=[1], seed=1.0>()"), XAVIER)
    assert [finding.severity for finding in found] == ["error", "warning", "warning"]


def test_subgraphs_are_looked_at_with_what_they_see_around_them():
    graph = """y = If(c) <
        then_branch = t () => (float a) { a = Conv(x, v) },
        else_branch = e () => (float b) { q = Clip(x, one) b = HardSwish(q) }>"""
    model = net(f"v = Identity(w) {graph}", "float[1,4,8,8] x, bool c")
    assert rules(model) >= {"conv-kernel-shape"} and "operator-missing" not in rules(model)
    assert rules(model, "xavier-8.2") >= {"conv-kernel-shape", "operator-missing"}


def test_shapes_of_subgraphs_are_inferred():
    graph = "y = If(c) < then_branch = t () => (float a) { s = Relu(x) a = Trilu(s) }, else_branch = e () => (float b) { b = Relu(x) }>"  # noqa: E501
    assert "trilu-rank" in rules(net(graph, "float[1,4,8,8] x, bool c"))
    assert "trilu-rank" not in rules(net(graph, "float[8,8] x, bool c"))


def stored_outside(model: onnx.ModelProto, folder: Path) -> onnx.ModelProto:
    """The model as it is read without its external data."""
    path = folder / "model.onnx"
    onnx.save(model, path, save_as_external_data=True, location="data", size_threshold=0, convert_attribute=True)
    return onnx.load(path, load_external_data=False)


def test_small_numbers_are_read_from_external_data(tmp_path: Path):
    model = stored_outside(net("y = QuantizeLinear(x, zero, none)"), tmp_path)
    assert rules(model, folder=tmp_path) == {"qdq-scale"}
    assert rules(model) == set(), "without the folder the scale is unknown"


def test_what_is_unknown_is_not_an_error():
    model = net(
        "s = Shape(x) r = Reshape(x, n) d = DepthToSpace<blocksize=2>(r) y = Conv(d, m)", "float x, int64[k] n, float m"
    )
    assert rules(model) == {"conv-kernel-shape", "input-cast"}


def test_registered_plugins_are_no_unknown_operators():
    model = net("y = my.Thing(x)", domains=', "my" : 1')
    assert [finding.rule for finding in lint(model, XAVIER)] == ["operator-missing"]
    assert "--plugin-op Thing" in lint(model, XAVIER)[0].fix
    assert lint(model, XAVIER, plugins=["Thing"]) == []


def test_operators_of_the_standard_need_no_plugin():
    (finding,) = lint(net("y = LayerNormalization(x, b)", "float[2,4] x"), XAVIER)
    assert "opset 16" in finding.fix and lint(net("y = LayerNormalization(x, b)"), find_target("trt10")) == []


def test_an_operator_of_a_later_version_says_which():
    finding = lint(net("y = Shrink(x)", opset=13), find_target("xavier-8.2"))[0]
    assert finding.rule == "operator-missing" and "TensorRT 8.4" in finding.fix


@pytest.mark.parametrize("layer", ["Conv<kernel_shape=[3,3]>", "ConvTranspose<kernel_shape=[3,3]>"])
def test_quantized_layers_in_the_right_form_pass(layer: str):
    model = net(weight(layer))
    for index, node in enumerate(model.graph.node):
        node.name = f"node{index}"
    assert lint(model, XAVIER) == []


def test_a_weight_is_a_weight_behind_a_transpose():
    body = (
        "q = QuantizeLinear<axis=0>(w, scales, none4) t = Transpose(q) y = DequantizeLinear<axis=3>(t, scales, none4)"
    )
    assert "qdq-per-channel" not in rules(net(body))


def test_a_cycle_does_not_hang():
    model = net("q = QuantizeLinear<axis=1>(t, scales, none4) t = Identity(q) y = Relu(x)")
    assert "qdq-per-channel" in rules(model)


def test_depthwise_convs_may_be_quantized():
    body = f"{QUANTIZED} qd = QuantizeLinear(k, one, none) v = DequantizeLinear(qd, one, none)"
    conv = "y = Conv<group=4, kernel_shape=[3,3]>(d, v)"
    assert "conv-groups" not in rules(net(f"{body} {conv}", k=normal(4, 1, 3, 3)))
    assert "conv-groups" in rules(net(f"{body} {conv}", "float[1,8,8,8] x", k=normal(8, 2, 3, 3)))


def test_big_weights_are_not_copied():
    model = net("a = Conv(x, big) c = Constant() y = Relu(a)", big=normal(64, 4, 3, 3))
    model.graph.node[1].attribute.append(helper.make_attribute("value", numpy_helper.from_array(normal(5000))))
    copy = weightless_copy(model)
    assert copy.ByteSize() < 600
    assert {info.name for info in copy.graph.input} == {"x", "big", "c"}
    network = Network(model, XAVIER)
    assert network.nodes[2].shape(0) == (1, 64, 6, 6)


def test_constants_of_subgraphs_are_not_copied():
    branch = "{ c = Constant() a = Relu(c) }"
    model = net(
        f"y = If(p) < then_branch = t () => (float a) {branch}, else_branch = e () => (float a) {branch}>", "bool p"
    )
    for attribute in model.graph.node[0].attribute:
        value = helper.make_attribute("value", numpy_helper.from_array(normal(5000)))
        attribute.g.node[0].attribute.append(value)
    assert weightless_copy(model).ByteSize() < 600
    assert Network(model, XAVIER).nodes[2].shape(0) == (5000,)


def test_models_that_cannot_be_inferred_are_still_checked():
    assert "opset-new" in rules(net("y = Add(x, b)", opset=99))
    assert "operator-missing" in rules(net("t = Reshape(x, k) y = Compress(t, t)", "float[3] x"))


def test_an_empty_model_passes():
    assert lint(proto("g (float[1] x) => (float[1] x) { }"), XAVIER) == []


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_said_of_the_shipped_network_is_true(target: str):
    found = lint(onnx.load(NETWORK), find_target(target), NETWORK.parent)
    expected: set[str] = set()
    if (find_target(target).tensorrt or (10, 0)) < (10, 0):
        expected |= {"batchnorm-unfolded", "batchnorm-computed"}
    if target in ("xavier-8.2", "xavier-8.0"):
        expected |= {"opset-new", "ir-new"}
    if target == "xavier-dla":
        expected |= {"dla-dynamic"}
    assert {finding.rule for finding in found} == expected
    assert {finding.rule for finding in found if finding.severity == "error"} == expected & {"opset-new"}


def test_values_of_a_constant_node():
    model = net("c = Constant<value_ints=[1, 2]>() y = Reshape(x, c)", "float[2] x")
    values = Network(model, XAVIER).nodes[1].values(1)
    assert values is not None and values.dtype == np.int64 and values.tolist() == [1, 2]


NORM = "BatchNormalization"


@pytest.mark.parametrize("target", ["xavier", "trt10", "ort"])
@pytest.mark.parametrize(
    ("body", "opset"),
    [
        (f"y, a, d, e, f = {NORM}(x, b, b, b, b)", 9),
        (f"y, a, d = {NORM}<training_mode=1>(x, b, b, b, b)", 17),
        (f"y = {NORM}<is_test=0>(x, b, b, b, b)", 6),
        ("y = Dropout<is_test=0>(x)", 6),
        ("y = Dropout(x, one, yes)", 17),
    ],
)
def test_training_mode_is_one_error_whatever_the_engine(body: str, opset: int, target: str):
    found = [each for each in lint(net(body, opset=opset), find_target(target)) if each.severity == "error"]
    assert ["training" in each.rule for each in found] == [True]
    assert found[0].fix == "export the network in inference mode"
