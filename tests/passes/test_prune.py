"""The prune pass: without repair the masked network, budgets that hold, and reasons for what stays."""

from __future__ import annotations

from itertools import count
from math import prod
from pathlib import Path

import builders
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.compiler.costs.network_cost import graph_cost
from onnx_compress.compiler.errors import CompressError, UsageError
from onnx_compress.compiler.graph.channels import find_channels, mask
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import Model, from_proto
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context, Snapshot
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.passes import prune as pruning
from onnx_compress.passes.pruning.candidates import PruningCriteria, survey
from onnx_compress.passes.pruning.candidates import prunable_groups as split_groups
from onnx_compress.passes.sensitivity.measure import SensitivityMeter
from onnx_compress.passes.sensitivity.table import SensitivityTable

TEXT = """g (float[N,3,12,12] x) => (float[N,6] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1, b1)
    r = Relu(a)
    c = Conv<pads=[1,1,1,1]>(r, w2, b2)
    s = Relu(c)
    d = Conv<pads=[1,1,1,1], group=16>(s, w3)
    e = Conv(d, w4, b4)
    t = Add(e, r)
    u = Relu(t)
    f = GlobalAveragePool(u)
    h = Flatten(f)
    y = Gemm<transB=1>(h, w5, b5)
}"""
SHAPES = {"w1": (16, 3, 3, 3), "b1": (16,), "w2": (16, 16, 3, 3), "b2": (16,), "w3": (16, 1, 3, 3)}
SHAPES |= {"w4": (16, 16, 1, 1), "b4": (16,), "w5": (6, 16), "b5": (6,)}


def network() -> onnx.ModelProto:
    """A residual stream of 16 channels, and 16 inside the block that pass a depthwise Conv."""
    return builders.proto(TEXT, **weights(SHAPES))


def weights(shapes: dict[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {
        name: builders.normal(*shape, seed=i) / np.float32(np.sqrt(prod(shape[1:])))
        for i, (name, shape) in enumerate(shapes.items())
    }


def images(count: int = 96) -> builders.Images:
    return builders.Images(builders.normal(count, 3, 12, 12, seed=9))


def apply(spec: str, data: builders.Images | None = None, **options: str) -> tuple[Model, PassResult]:
    model = from_proto(network())
    (entry,) = parse_pipeline(spec)
    result = entry.run(model.graph, Context(RunOptions(**options), data, original=model.graph.copy()))
    return model, result


def kept(model: Model, cost: str = "macs") -> float:
    before, after = (graph_cost(g, infer_shapes(g)) for g in (from_proto(network()).graph, model.graph))
    return getattr(after, cost) / getattr(before, cost)


def units(result: PassResult) -> dict[str, int]:
    return {d.node: int(d.figures["units_kept"]) for d in result.decisions if "units_kept" in d.figures}


def distance(model: Model) -> float:
    x = images(64).x
    a, b = builders.run(from_proto(network()), x=x)["y"], builders.run(model, x=x)["y"]
    return float(np.linalg.norm(a - b) / np.linalg.norm(a))


@pytest.mark.parametrize("data", [None, images()], ids=["without data", "with data"])
def test_without_repair_it_computes_what_the_masked_network_does(data: builders.Images | None) -> None:
    model, result = apply("prune:share=0.25:repair=none", data)
    masked = from_proto(network())
    shapes, ctx, request = infer_shapes(masked.graph), Context(data=data), PruningCriteria(None, 1, 1, 1e-3, data)
    channels = find_channels(masked.graph, shapes)
    groups, _ = split_groups(channels, ctx, request)
    found = survey(masked.graph, ctx, channels, groups, shapes, request)
    mask(channels, {each.group: each.kept(4) for each in found}, Rewriter(masked.graph))
    x = images(8).x
    assert result.changed and set(units(result).values()) == {12}
    np.testing.assert_allclose(builders.run(model, x=x)["y"], builders.run(masked, x=x)["y"], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("data", [None, images()], ids=["without data", "with data"])
@pytest.mark.parametrize(
    "options", ["", ":criterion=gaussian", ":criterion=l2", ":criterion=fpgm:division=even"], ids=lambda text: text
)
def test_the_mac_budget_holds_and_is_used(options: str, data: builders.Images | None) -> None:
    model, _ = apply(f"prune:macs=0.6{options}", data)
    assert 0.5 < kept(model) <= 0.6
    assert builders.run(model, x=images(2).x)["y"].shape == (2, 6)


def test_several_budgets_hold_together() -> None:
    model, result = apply("prune:macs=0.7:params=0.5:latency=0.99")
    assert kept(model) <= 0.7 and kept(model, "params") <= 0.5
    assert result.metrics["latency_kept"] <= 0.99
    np.testing.assert_allclose(result.metrics["params_kept"], kept(model, "params"))


def test_each_repair_brings_the_outputs_closer() -> None:
    none, bias, refit = (
        distance(apply(f"prune:macs=0.6:repair={each}", images())[0]) for each in ("none", "bias", "refit")
    )
    assert refit < bias < none


def test_the_loss_of_the_readers_is_a_better_guide_than_the_norm() -> None:
    """Scale a filter up and what reads it down: its norm says keep, its effect says remove."""
    scaled = network()
    by_name = {tensor.name: tensor for tensor in scaled.graph.initializer}
    w2, w3 = (onnx.numpy_helper.to_array(by_name[name]).copy() for name in ("w2", "w3"))
    w2[5] *= 10
    w3[5] *= 1e-4
    by_name["w2"].CopyFrom(onnx.numpy_helper.from_array(w2, "w2"))
    by_name["w3"].CopyFrom(onnx.numpy_helper.from_array(w3, "w3"))
    for criterion, stays in (("l2", True), ("moments", False)):
        model = from_proto(scaled)
        (entry,) = parse_pipeline(f"prune:share=0.5:criterion={criterion}:repair=none")
        entry.run(model.graph, Context(data=images(), original=model.graph.copy()))
        depthwise = next(conv for conv in find_convs(model.graph) if conv.group > 1)
        smallest = np.abs(depthwise.weight).max(axis=(1, 2, 3)).min()
        assert (smallest < 1e-3) == stays


def test_nothing_to_remove_leaves_the_network_as_it_is() -> None:
    model, result = apply("prune:macs=1.0", images())
    assert not result.changed and distance(model) == 0
    assert {d.action for d in result.decisions} <= {"kept", "skipped"}


@pytest.mark.parametrize("align", [4, 8])
def test_kept_units_are_multiples(align: int) -> None:
    _, result = apply(f"prune:macs=0.7:align={align}")
    assert any(count < 16 for count in units(result).values())
    assert all(count % align == 0 for count in units(result).values())


def test_a_minimum_of_units_stays() -> None:
    _, result = apply("prune:share=1.0:minimum=6")
    assert set(units(result).values()) == {6}


def test_a_group_has_a_decision_on_every_layer_that_makes_it() -> None:
    _, result = apply("prune:share=0.5:repair=none")
    decisions = {d.node: d for d in result.decisions}
    stream = [conv.name for conv in find_convs(from_proto(network()).graph) if conv.filters == 16 and conv.group == 1]
    assert all(decisions[name].action == "rewritten" for name in stream)
    assert sum("together with" in decisions[name].reason for name in stream) == 1
    (last,) = [d for d in result.decisions if d.action == "skipped"]
    assert "output of the model" in last.reason


def test_groups_out_of_scope_stay_whole() -> None:
    first = next(find_convs(from_proto(network()).graph)).name
    _, result = apply("prune:share=0.5", exclude=f"^{first}$")
    decisions = {d.node: d for d in result.decisions}
    assert "--exclude" in decisions[first].reason
    assert len(units(result)) == 1


def test_an_impossible_budget_names_the_smallest() -> None:
    with pytest.raises(CompressError, match=r"the smallest found is macs=0\.\d+"):
        apply("prune:macs=0.001")


@pytest.mark.parametrize(
    "spec", ["prune:agreement=0.8:objective=macs", "prune:auto:agreement=0.8:criterion=gaussian:objective=macs"]
)
def test_the_smallest_that_agrees_is_searched_for(spec: str) -> None:
    _, result = apply(spec, images())
    assert result.metrics["agreement"] >= 0.8
    assert result.changed and result.metrics["macs_kept"] < 1


def test_the_automated_loop_widens_each_group_as_far_as_the_bound_allows() -> None:
    together, alone = (judged(f"prune:{each}:agreement=0.93:objective=macs") for each in ("division=even", "auto"))
    assert alone.metrics["agreement"] >= 0.93
    assert alone.metrics["trials"] > together.metrics["trials"]
    assert alone.metrics["macs_kept"] < together.metrics["macs_kept"]
    assert all(count <= units(together)[name] for name, count in units(alone).items())


def judged(spec: str) -> PassResult:
    """On a network whose classes depend on more than the means of its channels."""
    text = TEXT.replace("GlobalAveragePool(u)", "MaxPool<kernel_shape=[4,4], strides=[4,4]>(u)")
    model = builders.model(text, **weights({**SHAPES, "w5": (6, 144)}))
    (entry,) = parse_pipeline(spec)
    return entry.run(model.graph, Context(data=images(256), original=model.graph.copy()))


def test_a_loss_that_hardly_reaches_the_outputs_counts_little() -> None:
    """Of two branches one is scaled down before the sum: its filters go first."""
    text = """g (float[N,3,12,12] x) => (float[N,6] y) {
        a = Conv<pads=[1,1,1,1]>(x, w1)
        r = Relu(a)
        ["faint"] c = Conv<pads=[1,1,1,1]>(r, w2)
        s = Relu(c)
        d = Conv<pads=[1,1,1,1]>(s, w3)
        z = Mul(d, small)
        ["strong"] e = Conv<pads=[1,1,1,1]>(r, w4)
        t = Relu(e)
        f = Conv<pads=[1,1,1,1]>(t, w5)
        u = Add(z, f)
        p = GlobalAveragePool(u)
        h = Flatten(p)
        y = Gemm<transB=1>(h, w6)
    }"""
    shapes = {"w1": (16, 3, 3, 3), **{f"w{i}": (16, 16, 3, 3) for i in range(2, 6)}, "w6": (6, 16)}

    def lead(sensitivity: str) -> int:
        model = builders.model(text, **weights(shapes), small=np.full(1, 0.05, np.float32))
        (entry,) = parse_pipeline(f"prune:macs=0.7:sensitivity={sensitivity}")
        left = units(entry.run(model.graph, Context(data=images(160), original=model.graph.copy())))
        return left["strong"] - left["faint"]

    assert abs(lead("energy")) <= 3
    assert lead("output") > 6


def test_sensitivities_are_written_and_read(tmp_path: Path) -> None:
    file = tmp_path / "table.json"
    first, result = apply(f"prune:macs=0.6:sensitivity-file={file}", images())
    assert {"Gemm", "Conv"} <= {
        node.op for node in first.graph.nodes if node.name in SensitivityTable.load(file).layers
    }
    again, other = apply(f"prune:macs=0.6:sensitivity-file={file}", images())
    assert units(result) == units(other) and distance(first) == distance(again)


@pytest.mark.parametrize(
    "spec", ["prune:macs=0.6", "prune:macs=0.6:sensitivity=energy", "prune:share=0.3", "prune:macs=0.6:criterion=l2"]
)
def test_sensitivities_are_measured_only_where_they_decide(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(SensitivityMeter, "prepare", lambda self, *_: asked.append(self.measure))
    apply(spec, images(97))
    assert asked == (["output"] if spec == "prune:macs=0.6" else ["energy"])


@pytest.mark.parametrize(
    "spec", ["prune:auto:macs=0.5", "prune:macs=0.5:share=0.1", "prune:align=0", "prune:minimum=0", "prune:macs=1.5"]
)
def test_options_that_cannot_be_are_refused(spec: str) -> None:
    with pytest.raises(UsageError):
        parse_pipeline(spec)


def test_without_data_and_budget_a_note_says_what_goes() -> None:
    _, result = apply("prune")
    assert "no data" in result.notes[0]


@pytest.mark.parametrize(("takes", "stays"), [(0.9, True), (1.0, False), (None, True)])
def test_what_ends_slower_once_quantized_is_put_back(
    takes: float | None, stays: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that is pruned may stay in float although it was not to before."""
    times = iter([1.0, takes])
    monkeypatch.setattr(pruning, "ended_ms", lambda *_: next(times))
    monkeypatch.setattr(pruning.Prune, "clocked", lambda *_: Rising())
    entry, quantize = parse_pipeline("prune,quantize")
    ctx = Context(data=images(), following=(quantize,))
    graph, result = from_proto(network()).graph, PassResult(metrics={"macs_kept": 0.5, "trials": 3.0})
    before = Snapshot.of(graph, ctx)
    graph.nodes[0].name = "pruned"
    assert isinstance(entry, pruning.Prune)
    assert entry._is_faster(graph, before, ctx, result) == stays
    assert (graph.nodes[0].name == "pruned") == stays
    assert result.metrics.keys() == ({"macs_kept", "latency_kept", "trials"} if stays else {"trials"})
    assert any("quantized, the network would take 1 ms" in note for note in result.notes) != stays


class Rising:
    """Every network takes less time than the one before."""

    def __init__(self) -> None:
        self.times = count(start=100, step=-1)

    def graph(self, graph: gs.Graph, shapes: object) -> float:
        return float(next(self.times))
