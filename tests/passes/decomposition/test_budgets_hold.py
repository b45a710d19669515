"""Every budget is met from below by the network that is written, or the user is told."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from pathlib import Path

import builders
import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.compiler.costs.latency import estimate
from onnx_compress.compiler.costs.network_cost import graph_cost
from onnx_compress.compiler.costs.workload import ConvWorkload
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.io import Model, load, to_proto
from onnx_compress.compiler.graph.shapes import Shapes, infer_shapes
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.compiler.targets import TARGETS
from onnx_compress.passes.budgets import budgeted_pass
from onnx_compress.passes.fold_batchnorm import FoldBatchnorm

RESNET = Path(__file__).parents[4] / "shared" / "models" / "resnet20.onnx"
NETWORK = """g (float[1,32,448,448] x) => (float[1,96,224,224] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    r = Relu(a)
    c = Conv<pads=[1,1,1,1], strides=[2,2]>(r, w2)
    s = Relu(c)
    y = Conv(s, w3)
}"""


def network() -> Model:
    shapes = {"w1": (96, 32, 3, 3), "w2": (96, 96, 3, 3), "w3": (96, 96, 1, 1)}
    weights = {name: builders.normal(*s, seed=i) / prod(s[1:]) ** 0.5 for i, (name, s) in enumerate(shapes.items())}
    return builders.model(NETWORK, **{name: w.astype(np.float32) for name, w in weights.items()})


def apply(model: Model, spec: str, target: str = "xavier") -> PassResult:
    (entry,) = parse_pipeline(spec)
    return entry.run(model.graph, Context(RunOptions(target=target), original=model.graph.copy()))


@dataclass(frozen=True)
class Stub:
    """A time per Conv and one per multiply-accumulate."""

    start: float
    each: float

    def conv(self, piece: ConvWorkload) -> float:
        return self.start + self.each * piece.macs

    def graph(self, graph: gs.Graph, shapes: Shapes) -> float:
        return len(graph.nodes) * self.start + self.each * graph_cost(graph, shapes).macs


@pytest.mark.parametrize("share", [0.4, 0.7])
def test_the_file_has_the_bytes_that_were_asked_for(share: float) -> None:
    model = network()
    before = to_proto(model).ByteSize()
    apply(model, f"basis:bytes={share}")
    assert 0.99 * share <= to_proto(model).ByteSize() / before <= share


@pytest.mark.skipif(not RESNET.is_file(), reason="the shared networks are not here")
def test_the_bytes_hold_for_many_small_convs_with_long_names() -> None:
    model = load(RESNET)
    FoldBatchnorm().run(model.graph, Context())
    before = len(gs.export_onnx(model.graph).SerializeToString())
    apply(model, "basis:bytes=0.5")
    assert 0.495 <= len(gs.export_onnx(model.graph).SerializeToString()) / before <= 0.5


def test_two_budgets_hold_together() -> None:
    model = network()
    before = graph_cost(model.graph, infer_shapes(model.graph))
    result = apply(model, "basis:macs=0.5:params=0.4")
    after = graph_cost(model.graph, infer_shapes(model.graph))
    assert after.macs <= 0.5 * before.macs
    assert 0.396 * before.params <= after.params <= 0.4 * before.params
    assert result.metrics["params_kept"] == pytest.approx(after.params / before.params, abs=0.001)


def test_the_latency_is_that_of_the_network_written() -> None:
    model = network()
    xavier = TARGETS["xavier"]
    before = estimate(model.graph, infer_shapes(model.graph), xavier, precision="fp16").ms
    result = apply(model, "basis:latency=0.7")
    after = estimate(model.graph, infer_shapes(model.graph), xavier, precision="fp16").ms
    assert after <= 0.7 * before
    assert result.metrics["latency_kept"] == pytest.approx(after / before, rel=0.05)


def test_under_a_latency_budget_nothing_is_rewritten_that_gets_slower(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub(start=5.0, each=1e-8)
    monkeypatch.setattr(budgeted_pass, "device_latency_model", lambda *_: stub)
    result = apply(network(), "basis:latency=0.8")
    figures = {d.node: d.figures for d in result.decisions if d.action == "rewritten"}
    assert figures
    assert all(f["latency_after"] < f["latency_before"] for f in figures.values())
    (small,) = [d for d in result.decisions if d.action == "skipped"]
    assert "faster than the Conv itself" in small.reason


def test_under_other_budgets_what_saves_macs_but_no_time_is_marked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(budgeted_pass, "device_latency_model", lambda *_: Stub(start=1e6, each=1e-8))
    result = apply(network(), "basis:macs=0.5")
    rewritten = [d for d in result.decisions if d.action == "rewritten"]
    assert rewritten
    assert all("saves MACs but no time" in d.reason for d in rewritten)
    assert any(
        note.startswith(f"{len(rewritten)} of the rewritten Convs save MACs but no time") for note in result.notes
    )


def test_without_a_shape_nothing_is_counted() -> None:
    text = "g (float[N,16,24,24] x) => (float[N,16,H,W] y) { a = custom.Unknown(x) y = Conv<pads=[1,1,1,1]>(a, w) }"
    model = builders.model(text, domains=', "custom" : 1', w=builders.normal(16, 16, 3, 3))
    for budget in ("macs=0.5", "latency=0.5"):
        with pytest.raises(
            CompressError, match=f"{budget} cannot be counted: the shape of 'a' behind Unknown 'Unknown_0'"
        ):
            apply(model, f"basis:{budget}")


def test_a_latency_out_of_reach_names_the_nearest() -> None:
    with pytest.raises(CompressError, match=r"latency=0.01 cannot be reached .*smallest possible is latency=0\."):
        apply(network(), "basis:latency=0.01")


def test_a_latency_needs_a_cost_model() -> None:
    with pytest.raises(CompressError, match=r"target 'ort' has no cost model"):
        apply(network(), "basis:latency=0.5", "ort")


def test_a_budget_that_the_step_of_sizes_leaves_unused_is_noted() -> None:
    result = apply(network(), "basis:macs=0.6:align=40")
    assert any(note.startswith("macs=0.6 is met by macs=0.") for note in result.notes)
