"""Spatial basis filters: each form equals its dense weight, all templates change nothing, costs are what is written."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from builders import Images
from drawn import Drawn, convs
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx_compress.compiler.base import PassResult
from onnx_compress.compiler.context import Context
from onnx_compress.compiler.cost import graph_cost
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.pieces import chain_costs
from onnx_compress.compiler.shapes import infer_shapes
from onnx_compress.compiler.targets import TARGETS
from onnx_compress.passes.decomposition.survey import plain_fits
from onnx_compress.passes.sbf import DenseTemplateForm, SpatialBasisFilters, TemplateForm


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
    form = data.draw(st.sampled_from([TemplateForm, DenseTemplateForm]))(groups, "greedy")
    model, dense = rewritten(drawn, form, size)
    assert error(model, dense, drawn.x()) < 1e-4


@settings(max_examples=15, deadline=None)
@given(convs(groups=(1,)), st.sampled_from(["greedy", "magnitude"]), st.booleans())
def test_as_many_templates_as_filters_change_nothing(drawn: Drawn, select: str, stock: bool) -> None:
    form = (TemplateForm if stock else DenseTemplateForm)(1, select)
    model, _ = rewritten(drawn, form, drawn.shape[0])
    assert error(model, drawn.model(), drawn.x()) < 1e-4


@settings(max_examples=10, deadline=None)
@given(convs(groups=(1,), least_kernel=2), st.integers(1, 5))
def test_the_cost_of_a_form_is_the_cost_of_what_is_written(drawn: Drawn, size: int) -> None:
    assume(size <= drawn.shape[0])
    shapes = infer_shapes(drawn.model().graph)
    (conv,) = find_convs(drawn.model().graph)
    expected = chain_costs(TemplateForm(1, "greedy").pieces(conv, size, shapes))
    model, _ = rewritten(drawn, TemplateForm(1, "greedy"), size)
    cost = graph_cost(model.graph, infer_shapes(model.graph))
    padding = size * -(-conv.filters // size) - conv.filters
    assert cost.macs == expected["macs"]
    assert cost.params in (expected["params"], expected["params"] + padding)


def apply(model: Model, entry: SpatialBasisFilters, data: Images | None = None, target: str = "ort") -> PassResult:
    ctx = Context(target=TARGETS[target], data=data, original=model.graph.copy())
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


@pytest.mark.parametrize("form", ["stock", "dense"])
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
