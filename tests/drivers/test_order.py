"""A pass that stores float weights does not come last on layers that are quantized."""

from __future__ import annotations

import front
import numpy as np
import onnx
import pytest
from onnx_compress import compress
from onnx_compress.compiler.errors import Unavailable, UsageError
from onnx_compress.compiler.graph.io import from_proto
from onnx_compress.compiler.graph.quantization.quantizable import is_layer
from onnx_compress.compiler.graph.weights import holds_codes

STORES_FLOATS = ["basis:macs=0.6", "sbf:macs=0.6", "sparse-lowrank:macs=0.6", "codebook", "filter-summary"]
FITTED = ["prune:macs=0.6", *STORES_FLOATS]


def options(with_data: bool) -> dict[str, object]:
    return {"data": front.images(16), "preprocess": "unit"} if with_data else {}


def in_codes(proto: onnx.ModelProto) -> list[bool]:
    return [holds_codes(node.inputs[1]) for node in from_proto(proto).graph.nodes if is_layer(node)]


@pytest.fixture(scope="module", params=["xavier", "trt10", "ort"])
def target(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module", params=[True, False], ids=["all", "weights"])
def quantized(request: pytest.FixtureRequest, target: str) -> onnx.ModelProto:
    found = compress(front.classifier(), "quantize", target=target, **options(request.param)).proto
    assert in_codes(found) == [True, True]
    return found


@pytest.mark.parametrize("entry", FITTED)
def test_a_wrong_order_is_refused_before_any_work(entry: str):
    name = entry.split(":")[0]
    with pytest.raises(UsageError, match=f"{name} before quantize: {name},quantize") as raised:
        compress(front.classifier(), f"quantize,{entry}", **options(True))
    assert raised.value.exit_code == 2


@pytest.mark.parametrize("entry", FITTED)
def test_layers_that_came_in_quantized_stay_so(quantized: onnx.ModelProto, target: str, entry: str):
    with pytest.raises(Unavailable, match="2 layers are quantized already"):
        compress(quantized, entry, target=target, **options(True))


@pytest.mark.parametrize("entry", ["codebook:storage=shared", "filter-summary:storage=shared"])
def test_weights_that_the_graph_computes_cannot_be_quantized_again(quantized: onnx.ModelProto, entry: str):
    with pytest.raises(Unavailable, match="2 layers are quantized already"):
        compress(quantized, f"{entry},quantize", target="trt10")


@pytest.mark.parametrize("with_data", [True, False])
@pytest.mark.parametrize("entry", ["basis:macs=0.6", "prune:share=0.5", "codebook"])
def test_they_can_be_quantized_again(quantized: onnx.ModelProto, target: str, entry: str, with_data: bool):
    if entry == "codebook" and target != "xavier":
        entry = "codebook:storage=full"
    found = compress(quantized, f"{entry},quantize", target=target, **options(with_data))
    assert found.report["passes"][3]["changed"] and all(in_codes(found.proto))


def test_layers_out_of_scope_do_not_count(quantized: onnx.ModelProto, target: str):
    found = compress(quantized, "basis:energy=0.9", target=target, exclude=".")
    assert in_codes(found.proto) == [True, True]


@pytest.mark.parametrize("entry", ["cleanup", "fold-batchnorm", "prune:share=0.5", "legalize"])
def test_what_keeps_codes_may_follow(quantized: onnx.ModelProto, target: str, entry: str):
    found = compress(quantized, entry, target=target)
    assert in_codes(found.proto) == [True, True]


def test_a_weight_in_float_or_half_holds_no_codes():
    assert in_codes(front.classifier()) == [False, False]
    half = front.classifier()
    for tensor in half.graph.initializer:
        values = onnx.numpy_helper.to_array(tensor).astype(np.float16)
        tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    assert in_codes(half) == [False, False]


def test_the_error_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path):
    model = front.write_model(tmp_path / "m.onnx")
    assert front.call(model, "-p", "quantize,basis:macs=0.5") == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert [file.name for file in tmp_path.iterdir()] == ["m.onnx"]
