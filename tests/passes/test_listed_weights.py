"""Weights that are listed as inputs, as exporters did up to IR 3: counted, rewritten and written as any others."""

from __future__ import annotations

import builders
import numpy as np
import onnx
import pytest
from onnx_compress import compress
from onnx_compress.compiler.costs.network_cost import conv_costs, graph_cost
from onnx_compress.compiler.graph.io import from_proto
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.runtime.shapes import network_shapes

NETWORK = """g (float[N,3,16,16] x) => (float[N,16,16,16] y) {
    a = Conv<pads=[1,1,1,1]>(x, w0)
    b = BatchNormalization(a, scale, shift, mean, var)
    c = Relu(b)
    d = Conv<pads=[1,1,1,1]>(c, w1, b1)
    e = Relu(d)
    f = Reshape(e, same)
    y = Conv<pads=[1,1,1,1]>(f, w2)
}"""
MACS = 256 * (16 * 27 + 2 * 16 * 144)
PIPELINES = ("basis:macs=0.5", "prune:macs=0.5", "sbf:macs=0.6", "quantize", "codebook", "prune:params=0.6,quantize")


def network(listed: bool, ir: int = 8) -> onnx.ModelProto:
    """A BatchNormalization follows the first Conv only: folded into it, its weight is a new one."""
    statistics = {"scale": np.ones(16), "shift": np.zeros(16), "mean": np.zeros(16), "var": np.ones(16)}
    weights = {"w0": builders.normal(16, 3, 3, 3) / 5, "w1": builders.normal(16, 16, 3, 3, seed=1) / 12}
    weights |= {"w2": builders.normal(16, 16, 3, 3, seed=2) / 12, "b1": builders.normal(16)}
    weights |= {name: values.astype(np.float32) for name, values in statistics.items()}
    proto = builders.proto(NETWORK, opset=13, ir=ir, **weights, same=np.array([-1, 16, 16, 16]))
    if listed:
        values = [(entry.name, entry.data_type, list(entry.dims)) for entry in proto.graph.initializer]
        proto.graph.input.extend(onnx.helper.make_tensor_value_info(*value) for value in values)
    return proto


@pytest.mark.parametrize("pipeline", PIPELINES)
def test_listing_weights_changes_nothing_but_the_inputs(pipeline: str):
    plain, listed = (compress(network(listed), pipeline, target="ort") for listed in (False, True))
    assert plain.report["before"]["macs"] == listed.report["before"]["macs"] == MACS
    for side in ("before", "after"):
        assert {**listed.report[side], "bytes": 0} == {**plain.report[side], "bytes": 0}
    assert listed.report["layers"] == plain.report["layers"]
    assert [entry.name for entry in listed.proto.graph.input] == ["x"]
    x = builders.normal(1, 3, 16, 16)
    np.testing.assert_array_equal(builders.run(listed.proto, x=x)["y"], builders.run(plain.proto, x=x)["y"])
    notes = [note for entry in listed.report["passes"] for note in entry["notes"]]
    assert (
        "inputs with a stored value are taken for constants, and are no inputs any more: 9 (w0, w1, w2, ...)" in notes
    )


def test_up_to_ir_3_weights_have_to_be_listed():
    proto = network(listed=True, ir=3)
    proto.opset_import[0].version = 8
    result = compress(proto, "basis:macs=0.5")
    assert result.report["before"]["macs"] == MACS
    assert not any("stored value" in note for entry in result.report["passes"] for note in entry["notes"])


def test_weights_that_stay_inputs_are_counted():
    plain, listed = (from_proto(network(listed)).graph for listed in (False, True))
    shapes = [network_shapes(graph, Context(RunOptions())) for graph in (plain, listed)]
    assert dict(conv_costs(plain, shapes[0])) == dict(conv_costs(listed, shapes[1]))
    assert graph_cost(listed, shapes[1]).macs == MACS


@pytest.mark.parametrize("pipeline", ["fold-batchnorm", "codebook", "quantize", "prune:share=0.3", "basis:rank=0.5"])
def test_weights_that_stay_inputs_stay_as_they_are(pipeline: str):
    """--no-prepare leaves them to the caller; a Conv of the network's own has something to do."""
    proto = network(listed=True)
    proto.graph.node.append(onnx.helper.make_node("Conv", ["y", "own"], ["z"], pads=[1] * 4))
    proto.graph.initializer.append(onnx.numpy_helper.from_array(builders.normal(32, 16, 3, 3), "own"))
    proto.graph.output[0].name = "z"
    proto.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 32
    written = compress(proto, pipeline, target="ort", prepare=False).proto
    assert [entry.name for entry in written.graph.input] == [entry.name for entry in proto.graph.input]
    feeds = {
        "x": builders.normal(1, 3, 16, 16),
        "w1": np.zeros((16, 16, 3, 3), np.float32),
        "scale": np.full(16, 2, np.float32),
    }
    before, after = (builders.run(with_outputs(each, "b", "d"), **feeds) for each in (proto, written))
    for name, value in before.items():
        np.testing.assert_allclose(value, after[name], rtol=1e-5, atol=1e-5)


def with_outputs(proto: onnx.ModelProto, *names: str) -> onnx.ModelProto:
    found = onnx.ModelProto.FromString(proto.SerializeToString())
    del found.graph.output[:]
    found.graph.output.extend(onnx.ValueInfoProto(name=name) for name in names)
    return found
