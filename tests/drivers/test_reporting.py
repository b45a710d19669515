"""The figures of a report belong together, and say where they were found."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import builders
import front
import numpy as np
import pytest
import reports
from onnx_compress.api import compress
from onnx_compress.compiler.costs.network_cost import Cost
from onnx_compress.compiler.pipeline.base import Decision, PassRecord, PassResult
from onnx_compress.compiler.report import pass_report, unchanged
from onnx_compress.drivers import reporting
from onnx_compress.drivers.layer_costs import Costed, layer_reports


def test_layers_sum_to_the_network():
    report = reports.report()
    for side in ("before", "after"):
        for unit in ("macs", "params"):
            assert sum(layer[side][unit] for layer in report["layers"]) == report[side][unit]
    latency = report["before"]["latency"]
    assert latency is not None
    assert 0 < sum(layer["before"]["ms"] or 0 for layer in report["layers"]) < latency["ms"]


@pytest.mark.parametrize("key", ["python", "packages", "system", "processor", "cores"])
def test_the_environment_is_known(key: str):
    environment = reports.report()["environment"]
    assert environment is not None and environment[key]


def test_a_conv_of_which_nothing_is_left_costs_nothing():
    gone = Costed(builders.model("g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }").graph, {}, None)
    whole = builders.model(
        "g (float[1,3,8,8] x) => (float[1,4,8,8] y) { y = Conv(x, w) }", w=builders.normal(4, 3, 1, 1)
    )
    whole.graph.nodes[0].name = "conv"
    (layer,) = layer_reports(Costed(whole.graph, {"conv": Cost(768, 12)}, None), gone, {})
    assert layer["weight"] == [4, 3, 1, 1] and layer["before"] == {"macs": 768, "params": 12, "ms": None}
    assert layer["after"] == {"macs": 0, "params": 0, "ms": None}


def test_what_stands_for_a_conv_is_summed():
    graph = builders.model("g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }").graph
    costs = Costed(graph, {"a.one": Cost(1, 2), "b": Cost(10, 20), "a.two": Cost(3, 4)}, None)
    assert costs.of({"a.one": "a", "a.two": "a"}) == {
        "a": {"macs": 4, "params": 6, "ms": None},
        "b": {"macs": 10, "params": 20, "ms": None},
    }


@pytest.mark.parametrize(("labels", "count"), [(None, 10), (np.zeros(40, int), 40)])
def test_large_samples_without_labels_are_not_all_compared(
    labels: np.ndarray | None, count: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(reporting, "COMPARED", 10 * 4 * 3 * front.SIDE**2)
    found = compress(front.classifier(), "cleanup", data=front.images(40), labels=labels, preprocess="unit")
    quality = found.report["quality"]
    assert quality is not None and quality["samples"] == count


def test_an_engine_takes_every_shape_of_the_samples():
    model = builders.proto(
        "g (float[N,3,8,W] x) => (float[N,4,8,V] y) { y = Conv(x, w) }", w=builders.normal(4, 3, 1, 1)
    )
    lines = [builders.normal(2, 3, 8, width) for width in (8, 24, 6)]
    report = compress(model, "cleanup", data=lines).report
    command, data = report["target"]["command"], report["data"]
    assert "--minShapes=x:1x3x8x6 --optShapes=x:1x3x8x8 --maxShapes=x:1x3x8x24" in command
    assert data is not None and data["samples"] == 6
    given = compress(model, "cleanup", data=lines, shapes=["x:1x3x8x4/2x3x8x8/4x3x8x32"]).report["target"]["command"]
    assert "--minShapes=x:1x3x8x4 --optShapes=x:2x3x8x8" in given


def test_how_images_are_read_is_written_out_with_the_size_of_the_network():
    images = np.random.default_rng(0).integers(0, 256, (4, 12, 9, 3), np.uint8)
    report = compress(front.classifier(), "cleanup", data=images, preprocess="yolox:pad=0").report
    assert report["data"] is not None and report["command"] is not None
    assert report["data"]["preprocess"] == "mean=0.0:std=1.0:scale=1.0:size=8:bgr:letterbox:pad=0"
    assert "preprocess='yolox:pad=0'" in report["command"]


@pytest.mark.parametrize(
    ("pipeline", "options", "sentence"),
    [
        pytest.param("quantize", {"exclude": "."}, "quantize changed nothing: excluded by --exclude .", id="excluded"),
        pytest.param("basis:macs=1.0", {}, "basis changed nothing: ", id="at full size"),
        pytest.param("prune:macs=1.0", {}, "prune changed nothing: ", id="nothing to prune"),
        pytest.param("quantize", {"target": "xavier-dla"}, "quantize changed nothing: no calibration", id="no data"),
        pytest.param("cleanup", {}, "cleanup changed nothing: it found nothing to do", id="nothing to clean"),
    ],
)
def test_a_pass_that_changes_nothing_is_said_first(
    pipeline: str,
    options: dict[str, Any],
    sentence: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    model = front.write_model(tmp_path / "m.onnx")
    found = compress(model, pipeline, **options).report
    assert found["notes"][0].startswith(sentence)
    assert front.call(model, "-p", pipeline, *(f"--{key}={value}" for key, value in options.items())) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"warning: {sentence}")
    assert shown.count(sentence) == 1


def test_the_commonest_reason_is_given():
    result = PassResult(notes=["a note"])
    assert unchanged(pass_report(PassRecord(1, "basis", "basis", result), {})) == "basis changed nothing: a note"
    result.decisions.extend(Decision(reason, "skipped", reason) for reason in "abbcb")
    entry = pass_report(PassRecord(1, "basis", "basis", result), {})
    assert unchanged(entry) == "basis changed nothing: b (3 of 5 nodes)"


def test_a_calibration_cache_is_something():
    data = front.images(8)
    found = compress(front.classifier(), "quantize", target="xavier-dla", data=data, preprocess="unit").report
    assert not found["passes"][3]["changed"]
    assert not any("changed nothing" in note for note in found["notes"])
