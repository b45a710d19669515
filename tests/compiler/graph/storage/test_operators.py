"""The project's operator as a local function: kept by loading and saving, at every opset; others are inlined."""

from __future__ import annotations

import builders
import numpy as np
import onnx
import pytest
from onnx import helper, parser
from onnx.reference import ReferenceEvaluator
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.io import from_proto, to_proto
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.graph.storage.operators import declare, function, template_convs
from onnx_compress.compiler.lint import lint
from onnx_compress.compiler.targets import TARGETS
from reference_operators import SpatialBasisConv

TEXT = """g (float[N,4,8,8] x) => (float[N,a,b,c] y) {
    h = onnx_compress.SpatialBasisConv<
        strides = [2,1], pads = [1,1,0,1], dilations = [1,2], kernel_shape = [2,3], channel_groups = [0,0,1,1],
        plugin_version = "1", plugin_namespace = "onnx_compress"
    >(x, basis, transforms, choice, bias)
    y = Relu(h)
}"""
IMPORT = ', "onnx_compress" : 1'


def proto(opset: int = 17) -> onnx.ModelProto:
    model = builders.proto(
        TEXT,
        opset,
        domains=IMPORT,
        basis=builders.normal(3, 4, 2, 3),
        transforms=builders.normal(5, 2, 2, 3, seed=1),
        choice=np.array([2, 0, 1, 1, 0], np.int32),
        bias=builders.normal(5, seed=2),
    )
    model.functions.append(function(opset))
    return model


@pytest.mark.parametrize("opset", [13, 14, 17, 19, 21, 22])
def test_checker_inference_and_runtime_know_the_node(opset: int) -> None:
    model, x = from_proto(proto(opset)), builders.normal(2, 4, 8, 8, seed=3)
    check_graph(model)
    assert infer_shapes(model.graph)["h"] == (1, 5, 4, 6)
    reference = ReferenceEvaluator(proto(opset), new_ops=[SpatialBasisConv]).run(None, {"x": x})[0]
    assert builders.run(model, x=x)["y"] == pytest.approx(reference, rel=1e-4, abs=1e-5)


def test_it_stays_a_node_and_other_functions_do_not() -> None:
    model = proto()
    model.functions.append(
        parser.parse_function('<domain: "other", opset_import: ["" : 17]> Twice (a) => (b) { b = Add(a, a) }')
    )
    model.opset_import.append(helper.make_opsetid("other", 1))
    model.graph.node[1].domain, model.graph.node[1].op_type = "other", "Twice"
    again = to_proto(from_proto(to_proto(from_proto(model))))
    assert [node.op_type for node in again.graph.node] == ["SpatialBasisConv", "Add"]
    assert [(entry.domain, entry.name) for entry in again.functions] == [("onnx_compress", "SpatialBasisConv")]


def test_the_function_follows_the_opset_of_the_graph() -> None:
    graph = from_proto(proto(17)).graph
    graph.opset = 13
    declare(graph)
    declare(graph)
    assert [entry.opset for entry in graph.functions] == [13]
    assert [entry.domain for entry in graph.import_domains].count("onnx_compress") == 1


def test_its_cost_is_that_of_templates_and_transforms() -> None:
    (conv,) = template_convs(from_proto(proto()).graph)
    assert conv.macs == 3 * 4 * 6 + 5 * 2 * 6
    assert conv.params == conv.macs + 5


def test_xavier_takes_it_where_the_plugin_is_named() -> None:
    rules = [finding.rule for finding in lint(proto(), TARGETS["xavier"])]
    assert "local-function" in rules
    assert lint(proto(), TARGETS["xavier"], plugins=["SpatialBasisConv"]) == []
