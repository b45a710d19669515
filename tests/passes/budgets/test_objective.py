"""What a search makes small, and in which precision time is counted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import builders
import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.compiler.costs.network_cost import graph_cost
from onnx_compress.compiler.costs.workload import ConvWorkload
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.io import Model, digest
from onnx_compress.compiler.graph.shapes import Shapes, infer_shapes
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.passes.basis import Basis
from onnx_compress.passes.budgets import budgeted_pass
from onnx_compress.passes.prune import Prune

NETWORK = """g (float[N,8,12,12] x) => (float[N,10] y) {
    ["wide"] a = Conv<pads=[1,1,1,1]>(x, w1)
    r = Relu(a)
    ["narrow"] c = Conv(r, w2)
    s = MaxPool<kernel_shape=[12,12]>(c)
    y = Flatten(s)
}"""


@dataclass(frozen=True)
class Stub:
    """A time per Conv, one per multiply-accumulate, and what the whole takes longer than its parts."""

    start: float = 0.0
    each: float = 1e-6
    beside: float = 0.0

    def conv(self, workload: ConvWorkload) -> float:
        return self.start + self.each * (workload.macs or 0)

    def graph(self, graph: gs.Graph, shapes: Shapes) -> float:
        convs = [node for node in graph.nodes if node.op == "Conv"]
        extra = self.beside * max(len(convs) - 2, 0)
        return len(convs) * self.start + self.each * (graph_cost(graph, shapes).macs or 0) + extra


class Beside(Stub):
    """Nearly all of the time is not that of Convs."""

    def graph(self, graph: gs.Graph, shapes: Shapes) -> float:
        return 100.0 + super().graph(graph, shapes)


def network() -> Model:
    """Both Convs are of rank 2 but for noise."""
    low = builders.normal(64, 2) @ builders.normal(2, 72, seed=1)
    w1, w2 = (low + 0.02 * builders.normal(64, 72, seed=2)).reshape(64, 8, 3, 3), builders.normal(10, 64, 1, 1)
    return builders.model(NETWORK, w1=w1.astype(np.float32) / 8, w2=w2 / 8)


def applied(spec: str, monkeypatch: pytest.MonkeyPatch, stub: Any, **options: Any) -> tuple[Model, PassResult]:
    monkeypatch.setattr(budgeted_pass, "device_latency_model", lambda *_: stub)
    model, (entry, *following) = network(), parse_pipeline(spec)
    data = builders.Images(builders.normal(96, 8, 12, 12, seed=7))
    ctx = Context(RunOptions(**options), data, original=network().graph, running=entry.name, following=following)
    return model, entry.run(model.graph, ctx)


def rewritten(result: PassResult) -> list[str]:
    return [decision.node for decision in result.decisions if decision.action == "rewritten"]


def test_a_search_rewrites_only_what_gets_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    macs = 144 * 64 * 72 / 1e6
    stub = Stub(start=0.4 * macs)
    _, timed = applied("basis:error=0.2:form=channel", monkeypatch, stub)
    assert rewritten(timed) == ["wide"]
    assert timed.metrics["latency_kept"] < 1
    assert [each.node for each in timed.decisions if "faster than the Conv itself" in each.reason] == ["narrow"]
    _, counted = applied("basis:error=0.2:form=channel:objective=macs", monkeypatch, stub)
    assert not any(each.action == "skipped" for each in counted.decisions)
    assert any(note.startswith("error=0.2: macs=") for note in counted.notes)


@pytest.mark.parametrize("spec", ["basis:error=0.2", "prune:error=0.2", "sparse-lowrank:error=0.2:iterations=3"])
def test_where_macs_are_the_time_both_objectives_are_one(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    timed, counted = (applied(f"{spec}{each}", monkeypatch, Stub())[1] for each in ("", ":objective=macs"))
    assert timed.metrics["latency_kept"] == pytest.approx(timed.metrics["macs_kept"])
    assert timed.metrics["macs_kept"] == pytest.approx(counted.metrics["macs_kept"], abs=0.05)
    assert timed.changed and counted.changed


def test_what_saves_nothing_in_the_network_as_a_whole_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels that were one with their Conv, say, and are not with the last of two."""
    model, result = applied("basis:error=0.2", monkeypatch, Stub(beside=10.0))
    assert not result.changed and not rewritten(result)
    assert digest(model) == digest(network())
    assert any(note.startswith("the network as a whole would take no less time (") for note in result.notes)
    assert not any(name.endswith("_kept") for name in result.metrics)


def test_what_could_save_next_to_nothing_is_not_searched_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is fitted: the Convs are a hundredth of the time."""
    monkeypatch.setattr("onnx_compress.passes.decomposition.survey.curve_fits", None)
    model, result = applied("basis:error=0.2", monkeypatch, Beside())
    assert digest(model) == digest(network()) and not result.changed
    assert {each.reason for each in result.decisions} == {
        "all that could be rewritten would save less than 1.5% of the time"
    }


def test_a_limit_of_time_is_kept_by_the_network_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    stub = Stub(beside=0.1)
    model, result = applied("basis:latency=0.7", monkeypatch, stub)
    after, before = (stub.graph(graph, infer_shapes(graph)) for graph in (model.graph, network().graph))
    share = after / before
    assert share == pytest.approx(result.metrics["latency_kept"]) and share <= 0.7


def test_a_time_is_a_share_of_what_the_original_takes(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = 144 * (64 * 72 + 10 * 64) / 1e6
    _, share = applied("basis:latency=0.5", monkeypatch, Stub())
    _, time = applied(f"basis:latency={0.5 * whole!r}ms", monkeypatch, Stub())
    assert time.metrics == pytest.approx(share.metrics)
    _, none = applied("basis:latency=99ms", monkeypatch, Stub())
    assert not rewritten(none)
    assert f"latency=99ms is met before this pass, by latency={whole:.3f}ms: it changes nothing" in none.notes


def test_a_time_out_of_reach_names_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("basis", "prune"):
        with pytest.raises(CompressError, match=r"latency=0.001ms cannot be reached .* is latency=0\.\d\d\dms"):
            applied(f"{name}:latency=0.001ms", monkeypatch, Stub())


def test_of_a_time_the_nearest_that_is_named_can_be_met(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(CompressError) as raised:
        applied("basis:latency=0.001ms", monkeypatch, Stub())
    nearest = str(raised.value).split("latency=")[-1].rstrip(")")
    assert applied(f"basis:latency={nearest}", monkeypatch, Stub())[1].changed


def test_without_a_cost_model_macs_are_made_small(monkeypatch: pytest.MonkeyPatch) -> None:
    for spec in ("basis:error=0.2", "basis:error=0.2:objective=macs"):
        _, result = applied(spec, monkeypatch, None)
        assert any(note.startswith("error=0.2: macs=") for note in result.notes)
    with pytest.raises(CompressError, match="has no cost model"):
        applied("basis:error=0.2:objective=latency", monkeypatch, None, target="ort")


@pytest.mark.parametrize("unit", ["params", "bytes"])
def test_parameters_and_bytes_can_be_made_small(unit: str, monkeypatch: pytest.MonkeyPatch) -> None:
    _, result = applied(f"basis:error=0.2:objective={unit}", monkeypatch, Stub())
    assert result.metrics[f"{unit}_kept"] < 1
    assert any(note.startswith(f"error=0.2: {unit}=") for note in result.notes)


def test_an_objective_is_of_a_search() -> None:
    with pytest.raises(ValueError, match=r"objective=macs and macs=0\.5 are given: an objective is of a search"):
        Prune(objective="macs", macs=0.5)
    assert str(Basis(objective="params", error=0.1)) == "basis:error=0.1:objective=params"


@pytest.mark.parametrize(("following", "precision"), [("", "fp16"), (",quantize", "int8")])
@pytest.mark.parametrize("kind", ["basis", "prune"])
def test_time_is_counted_in_the_precision_in_which_the_pipeline_ends(kind: str, following: str, precision: str) -> None:
    entry, *rest = parse_pipeline(f"{kind}:latency=0.5{following}")
    ctx = Context(data=builders.Images(builders.normal(64, 8, 12, 12)), following=rest)
    assert isinstance(entry, Basis | Prune)
    workload = ConvWorkload(256, 256, (3, 3), 1, 784, 784)
    explicit, ending = type(entry)(precision=precision).latency_model(ctx), entry.latency_model(ctx)  # pyright: ignore[reportArgumentType]
    assert explicit is not None and ending is not None
    assert ending.conv(workload) == explicit.conv(workload)
