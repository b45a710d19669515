"""A Conv is priced on the batch, and in the precision, in which the network runs it."""

from __future__ import annotations

import builders
import pytest
from onnx_compress.compiler.costs.cost_model import DeviceLatencyModel, Foreseen, device_latency_model
from onnx_compress.compiler.costs.latency import estimate
from onnx_compress.compiler.costs.workload import conv_workload
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.quantization.outline import outline, shapes_of_pairs
from onnx_compress.compiler.graph.shapes import static_shapes
from onnx_compress.compiler.targets import TARGETS

CONV = "g (float[N,64,H,W] x) => (float[N,64,OH,OW] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"
XAVIER = TARGETS["xavier"]


@pytest.mark.parametrize("size", [(1, 64, 28, 28), (8, 64, 28, 28), (2, 64, 80, 80)])
@pytest.mark.parametrize("precision", ["fp16", "int8"])
@pytest.mark.parametrize("device", ["xavier", "orin"])
def test_a_conv_by_itself_takes_what_the_network_of_it_does(size: tuple[int, ...], precision: str, device: str) -> None:
    graph = builders.model(CONV, w=builders.normal(64, 64, 3, 3)).graph
    shapes = static_shapes(graph, {"x": size}, batched=True)
    seen = Foreseen(outline(graph, ["Conv_0"], False)) if precision == "int8" else Foreseen(graph)
    model = DeviceLatencyModel(TARGETS[device], device, precision, "MAXN", lambda _: seen)  # pyright: ignore[reportArgumentType]
    (conv,) = find_convs(graph)
    workload = conv_workload(conv, shapes)
    assert (workload.batch, workload.positions_out) == (size[0], size[2] * size[3])
    kernels = estimate(seen.graph, shapes_of_pairs(seen.graph, shapes), TARGETS[device]).kernels
    assert model.graph(graph, shapes) == sum(kernel.ms for kernel in kernels)
    assert model.conv(workload) == pytest.approx(kernels[-1].ms, rel=0.2), "its output is in half precision"


def test_a_conv_that_is_quantized_already_costs_what_int8_does() -> None:
    graph = outline(builders.model(CONV, w=builders.normal(64, 64, 3, 3)).graph, ["Conv_0"], False)
    shapes = shapes_of_pairs(graph, static_shapes(graph, {"x": (1, 64, 28, 28)}))
    workload = conv_workload(next(find_convs(graph)), shapes)
    plain, seen = (device_latency_model(XAVIER, "fp16", "MAXN", each) for each in (None, Foreseen))
    assert plain is not None and seen is not None and workload.quantized
    assert seen.conv(workload) < plain.conv(workload)
