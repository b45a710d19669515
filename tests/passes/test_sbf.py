"""Spatial basis filters: each form equals its dense weight, all templates change nothing, costs are what is written."""

from __future__ import annotations

from pathlib import Path

import builders
import numpy as np
import pytest
from builders import Images
from drawn import Drawn, convs
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx.reference import ReferenceEvaluator
from onnx_compress.api import compress
from onnx_compress.compiler.costs.network_cost import graph_cost
from onnx_compress.compiler.costs.workload import chain_costs
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import Model, load, save, to_proto
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.lint import lint
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.targets import TARGETS
from onnx_compress.passes.decomposition.template_forms import DenseTemplateForm, PluginTemplateForm, TemplateForm
from onnx_compress.passes.fitting.fits import plain_fits
from onnx_compress.passes.sbf import SpatialBasisFilters, magnitudes
from reference_operators import SpatialBasisConv

FORMS = [TemplateForm, DenseTemplateForm, PluginTemplateForm]


def error(model: Model, reference: Model, x: np.ndarray) -> float:
    got, wanted = builders.run(model, x=x)["y"], builders.run(reference, x=x)["y"]
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def rewritten(drawn: Drawn, form: TemplateForm, size: int) -> tuple[Model, Model]:
    """The Conv in that form, and with the dense weight that the form stands for."""
    model, dense = drawn.model(), drawn.model()
    (conv,), (other,) = find_convs(model.graph), find_convs(dense.graph)
    projection = form.project(conv, plain_fits(conv), size)
    assert projection.write is not None
    assert conv.bias is not None
    projection.write(Rewriter(model.graph), conv, conv.bias)
    other.store(Rewriter(dense.graph), projection.dense[0], conv.bias)
    for each in (model, dense):
        each.graph.cleanup()
        check_graph(each)
    return model, dense


@settings(max_examples=30, deadline=None)
@given(convs(groups=(1,)), st.data())
def test_each_form_equals_its_dense_weight(drawn: Drawn, data: st.DataObject) -> None:
    groups = data.draw(st.sampled_from([g for g in (1, 2, 3) if drawn.channels % g == 0]))
    size = data.draw(st.integers(1, drawn.shape[0]))
    form = data.draw(st.sampled_from(FORMS))(groups, "greedy")
    model, dense = rewritten(drawn, form, size)
    assert error(model, dense, drawn.x()) < 1e-4


@settings(max_examples=15, deadline=None)
@given(convs(groups=(1,)), st.sampled_from(["greedy", "magnitude"]), st.sampled_from(FORMS))
def test_as_many_templates_as_filters_change_nothing(drawn: Drawn, select: str, kind: type[TemplateForm]) -> None:
    model, _ = rewritten(drawn, kind(1, select), drawn.shape[0])
    assert error(model, drawn.model(), drawn.x()) < 1e-4


@settings(max_examples=15, deadline=None)
@given(convs(groups=(1,)), st.integers(1, 5))
def test_the_node_computes_what_the_reference_says(drawn: Drawn, size: int) -> None:
    assume(size <= drawn.shape[0])
    model, _ = rewritten(drawn, PluginTemplateForm(drawn.channels if drawn.channels < 3 else 1, "greedy"), size)
    reference = ReferenceEvaluator(to_proto(model), new_ops=[SpatialBasisConv])
    assert reference.run(None, {"x": drawn.x()})[0] == pytest.approx(
        builders.run(model, x=drawn.x())["y"], rel=1e-4, abs=1e-4
    )


@settings(max_examples=15, deadline=None)
@given(convs(groups=(1,), least_kernel=2), st.integers(1, 5), st.sampled_from([TemplateForm, PluginTemplateForm]))
def test_the_cost_of_a_form_is_the_cost_of_what_is_written(drawn: Drawn, size: int, kind: type[TemplateForm]) -> None:
    assume(size <= drawn.shape[0])
    shapes = infer_shapes(drawn.model().graph)
    (conv,) = find_convs(drawn.model().graph)
    expected = chain_costs(kind(1, "greedy").workloads(conv, size, shapes))
    model, _ = rewritten(drawn, kind(1, "greedy"), size)
    cost = graph_cost(model.graph, infer_shapes(model.graph))
    padding = size * -(-conv.filters // size) - conv.filters
    assert cost.macs == expected["macs"]
    assert cost.params in (expected["params"], expected["params"] + padding)


def apply(model: Model, entry: SpatialBasisFilters, data: Images | None = None, target: str = "ort") -> PassResult:
    ctx = Context(RunOptions(target=target), data=data, original=model.graph.copy())
    result = entry.run(model.graph, ctx)
    model.graph.cleanup()
    check_graph(model)
    return result


def related(seed: int = 0) -> Model:
    """A Conv of 16 filters that are 4 templates scaled tap by tap."""
    templates, scales = builders.normal(4, 8, 3, 3, seed=seed), builders.normal(16, 1, 3, 3, seed=seed + 1)
    weight = templates[np.arange(16) % 4] * scales
    return builders.model(
        "g (float[N,8,8,8] x) => (float[N,16,8,8] y) { y = Conv<pads=[1,1,1,1]>(x, w, b) }",
        w=weight.astype(np.float32),
        b=builders.normal(16),
    )


@pytest.mark.parametrize("form", ["stock", "dense", "plugin"])
def test_planted_templates_are_found(form: str) -> None:
    model = related()
    apply(model, SpatialBasisFilters(form=form, rank=4))
    assert error(model, related(), builders.normal(2, 8, 8, 8)) < 1e-3


def test_budgets_and_what_the_report_says() -> None:
    model = related(5)
    result = apply(model, SpatialBasisFilters(macs=0.6), Images(builders.normal(16, 8, 8, 8)))
    figures = result.decisions[0].figures
    before = graph_cost(related().graph, infer_shapes(related().graph)).macs
    assert graph_cost(model.graph, infer_shapes(model.graph)).macs <= 0.6 * before
    size = int(figures["size"])
    assert figures["paper_ratio"] == pytest.approx(size / 16 + 1 / 8 - size / (16 * 8))


def test_parameters_are_the_budget_of_the_dense_form() -> None:
    model = related(5)
    before = graph_cost(model.graph, infer_shapes(model.graph))
    apply(model, SpatialBasisFilters(form="dense", params=0.5))
    after = graph_cost(model.graph, infer_shapes(model.graph))
    assert after.macs == before.macs
    assert after.params <= 0.5 * before.params


def test_an_engine_that_needs_constants_gets_them() -> None:
    model = related()
    result = apply(model, SpatialBasisFilters(form="dense", rank=4), target="xavier")
    assert [node.op for node in model.graph.nodes] == ["Conv"]
    assert any("constants" in note for note in result.notes)


@pytest.mark.parametrize(
    ("text", "shape", "reason"),
    [("pads=[1,1,1,1], group=2", (6, 2, 3, 3), "grouped"), ("pads=[0,0,0,0]", (6, 4, 1, 1), "1 x 1")],
)
def test_left_alone(text: str, shape: tuple[int, ...], reason: str) -> None:
    result = apply(Drawn(shape, text, 4, 8, 0).model(), SpatialBasisFilters(rank=2))
    assert not result.changed
    assert reason in result.decisions[0].reason


def test_channels_that_do_not_divide_into_groups_and_options() -> None:
    result = apply(Drawn((6, 4, 3, 3), "pads=[0,0,0,0]", 4, 8, 0).model(), SpatialBasisFilters(rank=2, groups=3))
    assert "no multiple of 3" in result.decisions[0].reason
    with pytest.raises(ValueError, match="groups"):
        SpatialBasisFilters(groups=0)


PAIR = "g (float[N,8,8,8] x) => (float[N,12,8,8] y) { h = Conv<pads=[1,1,1,1]>(x, w, b) r = Relu(h) y = Conv(r, v) }"


def pair(kernel: int = 1) -> Model:
    """Two Convs of 16 and 12 filters; the filters of the first are templates in no order."""
    templates, scales = builders.normal(4, 8, 3, 3), builders.normal(16, 1, 3, 3, seed=1)
    weight = templates[np.random.default_rng(0).permutation(16) % 4] * scales
    return builders.model(PAIR, w=weight, b=builders.normal(16), v=builders.normal(12, 16, kernel, kernel, seed=2))


def test_the_order_of_the_filters_goes_into_the_next_conv() -> None:
    model = pair()
    result = apply(model, SpatialBasisFilters(rank=4))
    assert [node.op for node in model.graph.nodes] == ["Conv", "Conv", "Conv", "Relu", "Conv"]
    assert (result.metrics["orders"], result.metrics["orders_left"]) == (1, 0)
    assert error(model, pair(), builders.normal(2, 8, 8, 8)) < 1e-3


def test_filters_that_need_padding_keep_their_gather() -> None:
    model = pair()
    result = apply(model, SpatialBasisFilters(rank=5))
    assert "Gather" in [node.op for node in model.graph.nodes]
    assert result.metrics["orders_left"] == 1


def test_the_plugin_form_is_one_node_that_the_file_keeps(tmp_path: Path) -> None:
    model, x = pair(), builders.normal(2, 8, 8, 8)
    apply(model, SpatialBasisFilters(form="plugin", rank=4))
    assert builders.listing(model.graph)[0] == (
        "h = SpatialBasisConv(x, Conv_0.basis, Conv_0.transforms, Conv_0.choice, Conv_0.bias)"
    )
    save(model, tmp_path / "m.onnx")
    loaded = load(tmp_path / "m.onnx")
    assert [node.op for node in loaded.graph.nodes] == ["SpatialBasisConv", "Relu", "Conv"]
    assert np.array_equal(builders.run(loaded, x=x)["y"], builders.run(model, x=x)["y"])


@pytest.mark.parametrize("opset", [13, 17, 18])
def test_later_passes_run_on_the_node_and_the_command_names_the_library(opset: int) -> None:
    weights = {"w": builders.normal(16, 8, 3, 3), "b": builders.normal(16), "v": builders.normal(12, 16, 3, 3, seed=2)}
    text = PAIR.replace("float[N,12,8,8] y", "float[N,12,6,6] y")
    proto = builders.proto(text, opset, **weights)
    data = {"x": builders.normal(32, 8, 8, 8)}
    found = compress(proto, "sbf:form=plugin:rank=4,basis:rank=6", target="xavier", data=data, include="Conv")
    assert [node.op for node in found.graph.nodes].count("SpatialBasisConv") >= 1
    assert "--plugins=libonnx_compress_plugins.so" in found.report["target"]["command"]
    assert found.report["before"]["latency"] is not None
    assert found.report["after"]["latency"] is None
    assert any(
        "SpatialBasisConv needs the library" in note for entry in found.report["passes"] for note in entry["notes"]
    )
    assert not [
        finding
        for finding in lint(found.proto, TARGETS["xavier"], plugins=["SpatialBasisConv"])
        if finding.severity == "error"
    ]
    assert any("plugin" in finding.fix for finding in lint(found.proto, TARGETS["xavier"]))


def test_where_the_plugin_form_cannot_be() -> None:
    old = apply(pair(), SpatialBasisFilters(form="plugin", rank=4), target="xavier-8.2")
    assert not old.changed
    assert "IR" in old.notes[0]
    same = Drawn((6, 4, 3, 3), 'auto_pad="SAME_UPPER"', 4, 8, 0).model()
    assert "auto_pad" in apply(same, SpatialBasisFilters(form="plugin", rank=2)).decisions[0].reason
    with pytest.raises(ValueError, match="not been timed"):
        SpatialBasisFilters(form="plugin", latency=0.5)


def test_one_threshold_says_how_many_templates_each_conv_gets() -> None:
    model = pair(3)
    wanted = [magnitudes(conv) for conv in find_convs(model.graph)]
    result = apply(model, SpatialBasisFilters(form="plugin", select="threshold", macs=0.85))
    sizes = [int(entry.figures.get("size", 0)) or None for entry in result.decisions]
    low = max(np.sort(values)[-size - 1] for values, size in zip(wanted, sizes, strict=True) if size and size > 8)
    high = min(np.sort(values)[-size] for values, size in zip(wanted, sizes, strict=True) if size and size > 8)
    assert low < high
    assert result.metrics["macs_kept"] <= 0.85


def test_the_threshold_leaves_eight_templates_and_asks_for_a_budget() -> None:
    with pytest.raises(CompressError, match="cannot be reached"):
        apply(pair(3), SpatialBasisFilters(form="plugin", select="threshold", macs=0.3))
    with pytest.raises(ValueError, match="threshold"):
        SpatialBasisFilters(select="threshold", rank=4)


def test_a_stock_form_that_is_slower_is_named_and_latency_leaves_it_dense() -> None:
    text = "g (float[1,16,32,32] x) => (float[1,16,32,32] y) { y = Conv<pads=[1,1,1,1]>(x, w, b) }"
    make = lambda: builders.model(text, w=builders.normal(16, 16, 3, 3), b=builders.normal(16))  # noqa: E731
    slow = apply(make(), SpatialBasisFilters(macs=0.6), target="xavier")
    figures = slow.decisions[0].figures
    assert float(figures["macs_after"]) < float(figures["macs_before"])
    assert float(figures["latency_after"]) > float(figures["latency_before"])
    assert "no time" in slow.decisions[0].reason
    assert any("no time" in note for note in slow.notes)
    left = apply(make(), SpatialBasisFilters(latency=1.0), target="xavier")
    assert not left.changed
    assert "faster" in left.decisions[0].reason
