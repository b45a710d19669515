"""From the layers of an engine to times of Convs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from builders import model, normal
from onnx_compress.compiler.costs.layer_times import KEY, LayerTimes, read_layer_times
from onnx_compress.compiler.targets import TARGETS
from onnx_compress.compiler.targets.profiles import parse_ranges
from onnx_compress.compiler.targets.trtexec import EngineOptions
from onnx_compress.runtime.tensorrt import timed_convs as module
from onnx_compress.runtime.tensorrt.layers import LayerTime
from onnx_compress.runtime.tensorrt.timed_convs import add_timed_convs, timed_convs

TEXT = """g (float[{},3,8,8] x) => (float[{},4,8,8] y) {{
    a = Conv<pads=[1,1,1,1]>(x, w) r = Relu(a) b = Conv(r, u) c = Conv(r, v) s = Add(b, c) y = Relu(s)
}}"""
LAYERS = [
    LayerTime("a + r", 0.5, 0.4, 40),
    LayerTime("Reformatting CopyNode for Input Tensor 0 to b || c", 0.1, 0.1, 10),
    LayerTime("b || c", 0.5, 0.5, 40),
    LayerTime("s", 0.2, 0.2, 10),
]


def network(batch: str = "1") -> gs.Graph:
    graph = model(TEXT.format(batch, batch), w=normal(8, 3, 3, 3), u=normal(4, 8, 1, 1), v=normal(4, 8, 1, 1)).graph
    for node in graph.nodes:
        node.name = node.outputs[0].name
    return graph


def timed(graph: gs.Graph, layers: list[LayerTime] = LAYERS, target: str = "xavier", **options: object) -> LayerTimes:
    given = EngineOptions(**options)  # type: ignore[arg-type]
    found = timed_convs(TARGETS[target], graph, given, layers, {}, "MAXN")
    assert found is not None
    return found


def test_a_conv_has_the_time_of_its_layer():
    times = timed(network())
    assert [conv.ms for conv in times.convs] == pytest.approx([0.4, 0.3, 0.3])
    assert (times.device, times.mode, times.others_ms) == ("xavier", "MAXN", 0.2)
    first = times.convs[0].workload
    assert (first.channels_in, first.channels_out, first.kernel, first.positions()) == (3, 8, (3, 3), (64, 64))
    assert {conv.precision for conv in times.convs} == {"fp16"}


def test_convs_in_one_layer_share_it_by_their_macs():
    layers = [LayerTime("a || b", 1.0, 1.0, 100)]
    first, second = timed(network(), layers).convs
    assert first.ms / second.ms == pytest.approx(8 * 27 / (4 * 8))


@pytest.mark.parametrize(("batch", "shapes"), [("4", ""), ("N", "x:4x3x8x8")])
def test_times_are_those_of_the_batch(batch: str, shapes: str):
    times = timed(network(batch), shapes=parse_ranges([shapes]) if shapes else {})
    assert [conv.ms for conv in times.convs] == pytest.approx([0.4, 0.3, 0.3]) and times.others_ms == 0.2
    assert (times.convs[0].workload.batch, times.convs[0].workload.positions()) == (4, (64, 64))


@pytest.mark.parametrize(
    ("options", "precision"),
    [({"fp16": True}, "fp16"), ({"int8": False, "fp16": False}, "fp32"), ({"calibration": "c"}, "int8")],
)
def test_the_precision_is_the_lowest_allowed(options: dict[str, object], precision: str):
    assert {conv.precision for conv in timed(network(), **options).convs} == {precision}


def test_a_conv_behind_pairs_is_in_int8():
    text = """g (float[1,3,8,8] x) => (float[1,4,8,8] y) {
        q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) v = QuantizeLinear(w, s, z)
        u = DequantizeLinear(v, s, z) a = Conv(d, u) y = Conv(a, t)
    }"""
    weights = {"w": normal(8, 3, 1, 1), "t": normal(4, 8, 1, 1)}
    graph = model(text, s=np.array(0.1, np.float32), z=np.array(0, np.int8), **weights).graph
    for node in graph.nodes:
        node.name = node.outputs[0].name
    layers = [LayerTime("w + v + a", 1, 1, 50), LayerTime("y", 1, 1, 50)]
    assert [conv.precision for conv in timed(graph, layers).convs] == ["int8", "fp16"]
    assert [conv.precision for conv in timed(graph, layers, "trt10").convs] == ["int8", "fp32"]


def test_a_layer_that_hides_its_convs_tells_nothing(monkeypatch: pytest.MonkeyPatch):
    span = [LayerTime("{ForeignNode[a...c]}", 1.0, 1.0, 100)]
    assert len(timed(network(), span).convs) == 3
    monkeypatch.setattr(module, "MOST", 2)
    for layers in (span, [LayerTime("__myl_1", 1.0, 1.0, 100)], []):
        assert timed_convs(TARGETS["xavier"], network(), EngineOptions(), layers, {}, None) is None


@pytest.mark.parametrize("first", [[{"count": 3}], []])
def test_the_profile_stays_one(tmp_path: Path, first: list[dict[str, int]]):
    path, layer = tmp_path / "p.json", {"name": "a + r", "averageMs": 0.5}
    path.write_text(json.dumps([*first, layer]))
    times = timed(network())
    add_timed_convs(path, times)
    head, *rest = json.loads(path.read_text())
    assert rest == [layer] and set(head) == {KEY, *(first[0] if first else ())}
    assert read_layer_times(path) == times
