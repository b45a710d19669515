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
from onnx_compress.cli.summary import print_summary
from onnx_compress.compiler.costs.network_cost import Cost
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.pipeline.base import Decision, PassRecord, PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.compiler.report import QualityReport, pass_report, unchanged
from onnx_compress.compiler.report.sizes import seen, size_lines
from onnx_compress.drivers.judging import exceeded, warnings
from onnx_compress.drivers.layer_costs import Costed, layer_reports
from onnx_compress.runtime.subsets import held_out
from rich.console import Console


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
    gone = Costed(builders.model("g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }").graph, {}, {}, None)
    whole = builders.model(
        "g (float[1,3,8,8] x) => (float[1,4,8,8] y) { y = Conv(x, w) }", w=builders.normal(4, 3, 1, 1)
    )
    whole.graph.nodes[0].name = "conv"
    (layer,) = layer_reports(Costed(whole.graph, {}, {"conv": Cost(768, 12)}, None), gone, {})
    assert layer["weight"] == [4, 3, 1, 1] and layer["before"] == {"macs": 768, "params": 12, "ms": None}
    assert layer["after"] == {"macs": 0, "params": 0, "ms": None}


def test_what_stands_for_a_conv_is_summed():
    graph = builders.model("g (float[1,3] x) => (float[1,3] y) { y = Relu(x) }").graph
    costs = Costed(graph, {}, {"a.one": Cost(1, 2), "b": Cost(10, 20), "a.two": Cost(3, 4)}, None)
    assert costs.of({"a.one": "a", "a.two": "a"}) == {
        "a": {"macs": 4, "params": 6, "ms": None},
        "b": {"macs": 10, "params": 20, "ms": None},
    }


def judged(samples: int, pipeline: str = "basis:macs=0.7") -> QualityReport:
    data = front.images(samples)
    quality = compress(
        front.classifier(), pipeline, data=data, labels=np.zeros(samples, int), preprocess="unit"
    ).report["quality"]
    assert quality is not None
    return quality


def test_quality_is_measured_on_samples_that_no_fit_has_seen():
    quality = judged(128)
    assert (quality["metric"], quality["samples"], quality["held_out"]) == ("agreement", 32, True)
    assert quality["value"] == quality["agreement"] == pytest.approx(quality["value"])
    assert quality["fitted"] is not None and quality["deviation"] is not None
    assert seen(quality) == "on 32 samples that no fit has seen"


def test_of_few_samples_the_figure_is_called_what_it_is():
    quality = judged(20)
    assert (quality["samples"], quality["held_out"], quality["fitted"]) == (20, False, None)
    assert seen(quality) == "on 20 samples that the fits have seen"


def test_a_destroyed_network_is_said_to_be_one():
    found = compress(front.classifier(), "basis:rank=1", data=front.images(128), preprocess="unit")
    quality = found.report["quality"]
    assert quality is not None and (quality["value"] < 0.5) == any(
        "is destroyed" in each for each in found.report["warnings"]
    )


OWN = {"metric": "own()", "samples": None, "deviation": None, "fitted": None}


@pytest.mark.parametrize(
    ("quality", "words"),
    [
        ({"value": 0.27, "deviation": 0.03, "fitted": 0.96}, ["is destroyed: agreement 27.00 % ± 3", "say 0.96"]),
        ({"value": 0.93, "deviation": 0.03, "fitted": 0.96}, []),
        ({"value": 0.80, "deviation": 0.03, "fitted": 0.96}, ["were fitted say 0.96: Conv_0 has more inputs"]),
        ({"metric": "error", "value": 0.7, "deviation": 0.1, "fitted": 0.6}, ["is destroyed: error 0.7 ± 0.1"]),
        ({"metric": "error", "value": 0.3, "deviation": 0.01, "fitted": 0.1}, ["the samples that were fitted say 0.1"]),
        (
            OWN | {"value": 3.0, "original": 3.0, "output_error": 2.9},
            ["own() has not changed, but the outputs"],
        ),
        (OWN | {"value": -9.0, "original": -3.0, "output_error": 2.9}, ["is destroyed: own() -9, the outputs are off"]),
        (OWN | {"value": -4.0, "original": -3.0, "output_error": 0.2}, []),
        (OWN | {"value": 2.9, "original": 3.0, "output_error": 2.9}, []),
    ],
)
def test_warnings(quality: dict[str, float | str | None], words: list[str]):
    graph = builders.model(
        "g (float[1,3,1,1] x) => (float[1,4,1,1] y) { y = Conv(x, w) }", w=builders.normal(4, 3, 1, 1)
    ).graph
    report: Any = {"metric": "agreement", "samples": 64, "held_out": True, "original": None, "output_error": None}
    report |= {"outputs": {}, **quality}
    found = list(warnings(report, graph, Context(data=builders.Images(builders.normal(2, 3, 1, 1)))))
    assert len(found) == len(words)
    assert all(word in line for word, line in zip(words, found, strict=True))


def test_of_a_single_sample():
    assert seen(judged(1, "quantize")) == "on 1 sample that the fits have seen"


def test_fitted_samples_say_what_is_lost_not_how_good_the_original_is_on_them():
    _, judging = held_out(builders.Images(builders.normal(128, 3)))
    assert judging is not None
    images = front.images(128)
    labels = builders.run(front.classifier(), x=images.transpose(0, 3, 1, 2).astype(np.float32) / 255)["y"].argmax(1)
    labels[judging.rows()] = (labels[judging.rows()] + np.arange(judging.samples) % 2) % front.CLASSES
    found = compress(
        front.classifier(), "quantize", data=images, labels=labels, preprocess="unit", metric="accuracy"
    ).report
    quality = found["quality"]
    assert quality is not None and quality["original"] is not None and quality["fitted"] is not None
    assert abs(quality["fitted"] - quality["original"]) < 0.1
    assert not any("were fitted" in line for line in found["warnings"])


def test_top1_beside_a_metric_of_the_users_names_no_samples_of_that(capsys: pytest.CaptureFixture[str]):
    data = {"images": front.images(40), "labels": np.zeros(40, int)}
    report = compress(
        front.classifier(),
        "quantize",
        data=data["images"],
        labels=data["labels"],
        preprocess="unit",
        metric=lambda predict: 1.0,
    ).report
    print_summary(Console(), report, verbose=False)
    said = capsys.readouterr().out
    assert "None" not in said and "top-1 " in said
    remarks = {line.name: line.remark for line in size_lines(report)}
    assert remarks["Top-1 accuracy"] == remarks["Relative error of the outputs"] == "on samples of the data"


@pytest.mark.parametrize(
    ("pipeline", "quality", "words"),
    [
        ("basis:agreement=0.9,quantize", {"value": 0.80, "deviation": 0.02}, "basis:agreement=0.9 is not kept"),
        ("basis:agreement=0.9,quantize", {"value": 0.87, "deviation": 0.02}, ""),
        ("basis:agreement=0.9", {"value": 0.80, "deviation": 0.02}, "give more samples"),
        ("basis:error=0.2,quantize", {"metric": "error", "value": 0.3, "deviation": 0.01}, "error 0.3 ± 0.01"),
        ("basis:error=0.2,quantize", {"value": 0.5, "deviation": 0.01}, ""),
        ("basis:accuracy-drop=1", {"value": 0.9, "deviation": 0.01, "top1_before": 0.9, "top1_after": 0.8}, "drop=1"),
        ("quantize:metric-drop=8,cleanup", OWN | {"value": 85.0, "original": 96.0}, "a budget, too"),
        ("quantize:metric-drop=11,cleanup", OWN | {"value": 85.0, "original": 96.0}, ""),
        (
            "basis:metric-drop=2,quantize",
            {"metric": "accuracy", "value": 0.90, "deviation": 0.001, "original": 0.95},
            "basis:metric-drop=2 is not kept",
        ),
        ("basis:macs=0.5,quantize", {"value": 0.1, "deviation": 0.01}, ""),
    ],
)
def test_a_budget_that_later_passes_exceed_is_named(pipeline: str, quality: dict[str, Any], words: str):
    report: Any = {"metric": "agreement", "samples": 64, "held_out": True, "original": None}
    report |= {"top1_before": None, "top1_after": None, "outputs": {}, **quality}
    if report["metric"] == "accuracy":
        report |= {"top1_before": report["original"], "top1_after": report["value"]}
    said = " ".join(exceeded(report, parse_pipeline(pipeline)))
    assert words in said and bool(said) == bool(words)


def test_by_a_metric_of_the_users():
    calls: list[float] = []

    def own(predict: Any) -> float:
        x = builders.normal(4, 3, 8, 8)
        calls.append(float(predict({"x": x})["y"].std()))
        return calls[-1]

    result = compress(front.classifier(), "basis:rank=1", metric=own)
    quality = result.report["quality"]
    assert quality is not None
    assert (quality["metric"], quality["samples"], quality["fitted"], quality["output_error"]) == ("own()", *[None] * 3)
    assert (quality["original"], quality["value"], len(calls)) == (calls[0], pytest.approx(calls[-1]), len(set(calls)))
    assert result.records[3].figures["own()"] == calls[1]
    assert seen(quality) == "on samples of the metric's own"
    destroyed = any("the network is destroyed: own() " in line for line in result.report["warnings"])
    assert destroyed == (calls[-1] < calls[0] / 2)


def test_a_metric_that_cannot_be_measured_is_refused_before_any_pass():
    with pytest.raises(CompressError, match="metric: agreement needs samples"):
        compress(front.classifier(), "basis:rank=1", metric="agreement")
    with pytest.raises(CompressError, match="accuracy cannot be measured: there are no labels"):
        compress(front.classifier(), "basis:rank=1", metric="accuracy", data=front.images(40), preprocess="unit")


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


def test_samples_that_are_one_to_the_network_are_told_of() -> None:
    graph = "g (float[N,4,8,8] x) => (float[N,12] y) { c = Conv(x, w) p = GlobalAveragePool(c) y = Flatten(p) }"
    network = builders.proto(graph, w=builders.normal(12, 4, 3, 3))
    data = builders.normal(1, 4, 8, 8) + 1e-3 * builders.normal(256, 4, 8, 8, seed=1)
    said = compress(network, "quantize", data=data).report["warnings"]
    assert said[0].startswith("the original gives 100 % of the samples one class: --preprocess is not")
    said = compress(network, "quantize", data=builders.normal(256, 4, 8, 8, seed=2)).report["warnings"]
    assert not any("one class" in warning for warning in said)


def test_what_is_slower_than_what_came_in_is_told_of() -> None:
    """A kernel for the codes of the input, and layers too small to win it back."""
    graph = "g (float[N,4,8,8] x) => (float[N,12] y) { c = Conv(x, w) p = GlobalAveragePool(c) y = Flatten(p) }"
    report = compress(
        builders.proto(graph, w=builders.normal(12, 4, 3, 3)), "quantize", data=builders.normal(64, 4, 8, 8)
    ).report
    before, after = (report[side]["latency"]["ms"] for side in ("before", "after"))
    what = f"by the estimate the network that is written is slower: {after:.3g} ms instead of {before:.3g}"
    assert after > before and what in report["warnings"]
    large = builders.proto(graph.replace("4,8,8", "64,64,64"), w=builders.normal(12, 64, 3, 3))
    assert not any("slower" in said for said in compress(large, "basis:macs=1.0").report["warnings"])
