"""A cost model corrected by measured times: measured Convs have their own, others that of their neighbours."""

from __future__ import annotations

from dataclasses import replace

import onnx_graphsurgeon as gs
import pytest
from builders import model, normal
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress import CompressError
from onnx_compress.compiler.costs.layer_times import LayerTimes, TimedConv
from onnx_compress.compiler.costs.scaled_latency import ScaledLatencyModel
from onnx_compress.compiler.costs.workload import ConvWorkload, conv_workload
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.shapes import Shapes, infer_shapes

DENSE = ConvWorkload(64, 64, (3, 3), 1, 784, 784)
WIDE = ConvWorkload(256, 256, (1, 1), 1, 196, 196)
DEPTHWISE = ConvWorkload(64, 64, (3, 3), 64, 784, 784)
CHANNELS = st.integers(1, 512)


class ByWeight:
    """A millisecond per weight."""

    def conv(self, workload: ConvWorkload) -> float:
        return float(workload.weights)

    def graph(self, graph: gs.Graph, shapes: Shapes) -> float:
        return 0.0


def scaled(*timed: tuple[ConvWorkload, float], others: float = 0.0) -> ScaledLatencyModel:
    """Of Convs that take so many times their estimate."""
    convs = tuple(TimedConv(workload, "fp16", ByWeight().conv(workload) * ratio) for workload, ratio in timed)
    return ScaledLatencyModel(ByWeight(), [LayerTimes("xavier", None, convs, others)], "clock=x")


def ratio(model: ScaledLatencyModel, workload: ConvWorkload) -> float:
    return model.conv(workload) / workload.weights


def test_a_measured_conv_has_its_own_time_whatever_its_bias():
    measured = scaled((DENSE, 2.0), (WIDE, 0.5), (DEPTHWISE, 7.0))
    assert [ratio(measured, each) for each in (DENSE, WIDE, DEPTHWISE)] == pytest.approx([2.0, 0.5, 7.0])
    assert ratio(measured, replace(DENSE, bias=True, itemsize=2)) == pytest.approx(2.0)


def test_of_several_the_geometric_mean():
    assert ratio(scaled((DENSE, 2.0), (DENSE, 8.0), (WIDE, 0.1)), DENSE) == pytest.approx(4.0)


@given(CHANNELS, CHANNELS)
def test_one_ratio_for_all_scales_the_estimate(before: int, after: int):
    workload = replace(DENSE, channels_in=before, channels_out=after)
    assert ratio(scaled((DENSE, 1.5), (WIDE, 1.5)), workload) == pytest.approx(1.5)


@given(CHANNELS, CHANNELS)
def test_a_ratio_lies_between_those_of_its_neighbours(before: int, after: int):
    found = ratio(scaled((DENSE, 2.0), (WIDE, 0.5)), replace(DENSE, channels_in=before, channels_out=after))
    assert 0.5 - 1e-9 <= found <= 2 + 1e-9


def test_the_nearer_one_weighs_more():
    measured = scaled((DENSE, 2.0), (WIDE, 0.5))
    near, far = replace(DENSE, channels_out=56), replace(WIDE, channels_out=224)
    assert ratio(measured, near) > 1.9 and ratio(measured, far) < 0.55


def test_grouped_convs_are_a_kind_of_their_own():
    narrow = replace(DEPTHWISE, channels_in=32, channels_out=32, group=32)
    assert ratio(scaled((DENSE, 2.0), (DEPTHWISE, 7.0)), narrow) == pytest.approx(7.0)
    assert ratio(scaled((DENSE, 2.0)), narrow) == pytest.approx(2.0)


def test_only_the_nearest_count():
    many = [(replace(DENSE, channels_out=64 + step), 1.0) for step in range(4)]
    assert ratio(scaled(*many, (WIDE, 100.0)), replace(DENSE, channels_out=60)) == pytest.approx(1.0)


TEXT = """g (float[N,3,8,8] x) => (float[N,4,8,8] y) {
    a = Conv<pads=[1,1,1,1]>(x, w) r = Relu(a) y = Conv(r, v)
}"""


def test_a_network_has_the_other_layers_of_the_one_that_shares_most_convs():
    graph = model(TEXT, w=normal(8, 3, 3, 3), v=normal(4, 8, 1, 1)).graph
    shapes = infer_shapes(graph)
    first, second = (conv_workload(conv, shapes) for conv in find_convs(graph))
    own = LayerTimes("xavier", None, (TimedConv(first, "fp16", 3.0), TimedConv(second, "fp16", 4.0)), 0.5)
    half = LayerTimes("xavier", None, (TimedConv(first, "fp16", 3.0),), 100.0)
    measured = ScaledLatencyModel(ByWeight(), [half, own], "clock=x")
    assert measured.graph(graph, shapes) == pytest.approx(3.0 + 4.0 + 0.5)
    assert measured.note(graph, shapes).startswith("times of 2 of the 2 Convs are from the device")


def test_a_network_of_which_nothing_was_measured_is_refused():
    graph = model(TEXT, w=normal(8, 3, 3, 3), v=normal(4, 8, 1, 1)).graph
    with pytest.raises(CompressError, match=r"clock=x: none of the network's Convs was measured"):
        scaled((DENSE, 1.0)).check(graph, infer_shapes(graph))
    with pytest.raises(CompressError, match=r"clock=x: nothing was measured in INT8"):
        replace(scaled((DENSE, 1.0)), precision="int8").check(graph, infer_shapes(graph))


def test_a_network_of_which_every_conv_was_rewritten_has_the_others_of_the_first():
    graph = model(TEXT, w=normal(8, 3, 3, 3), v=normal(4, 8, 1, 1)).graph
    convs = 8 * 27 + 4 * 8
    assert scaled((DENSE, 1.0), others=0.25).graph(graph, infer_shapes(graph)) == pytest.approx(convs + 0.25)


def test_each_precision_has_its_times():
    times = [TimedConv(DENSE, "fp16", 2.0 * DENSE.weights), TimedConv(DENSE, "int8", 0.5 * DENSE.weights)]
    measured = ScaledLatencyModel(ByWeight(), [LayerTimes("xavier", None, tuple(times), 0.0)], "clock=x")
    quantized = replace(DENSE, quantized=True)
    assert [ratio(measured, each) for each in (DENSE, quantized)] == pytest.approx([2.0, 2.0])
    assert ratio(replace(measured, precision="int8"), DENSE) == pytest.approx(0.5)
    assert [ratio(replace(measured, mixed=True), each) for each in (DENSE, quantized)] == pytest.approx([2.0, 0.5])


def test_in_a_precision_that_was_not_measured_the_estimate_stands():
    assert ratio(replace(scaled((DENSE, 2.0)), mixed=True), replace(DENSE, quantized=True)) == 1.0
