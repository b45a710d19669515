"""Measured prices: each shape once, sizes between the measured ones interpolated, shares as in the network."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import builders
import onnx_graphsurgeon as gs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress import compress
from onnx_compress.compiler.costs.cost_model import Foreseen
from onnx_compress.compiler.costs.workload import ConvWorkload, conv_workload
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import from_proto
from onnx_compress.compiler.graph.quantization.outline import outline
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.runtime import measured_latency
from onnx_compress.runtime.kernel_timing import TimedKernel, kernel_times
from onnx_compress.runtime.measured_latency import (
    INT8_MULTIPLE,
    MULTIPLE,
    Geometry,
    MeasuredLatencyModel,
    around,
    geometry_of,
)
from onnx_compress.runtime.result_cache import ResultCache

WORKLOAD = ConvWorkload(64, 64, (3, 3), 1, 28 * 28, 28 * 28)
RELUS = "g (float[N,8,6,6] x) => (float[N,8,6,6] y) { a = Conv(x, w) b = Relu(a) c = Conv(b, w) y = Relu(c) }"


def in_pairs(graph: gs.Graph) -> Foreseen:
    """As `quantize` leaves it for onnxruntime."""
    return Foreseen(outline(graph, {node.name for node in graph.nodes}, closed=True, asymmetric=True))


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Any]:
    """A clock by which a Conv takes a millisecond per channel in times channel out and sample, another node one."""
    calls: list[Any] = []

    def convs(geometry: Geometry, batch: int, threads: int, int8: bool) -> list[float]:
        calls.append((geometry, batch, threads))
        return [(1.0 if int8 else 10.0) * batch * geometry.channels_in * geometry.channels_out, 10.0]

    def network(model: Any, feeds: Any, *_: Any) -> list[TimedKernel]:
        batch = len(next(iter(feeds.values())))
        return [TimedKernel(node.name, node.op_type, 64.0 * batch) for node in model.graph.node]

    monkeypatch.setattr(measured_latency, "conv_times", convs)
    monkeypatch.setattr(measured_latency, "kernel_times", network)
    for model in (MeasuredLatencyModel(), MeasuredLatencyModel(threads=2)):
        (tmp_path / f"{model._file()}.jsonl").write_text('{"name": "reference", "value": [1.0]}\n')
    return calls


def test_counts_on_the_grid_are_timed_themselves(timed: list[Any], tmp_path: Path) -> None:
    measured = MeasuredLatencyModel(store=ResultCache(tmp_path))
    assert measured.conv(WORKLOAD) == 64 * 64
    assert measured.conv(replace(WORKLOAD, channels_in=3, channels_out=128)) == 3 * 128
    assert len(timed) == 2


def test_counts_between_are_interpolated(timed: list[Any], tmp_path: Path) -> None:
    measured = MeasuredLatencyModel(store=ResultCache(tmp_path))
    assert measured.conv(replace(WORKLOAD, channels_in=40, channels_out=88)) == pytest.approx(40 * 88)
    assert len(timed) == 4


def test_a_shape_is_timed_once_and_remembered(timed: list[Any], tmp_path: Path) -> None:
    first = [MeasuredLatencyModel(store=ResultCache(tmp_path)).conv(WORKLOAD) for _ in range(2)]
    assert len(timed) == 1 and first[0] == first[1]
    MeasuredLatencyModel(batch=2, store=ResultCache(tmp_path)).conv(WORKLOAD)
    MeasuredLatencyModel(threads=2, store=ResultCache(tmp_path)).conv(WORKLOAD)
    assert len(timed) == 3 and len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize(("batch", "sent"), [(1, 1), (4, 4), (99, 34)])
def test_a_price_is_of_one_sample_and_large_batches_are_extrapolated(
    timed: list[Any], tmp_path: Path, batch: int, sent: int
) -> None:
    assert MeasuredLatencyModel(batch, store=ResultCache(tmp_path)).conv(WORKLOAD) == 64 * 64
    assert [call[1] for call in timed] == [sent]


def test_a_price_is_relative_to_a_reference_timed_beside_it(timed: list[Any], tmp_path: Path) -> None:
    file = tmp_path / f"{MeasuredLatencyModel()._file()}.jsonl"
    file.write_text('{"name": "reference", "value": [3.0]}\n')
    assert MeasuredLatencyModel(store=ResultCache(tmp_path)).conv(WORKLOAD) == 3 * 64 * 64


@pytest.mark.parametrize(
    ("side", "stride", "expected"), [(28, 1, 28), (224, 1, 74), (224, 2, 148), (20, 1, 20), (40, 4, 40)]
)
def test_a_large_conv_is_timed_on_fewer_positions(side: int, stride: int, expected: int) -> None:
    found = measured_latency.shrunk(Geometry(64, 64, (3, 3), 1, (side, side), (stride, stride)))
    assert found.spatial == (expected, expected) and found.strides == (stride, stride)


def test_a_network_costs_its_convs_and_the_rest_in_proportion(timed: list[Any], tmp_path: Path) -> None:
    text = "g (float[N,8,6,6] x) => (float[N,8,6,6] y) { a = Conv(x, w) y = Relu(a) }"
    graph = builders.model(text, w=builders.normal(8, 8, 1, 1)).graph
    cost = MeasuredLatencyModel(store=ResultCache(tmp_path)).graph(graph, infer_shapes(graph))
    assert cost == pytest.approx(64 * 2)


def test_of_networks_made_of_one_that_one_is_timed(timed: list[Any], tmp_path: Path) -> None:
    """Two Convs and two Sigmoids: a half is without one of each, or with half of the elements in one of them."""
    text = "g (float[N,8,6,6] x) => (float[N,8,6,6] y) { a = Conv(x, w) b = Sigmoid(a) c = Conv(b, v) y = Sigmoid(c) }"
    weights = {name: builders.normal(8, 8, 1, 1) for name in "wv"}
    graph = builders.model(text, **weights).graph
    shapes = infer_shapes(graph)
    half = builders.model(
        "g (float[N,8,6,6] x) => (float[N,8,6,6] y) { a = Conv(x, w) y = Sigmoid(a) }", w=weights["w"]
    )
    measured = MeasuredLatencyModel(store=ResultCache(tmp_path), entered=lambda: (graph, shapes))
    whole = measured.graph(graph, shapes)
    assert whole == pytest.approx(MeasuredLatencyModel(store=ResultCache(tmp_path)).graph(graph, shapes))
    before = (tmp_path / f"{measured._file()}.jsonl").read_text()
    assert measured.graph(half.graph, infer_shapes(half.graph)) == pytest.approx(whole / 2)
    assert (tmp_path / f"{measured._file()}.jsonl").read_text() == before


def test_in_int8_convs_have_prices_of_their_own_and_the_network_is_timed_with_its_pairs(
    timed: list[Any], tmp_path: Path
) -> None:
    graph, store = builders.model(RELUS, w=builders.normal(8, 8, 1, 1)).graph, ResultCache(tmp_path)
    in_float, in_int8 = MeasuredLatencyModel(store=store), MeasuredLatencyModel(store=store, foresee=in_pairs)
    assert in_int8.conv(WORKLOAD) == in_float.conv(WORKLOAD) / 10
    timed.clear()
    for count in (72, 80):  # off the multiple of integer kernels, and between 64 and 128
        in_int8.conv(replace(WORKLOAD, channels_in=count, channels_out=count, group=count))
    assert [geometry.channels_in for geometry, *_ in timed] == [72, 64, 128]
    assert "Relu" in in_float._in_network(graph, infer_shapes(graph), 1.0)
    assert "DequantizeLinear" in in_int8._in_network(graph, infer_shapes(graph), 1.0)


def test_onnxruntime_has_an_integer_kernel_for_every_conv_between_two_others() -> None:
    text = """g (float[1,16,12,12] x) => (float[1,16,12,12] y) {
        low = Constant<value_float = 0.0>() high = Constant<value_float = 6.0>()
        a = Conv(x, w) b = Relu(a) c = Conv<pads=[1,1,1,1]>(b, v) d = Clip(c, low, high)
        e = Add(d, b) y = Conv(e, w) }"""
    graph = builders.model(text, w=builders.normal(16, 16, 1, 1), v=builders.normal(16, 16, 3, 3)).graph
    ended = MeasuredLatencyModel(foresee=in_pairs)._as_it_ends(graph)
    kernels = kernel_times(gs.export_onnx(ended), {"x": builders.normal(1, 16, 12, 12)})
    assert sorted(kernel.op for kernel in kernels if "Conv" in kernel.op) == ["Conv", "QLinearConv", "QLinearConv"]
    assert not {"Relu", "Clip", "FusedConv"} & {kernel.op for kernel in kernels}


def test_depthwise_convs_are_interpolated(timed: list[Any], tmp_path: Path) -> None:
    measured = MeasuredLatencyModel(store=ResultCache(tmp_path))
    for count in (64, 72, 80, 88, 96):
        measured.conv(replace(WORKLOAD, channels_in=count, channels_out=count, group=count))
    assert len(timed) == 2


@given(st.integers(1, 4096), st.sampled_from([MULTIPLE, INT8_MULTIPLE]))
def test_neighbours_enclose_a_count_and_weigh_to_it(channels: int, multiple: int) -> None:
    found = around(channels, multiple)
    assert sum(share for _, share in found) == pytest.approx(1)
    assert sum(count * share for count, share in found) == pytest.approx(channels)
    assert all(share > 0 and (count % multiple == 0 or count == channels) for count, share in found)


def test_few_counts_are_on_the_grid() -> None:
    on_it = {count for channels in range(8, 2049, 8) for count, _ in around(channels)}
    assert sorted(on_it) == [2**power for power in range(3, 12)]


@pytest.mark.parametrize(
    ("kernel", "inside", "outside", "spatial", "strides"),
    [
        ((3, 3), 28 * 28, 28 * 28, (28, 28), (1, 1)),
        ((3, 3), 28 * 28, 14 * 14, (28, 28), (2, 2)),
        ((7, 7), 224 * 224, 109 * 109, (224, 224), (2, 2)),
        ((1, 1), 56 * 56, 28 * 28, (56, 56), (2, 2)),
        ((3, 1), 32 * 32, 16 * 32, (32, 32), (2, 1)),
        ((1, 3), 16 * 32, 16 * 16, (16, 32), (1, 2)),
        ((5,), 100, 50, (100,), (2,)),
        ((3, 3, 3), 8**3, 4**3, (8, 8, 8), (2, 2, 2)),
    ],
)
def test_sizes_and_strides_are_found_again(
    kernel: tuple[int, ...], inside: int, outside: int, spatial: tuple[int, ...], strides: tuple[int, ...]
) -> None:
    found = geometry_of(ConvWorkload(8, 8, kernel, 1, inside, outside))
    assert (found.spatial, found.strides) == (spatial, strides)


@pytest.mark.parametrize("kernel", [(3, 3), (2, 4), (1, 1), (5,), (3, 3, 1)])
@pytest.mark.parametrize("group", [1, 2])
def test_the_timed_model_is_the_conv(kernel: tuple[int, ...], group: int) -> None:
    strides = (2,) * len(kernel)
    geometry = Geometry(4, 6, kernel, group, (9,) * len(kernel), strides)
    model = builders.proto("g (float[1] x) => (float[1] y) { y = Relu(x) }")
    model.graph.CopyFrom(geometry.graph("c"))
    (y,) = builders.run(model, **{"c.x": geometry.input(2)}).values()
    assert y.shape == (2, 6, *[5] * len(kernel)) and y[0, 0].size == geometry.positions


def test_convs_are_timed_next_to_the_reference() -> None:
    timed, beside = measured_latency.conv_times(Geometry(32, 64, (3, 3), 1, (28, 28), (1, 1)), 2, 1)
    assert timed > beside > 0
    in_int8, beside = measured_latency.conv_times(Geometry(32, 64, (3, 3), 1, (28, 28), (1, 1)), 2, 1, int8=True)
    assert min(in_int8, beside) > 0


def test_measured_latency_is_a_budget(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    text = "g (float[N,32,40,40] x) => (float[N,64,40,40] y) { a = Conv<pads=[1,1,1,1]>(x, w) y = Relu(a) }"
    network = builders.proto(text, w=builders.normal(64, 32, 3, 3))
    result = compress(network, "basis:latency=0.8:clock=measured:form=channel", samples=None)
    (found,) = [record.result for record in result.records if record.name == "basis"]
    assert found.metrics["latency_kept"] <= 0.8
    rank = next(find_convs(from_proto(result.proto).graph)).filters
    assert rank % 8 == 0
    assert len(list((tmp_path / "onnx-compress" / "prices").iterdir())) == 1


def test_a_conv_of_the_graph_is_a_piece_that_can_be_timed() -> None:
    text = "g (float[1,8,12,12] x) => (float[1,16,6,6] y) { y = Conv<pads=[1,1,1,1], strides=[2,2]>(x, w) }"
    graph = builders.model(text, w=builders.normal(16, 8, 3, 3)).graph
    geometry = geometry_of(conv_workload(next(find_convs(graph)), infer_shapes(graph)))
    assert geometry == Geometry(8, 16, (3, 3), 1, (12, 12), (2, 2))
