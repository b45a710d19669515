"""From the time before to the time after: what INT8 saves and what each pass does; limits that are missed."""

from __future__ import annotations

from typing import Any

import builders
import pytest
from onnx_compress import compress
from onnx_compress.cli.summary import print_summary
from onnx_compress.compiler.costs.latency import Latency
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.report.page import to_html
from onnx_compress.compiler.report.sizes import chain
from onnx_compress.drivers import times
from onnx_compress.drivers.compress import Compressed
from onnx_compress.drivers.layer_costs import Costed
from rich.console import Console

NETWORK = """g (float[N,32,H,W] x) => (float[N,10] y) {
    ["first"] a = Conv<pads=[1,1,1,1]>(x, w1)
    r = Relu(a)
    ["second"] c = Conv<pads=[1,1,1,1]>(r, w2)
    s = Relu(c)
    p = GlobalAveragePool(s)
    f = Flatten(p)
    y = Gemm<transB=1>(f, w3)
}"""
SHAPES = {"w1": (128, 32, 3, 3), "w2": (32, 128, 3, 3), "w3": (10, 32)}
LARGE = "x:{}x32x120x120"
"""Time is counted at these sizes, and samples are small."""


def compressed(pipeline: str, data: bool = True, **options: Any) -> Compressed:
    proto = builders.proto(NETWORK, **{name: builders.normal(*shape) / 24 for name, shape in SHAPES.items()})
    samples = builders.normal(16, 32, 6, 6) if data else None
    options.setdefault("shapes", [LARGE.format(1)])
    return compress(proto, pipeline, data=samples, preprocess=None, **options)


def steps(result: Compressed) -> dict[str, float]:
    return {entry["step"]: entry["ms"] for entry in result.report["times"]}


def ends(result: Compressed) -> tuple[float, float]:
    before, after = result.report["before"]["latency"], result.report["after"]["latency"]
    assert before is not None and after is not None
    return before["ms"], after["ms"]


def test_what_int8_saves_is_not_what_the_pass_before_it_does() -> None:
    result, quantized = compressed("prune:macs=0.6:align=32,quantize:noise=1"), compressed("quantize:noise=1")
    found, (before, after) = steps(result), ends(result)
    assert list(found) == ["in FP16", "in INT8", "with prune"]
    assert found["in FP16"] == before and found["with prune"] == pytest.approx(after, rel=0.005)
    assert found["in INT8"] == pytest.approx(ends(quantized)[1], rel=0.005)
    assert list(steps(quantized)) == ["in FP16", "in INT8"]


def test_layers_that_stay_in_float_are_a_step() -> None:
    result = compressed("prune:macs=0.6:align=32,quantize:noise=1e-9")
    assert list(steps(result)) == ["in FP16", "in INT8", "with prune", "with 3 layers in float"]


@pytest.mark.parametrize(("pipeline", "data"), [("quantize", False), ("cleanup", True)])
def test_where_nothing_changes_the_time_there_is_no_way(pipeline: str, data: bool) -> None:
    result = compressed(pipeline, data)
    assert list(steps(result)) == ["in FP16"] and chain(result.report) == ""


def test_a_target_without_a_model_has_no_times() -> None:
    assert compressed("quantize", target="ort").report["times"] == []


def test_the_way_is_printed_and_drawn() -> None:
    report = compressed("prune:macs=0.6:align=32,quantize:noise=1").report
    said = chain(report)
    assert said.count(" -> ") == 2 and " ms in FP16 -> " in said and said.endswith(" ms with prune")
    console = Console(record=True, width=200)
    print_summary(console, report, verbose=False)
    assert f"time: {said}" in console.export_text()
    assert said.replace(">", "&gt;") in to_html(report)


def test_a_limit_of_time_is_of_the_network_in_int8_and_kept() -> None:
    whole = ends(compressed("quantize:noise=1"))[1]
    for limit, most in (("0.8", 0.8 * whole), (f"{0.8 * whole:.4f}ms", 0.8 * whole + 1e-4)):
        result = compressed(f"prune:latency={limit},quantize:noise=1")
        assert ends(result)[1] <= most
        assert not result.report["warnings"]


def test_a_limit_that_float_layers_break_is_a_warning() -> None:
    result = compressed("prune:latency=0.8,quantize:noise=1e-9")
    (warning,) = [each for each in result.report["warnings"] if each.startswith("prune:latency=0.8 is not kept")]
    assert "ms instead of" in warning and "; 3 layers had to stay in float: ask for less time" in warning


def test_a_precision_that_is_named_is_what_the_limit_is_kept_in() -> None:
    result = compressed("prune:latency=0.8:precision=fp16,quantize:noise=1e-9")
    assert not any("prune:latency" in each for each in result.report["warnings"])


@pytest.mark.parametrize("batch", [1, 8])
def test_the_batch_is_that_of_the_shapes(batch: int) -> None:
    result = compressed("quantize:noise=1", shapes=[LARGE.format(batch)])
    latency = result.report["after"]["latency"]
    assert latency is not None and latency["batch"] == batch
    console = Console(record=True, width=200)
    print_summary(console, result.report, verbose=False)
    assert ("(MAXN, batch 8)" in console.export_text()) == (batch == 8)
    macs = result.report["after"]["macs"]
    assert macs == 120 * 120 * 9 * 2 * 32 * 128, "those of one sample"


def test_a_batch_pays_for_kernels_once() -> None:
    """A wide Conv as two of half the work: nothing at batch 1, where the second kernel costs what the work saves."""
    one, eight = (compressed("basis:energy=0.9", data=False, shapes=[f"x:{n}x32x24x24"]) for n in (1, 8))
    assert one.report["after"]["macs"] == eight.report["after"]["macs"]
    kept = [after / before for before, after in map(ends, (one, eight))]
    assert kept[1] < kept[0]


def test_steps_of_nothing_are_left_out() -> None:
    graph = builders.model("g (float[1] x) => (float[1] y) { y = Relu(x) }").graph
    unknown, known = (Costed(graph, {}, {}, latency) for latency in (None, Latency((), 0.1)))
    assert list(times.time_steps(unknown, known, Context(), [], [])) == []
