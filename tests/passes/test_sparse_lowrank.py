"""Sparse plus low-rank: each form equals its dense weight, full size changes nothing, budgets and activations hold."""

from __future__ import annotations

from dataclasses import replace

import builders
import numpy as np
import pytest
from builders import Images
from drawn import Drawn, convs
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx_compress.compiler.costs.network_cost import graph_cost
from onnx_compress.compiler.costs.workload import chain_costs
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import Model, to_proto
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.lint import lint
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.compiler.targets import TARGETS
from onnx_compress.passes.basis import ChannelBasis, SeparableBasis
from onnx_compress.passes.decomposition.forms import Form, emit
from onnx_compress.passes.fitting.fits import plain_fits
from onnx_compress.passes.sparse_lowrank import SparseLowRank
from onnx_compress.passes.sparsity.channel_groups import ChannelGroups, LowRankOnly
from onnx_compress.passes.sparsity.fitting import SparsityOptions
from onnx_compress.passes.sparsity.row_groups import RowGroups

QUICK = SparsityOptions(iterations=10)
FORMS: list[Form] = [
    ChannelGroups(ChannelBasis(), 0.25, settings=QUICK),
    ChannelGroups(SeparableBasis(), 0.4, separable=True, settings=QUICK),
    RowGroups(0.4, QUICK),
    LowRankOnly(ChannelBasis(), QUICK),
]


def error(model: Model, reference: Model, x: np.ndarray) -> float:
    got, wanted = builders.run(model, x=x)["y"], builders.run(reference, x=x)["y"]
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def rewritten(drawn: Drawn, form: Form, size: int) -> tuple[Model, Model]:
    """The Conv in that form, and with the dense weight that the form stands for."""
    model, dense = drawn.model(), drawn.model()
    (conv,), (other,) = find_convs(model.graph), find_convs(dense.graph)
    projection = form.project(conv, plain_fits(conv), size)
    assert conv.bias is not None
    if projection.write is None:
        emit(Rewriter(model.graph), conv, projection.factors, conv.bias)
    else:
        projection.write(Rewriter(model.graph), conv, conv.bias)
    other.store(Rewriter(dense.graph), np.concatenate(list(projection.dense)), conv.bias)
    for each in (model, dense):
        each.graph.cleanup()
        check_graph(each)
    return model, dense


@settings(max_examples=40, deadline=None)
@given(convs(), st.sampled_from(FORMS), st.data())
def test_each_form_equals_its_dense_weight(drawn: Drawn, form: Form, data: st.DataObject) -> None:
    (conv,) = find_convs(drawn.model().graph)
    assume(form.check(conv) is None)
    size = data.draw(st.integers(1, form.limit(conv)))
    model, dense = rewritten(drawn, form, size)
    assert error(model, dense, drawn.x()) < 1e-4


@settings(max_examples=20, deadline=None)
@given(convs(), st.sampled_from(FORMS))
def test_the_full_size_changes_nothing(drawn: Drawn, form: Form) -> None:
    (conv,) = find_convs(drawn.model().graph)
    assume(form.check(conv) is None)
    model, _ = rewritten(drawn, form, form.limit(conv))
    assert error(model, drawn.model(), drawn.x()) < 1e-4


@settings(max_examples=15, deadline=None)
@given(convs(least_kernel=2), st.sampled_from(FORMS), st.integers(1, 4))
def test_the_cost_of_a_form_is_the_cost_of_what_is_written(drawn: Drawn, form: Form, size: int) -> None:
    (conv,) = find_convs(drawn.model().graph)
    assume(form.check(conv) is None and size <= form.limit(conv))
    expected = chain_costs(form.workloads(conv, size, infer_shapes(drawn.model().graph)))
    model, _ = rewritten(drawn, form, size)
    cost = graph_cost(model.graph, infer_shapes(model.graph))
    assert (cost.macs, cost.params) == (expected["macs"], expected["params"])


@settings(max_examples=15, deadline=None)
@given(convs(), st.sampled_from([FORMS[0], FORMS[2]]))
def test_the_curve_falls_to_nothing_and_bounds_what_is_written(drawn: Drawn, form: Form) -> None:
    (conv,) = find_convs(drawn.model().graph)
    assume(form.check(conv) is None)
    fits = plain_fits(conv)
    curve = form.curve(conv, fits, form.limit(conv))
    assert len(curve) == form.limit(conv) + 1
    assert np.all(np.diff(curve) <= 1e-6)
    assert curve[-1] == pytest.approx(0, abs=1e-6)
    size = max(1, form.limit(conv) // 2)
    dense = form.project(conv, fits, size).dense
    assert sum(fit.lost(each) for fit, each in zip(fits, dense, strict=True)) <= curve[size] + 1e-6


ONE = "g (float[N,8,6,6] x) => (float[N,8,6,6] y) { y = Conv<pads=[1,1,1,1]>(x, w, b) }"


@pytest.mark.parametrize(
    ("form", "size", "expected"),
    [
        (
            FORMS[0],
            3,
            [
                "y.others.output = Gather(x, y.others.indices)",
                "y.basis.output = Conv(y.others.output, y.basis.weight)",
                "y.mixture.output = Conv(y.basis.output, y.mixture.weight, y.mixture.bias)",
                "y.chosen.output = Gather(x, y.chosen.indices)",
                "y.sparse.output = Conv(y.chosen.output, y.sparse.weight)",
                "y = Add(y.mixture.output, y.sparse.output)",
            ],
        ),
        (
            FORMS[2],
            5,
            [
                "y.basis.output = Conv(x, y.basis.weight)",
                "y = Conv(y.basis.output, y.mixture.weight, y.mixture.bias)",
            ],
        ),
    ],
)
def test_before_and_expected(form: Form, size: int, expected: list[str]) -> None:
    model = builders.model(ONE, w=builders.normal(8, 8, 3, 3), b=builders.normal(8))
    (conv,) = find_convs(model.graph)
    conv.node.name = "y"
    projection = form.project(conv, plain_fits(conv), size)
    if projection.write is None:
        emit(Rewriter(model.graph), conv, projection.factors, builders.normal(8))
    else:
        projection.write(Rewriter(model.graph), conv, builders.normal(8))
    assert builders.listing(model.graph) == expected


def test_rows_are_handed_on_by_zeros_and_ones() -> None:
    model = builders.model(ONE, w=builders.normal(8, 8, 3, 3), b=builders.normal(8))
    (conv,) = find_convs(model.graph)
    _, mixture = FORMS[2].project(conv, plain_fits(conv), 5).factors
    selection = mixture.weight[:, -3:, 0, 0]
    np.testing.assert_array_equal(np.sort(selection, axis=0)[-1], np.ones(3))
    assert selection.sum() == 3


def apply(model: Model, spec: str, data: Images | None = None, target: str = "xavier") -> PassResult:
    ctx = Context(RunOptions(target=target), data=data, original=model.graph.copy())
    result = PassResult()
    for entry in parse_pipeline(spec):
        found = entry.run(model.graph, ctx)
        result = found if entry.name == "sparse-lowrank" else result
    model.graph.cleanup()
    check_graph(model)
    return result


def network() -> Model:
    """A residual block whose shortcut is added before the Relu, and a Conv before a Clip."""
    text = """g (float[N,8,10,10] x) => (float[N,12,10,10] y) {
        a = Conv<pads=[1,1,1,1]>(x, w1, b1)
        r = Relu(a)
        c = Conv<pads=[1,1,1,1]>(r, w2, b2)
        s = Add(c, x)
        t = Relu(s)
        d = Conv<pads=[1,1,1,1]>(t, w3, b3)
        y = Clip(d, low, high)
    }"""
    weights = {f"w{i}": builders.normal(n, 8, 3, 3, seed=i) / 6 for i, n in ((1, 8), (2, 8), (3, 12))}
    biases = {f"b{i}": builders.normal(n, seed=9) / 2 for i, n in ((1, 8), (2, 8), (3, 12))}
    return builders.model(text, low=np.float32(0), high=np.float32(6), **weights, **biases)


def images(count: int = 48, seed: int = 3) -> Images:
    return Images(builders.normal(count, 8, 10, 10, seed=seed))


def kept(model: Model) -> float:
    before, after = (graph_cost(each.graph, infer_shapes(each.graph)).macs for each in (network(), model))
    return after / before


@pytest.mark.parametrize("form", ["auto", "channels", "rows"])
@pytest.mark.parametrize("data", [None, images()], ids=["without data", "with data"])
def test_the_budget_holds_and_xavier_takes_what_is_written(form: str, data: Images | None) -> None:
    model = network()
    result = apply(model, f"sparse-lowrank:macs=0.6:form={form}:iterations=20", data)
    assert result.changed
    assert 0.5 < kept(model) <= 0.6
    assert [f for f in lint(to_proto(model), TARGETS["xavier"]) if f.severity == "error"] == []
    assert any("2:4" in note for note in result.notes)
    assert any("activations are ignored" in note for note in result.notes) == (data is None)


def test_the_report_says_whether_the_admm_converged() -> None:
    result = apply(network(), "sparse-lowrank:macs=0.6:form=channels", images())
    figures = [decision.figures for decision in result.decisions if decision.action == "rewritten"]
    assert figures
    for each in figures:
        assert each["iterations"] == 100
        assert float(each["primal"]) < 0.01
        assert float(each["dual"]) < 0.01
        assert float(each["activated"]) <= float(each["activated_before"])


def test_the_activation_pays_after_the_clip_and_the_relus() -> None:
    test, lost = images(32, seed=5).x, dict[str, float]()
    for activation in ("auto", "none"):
        model = network()
        apply(model, f"sparse-lowrank:macs=0.4:activation={activation}:iterations=20", images(96))
        lost[activation] = error(model, network(), test)
    assert lost["auto"] < lost["none"]


def test_all_macs_change_nothing() -> None:
    model = network()
    apply(model, "sparse-lowrank:macs=1.0", images())
    assert error(model, network(), images(8).x) < 1e-2


def test_it_is_followed_by_quantize() -> None:
    model = network()
    alone = network()
    apply(alone, "sparse-lowrank:macs=0.6:form=channels:iterations=10", images())
    apply(model, "sparse-lowrank:macs=0.6:form=channels:iterations=10,quantize", images())
    assert {"QuantizeLinear", "Gather", "Add"} <= {node.op for node in model.graph.nodes}
    assert error(model, alone, images(8).x) < 0.05


@pytest.mark.parametrize(
    ("shape", "attrs", "channels", "form", "reason"),
    [
        ((6, 1, 3, 3), "group=6", 6, "auto", "depthwise"),
        ((6, 3, 3, 3), "group=2", 6, "channels", "grouped"),
        ((6, 3, 3, 3), "group=2", 6, "rows", "grouped"),
        ((6, 1, 3, 3), "group=1", 1, "channels", "none, or all"),
    ],
)
def test_left_alone(shape: tuple[int, ...], attrs: str, channels: int, form: str, reason: str) -> None:
    result = apply(Drawn(shape, attrs, channels, 8, 0).model(), f"sparse-lowrank:rank=1:form={form}")
    assert not result.changed
    assert reason in result.decisions[0].reason


def test_channels_of_s_are_multiples_of_align() -> None:
    form = replace(FORMS[0], multiple=4)
    (conv,) = find_convs(Drawn((8, 8, 3, 3), "group=1", 8, 8, 0).model().graph)
    assert form.project(conv, plain_fits(conv), 2).figures["groups"] == 4


@pytest.mark.parametrize("given", [{"iterations": 0}, {"alternations": 0}, {"penalty": 0.0}])
def test_options_out_of_range(given: dict[str, int | float]) -> None:
    with pytest.raises(ValueError, match="expected"):
        SparseLowRank(**given)
