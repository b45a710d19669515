"""`clock=`: whose time a Conv takes, for every pass with a budget."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import builders
import numpy as np
import onnx
import pytest
from onnx_compress import CompressError, compress
from onnx_compress.compiler.costs.cost_model import DeviceLatencyModel, device_latency_model
from onnx_compress.compiler.costs.latency import Precision
from onnx_compress.compiler.costs.layer_times import KEY, LayerTimes, TimedConv
from onnx_compress.compiler.costs.workload import ConvWorkload, conv_workload
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import from_proto
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.targets import TARGETS
from onnx_compress.passes.budgets.clock import files_of, has, scaled
from onnx_compress.passes.prune import Prune
from onnx_compress.runtime import measured_latency
from onnx_compress.runtime.kernel_timing import TimedKernel
from onnx_compress.runtime.measured_latency import MULTIPLE, Geometry

XAVIER = TARGETS["xavier"]
TEXT = """g (float[N,32,112,112] x) => (float[N,64,112,112] y) {
    a = Conv<pads=[1,1,1,1]>(x, w) r = Relu(a) b = Conv<pads=[1,1,1,1]>(r, v) s = Relu(b) y = Conv(s, u)
}"""


def network() -> onnx.ModelProto:
    weights = {"w": (64, 32, 3, 3), "v": (64, 64, 3, 3), "u": (64, 64, 1, 1)}
    return builders.proto(TEXT, **{name: builders.normal(*shape) for name, shape in weights.items()})


def estimated(precision: Precision = "fp16") -> DeviceLatencyModel:
    model = device_latency_model(XAVIER, precision, "MAXN")
    assert model is not None
    return model


def workloads() -> list[ConvWorkload]:
    graph = from_proto(network()).graph
    return [conv_workload(conv, infer_shapes(graph)) for conv in find_convs(graph)]


def write(path: Path, ratios: list[float], precision: Precision = "fp16", **changes: Any) -> Path:
    """Times of the network's Convs, so many times what is estimated."""
    pairs = zip(workloads(), ratios, strict=True)
    convs = tuple(TimedConv(each, precision, ratio * estimated(precision).conv(each)) for each, ratio in pairs)
    times = replace(LayerTimes("xavier", "MAXN", convs, 0.01), **changes)
    path.write_text(json.dumps([{"count": 1, KEY: times.plain()}]))
    return path


def test_several_files_are_joined():
    assert files_of("model") == files_of("measured") == []
    assert files_of("a.json+b/c.json") == [Path("a.json"), Path("b/c.json")]


def test_each_precision_has_its_file(tmp_path: Path):
    files = [write(tmp_path / "half.json", [2.0] * 3), write(tmp_path / "int8.json", [3.0] * 3, "int8")]
    clock = "+".join(map(str, files))
    first = workloads()[0]
    for precision, ratio in (("fp16", 2.0), ("int8", 3.0)):
        model = scaled(clock, estimated(precision), XAVIER, precision, "MAXN")
        assert model.conv(first) == pytest.approx(ratio * estimated(precision).conv(first), rel=1e-3)
    assert has(clock, "int8") and not has(str(files[0]), "int8")


@pytest.mark.parametrize(
    ("changes", "words"),
    [({"device": "orin"}, "nothing was measured on xavier"), ({"mode": "15W"}, "nothing was measured at MAXN")],
)
def test_times_of_something_else_are_refused(tmp_path: Path, changes: dict[str, Any], words: str):
    clock = str(write(tmp_path / "t.json", [1.0] * 3, **changes))
    with pytest.raises(CompressError, match=words):
        scaled(clock, estimated(), XAVIER, "fp16", "MAXN")


def test_a_target_without_a_cost_model_has_nothing_to_scale(tmp_path: Path):
    with pytest.raises(CompressError, match="has no cost model for what has not been measured"):
        scaled(str(write(tmp_path / "t.json", [1.0] * 3)), None, TARGETS["trt10"], "fp16", "MAXN")


def test_modes_that_differ_in_the_processor_alone_are_one(tmp_path: Path):
    model = device_latency_model(XAVIER, "fp16", "30W")
    for mode in ("30W_ALL", "30W_6CORE", None):
        scaled(str(write(tmp_path / "t.json", [1.0] * 3, mode=mode)), model, XAVIER, "fp16", "30W")


def kept(clock: str) -> dict[str, int]:
    """How many MACs are left in place of each Conv."""
    result = compress(network(), f"basis:latency=0.8:form=channel:clock={clock}")
    (record,) = [record for record in result.records if record.name == "basis"]
    assert record.result.metrics["latency_kept"] <= 0.8
    assert clock == "model" or "times of 3 of the 3 Convs are from the device" in " ".join(record.result.notes)
    return {each.node: int(each.figures.get("macs_after", 10**9)) for each in record.result.decisions}


def test_a_search_goes_where_the_device_is_slow(tmp_path: Path):
    slow = kept(str(write(tmp_path / "first.json", [4.0, 1.0, 1.0])))
    fast = kept(str(write(tmp_path / "second.json", [1.0, 4.0, 1.0])))
    first, second, *_ = slow
    assert slow[first] < fast[first] and slow[second] > fast[second]


def test_where_the_pipeline_ends_in_int8_an_int8_engine_is_asked_for(tmp_path: Path):
    half, int8 = write(tmp_path / "half.json", [1.0] * 3), write(tmp_path / "int8.json", [2.0] * 3, "int8")
    data = np.random.default_rng(0).standard_normal((2, 32, 112, 112)).astype(np.float32)
    with pytest.raises(CompressError, match="nothing was measured in INT8"):
        compress(network(), f"basis:latency=0.97:clock={half},quantize", data=data)
    result = compress(network(), f"basis:latency=0.97:clock={int8},quantize", data=data)
    found = {record.name: record.result for record in result.records}
    assert found["basis"].metrics["latency_kept"] <= 0.97
    assert any("3 of the 3 Convs" in note for note in found["basis"].notes)


def test_pruning_has_a_clock_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    clock = write(tmp_path / "t.json", [2.0] * 3)
    result = compress(network(), f"prune:latency=0.8:clock={clock}")
    (record,) = [record for record in result.records if record.name == "prune"]
    assert record.result.metrics["latency_kept"] <= 0.8
    assert any("from the device" in note for note in record.result.notes)
    timed: list[Geometry] = []

    def times(geometry: Geometry, *_: int) -> list[float]:
        timed.append(geometry)
        return [geometry.macs * 1e-6, 1.0]

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(measured_latency, "conv_times", times)
    monkeypatch.setattr(measured_latency, "kernel_times", lambda *_: [TimedKernel("a", "Conv", 1000.0)])
    found = compress(network(), "prune:latency=0.8:clock=measured")
    filters = [conv.filters for conv in find_convs(from_proto(found.proto).graph)]
    assert min(filters) < 64 and all(count % MULTIPLE == 0 for count in filters)
    assert all(geometry.channels_out % MULTIPLE == 0 for geometry in timed)


def test_more_threads_than_cores_are_refused_by_every_pass():
    with pytest.raises(CompressError, match="threads on"):
        Prune(clock="measured", threads=1000)


def test_a_name_that_is_no_file_is_refused_before_anything_runs():
    with pytest.raises(CompressError, match=r"no such file.*explain") as error:
        compress(network(), "basis:latency=0.8:clock=modle")
    assert "the file of basis:clock" in str(error.value) and error.value.exit_code == 2


def test_times_of_another_network_are_refused(tmp_path: Path):
    alien = TimedConv(ConvWorkload(7, 7, (5, 5), 1, 49, 49), "fp16", 1.0)
    clock = write(tmp_path / "t.json", [1.0] * 3, convs=(alien,))
    with pytest.raises(CompressError, match="none of the network's Convs was measured"):
        compress(network(), f"basis:latency=0.8:clock={clock}")
