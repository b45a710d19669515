"""The basis pass: full size is a no-op for every kind of Conv, budgets hold, and what is left alone says why."""

from __future__ import annotations

from math import prod

import builders
import numpy as np
import pytest
from onnx_compress.compiler.costs.network_cost import graph_cost
from onnx_compress.compiler.costs.workload import chain_costs
from onnx_compress.compiler.errors import CompressError, UsageError
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.passes.basis import Basis, ChannelBasis, SeparableBasis
from onnx_compress.passes.decomposition.forms import emit
from onnx_compress.passes.fitting.fits import plain_fits

GEOMETRIES = {
    "plain": ((3, 3), "pads=[1,1,1,1]", 1),
    "no padding": ((3, 3), "pads=[0,0,0,0]", 1),
    "strided": ((3, 3), "pads=[1,1,1,1], strides=[2,2]", 1),
    "uneven strides": ((3, 3), "pads=[1,1,1,1], strides=[1,3]", 1),
    "dilated": ((3, 3), "pads=[2,2,2,2], dilations=[2,2]", 1),
    "asymmetric pads": ((3, 2), "pads=[0,1,2,0]", 1),
    "same upper": ((3, 2), 'auto_pad="SAME_UPPER", strides=[2,2]', 1),
    "same lower": ((2, 4), 'auto_pad="SAME_LOWER", strides=[1,3]', 1),
    "valid": ((3, 3), 'auto_pad="VALID", strides=[2,1]', 1),
    "grouped": ((3, 3), "pads=[1,1,1,1], group=2", 2),
    "wide kernel": ((1, 5), "pads=[0,2,0,2]", 1),
    "1 x 1": ((1, 1), "pads=[0,0,0,0]", 1),
    "1-D": ((5,), "pads=[2,2], strides=[2]", 1),
    "3-D": ((2, 3, 3), "pads=[1,1,1,0,1,1], strides=[1,2,1]", 1),
}


def one_conv(kernel: tuple[int, ...], attrs: str, group: int, dtype: str = "float") -> Model:
    size, out = ",".join(["11"] * len(kernel)), ",".join("hwd"[: len(kernel)])
    kind = np.float16 if dtype == "float16" else np.float32
    weight, bias = builders.normal(6, 4 // group, *kernel, dtype=kind), builders.normal(6, seed=1, dtype=kind)
    return builders.model(
        f"g ({dtype}[N,4,{size}] x) => ({dtype}[N,6,{out}] y) {{ y = Conv<{attrs}>(x, w, b) }}", w=weight, b=bias
    )


def at_full_size(model: Model, form: ChannelBasis | SeparableBasis) -> None:
    for conv in list(find_convs(model.graph)):
        projection = form.project(conv, plain_fits(conv), form.limit(conv))
        bias = np.zeros(conv.filters) if conv.bias is None else conv.bias
        emit(Rewriter(model.graph), conv, projection.factors, bias)


@pytest.mark.parametrize("form", [ChannelBasis(), SeparableBasis()], ids=lambda form: form.name)
@pytest.mark.parametrize("case", GEOMETRIES)
def test_full_size_is_a_no_op(case: str, form: ChannelBasis | SeparableBasis) -> None:
    kernel, attrs, group = GEOMETRIES[case]
    model = one_conv(kernel, attrs, group)
    (conv,) = find_convs(model.graph)
    if form.check(conv):
        pytest.skip(str(form.check(conv)))
    x = builders.normal(2, 4, *[11] * len(kernel), seed=2)
    before = builders.run(model, x=x)["y"]
    at_full_size(model, form)
    assert [node.op for node in model.graph.nodes] == ["Conv", "Conv"]
    np.testing.assert_allclose(builders.run(model, x=x)["y"], before, atol=1e-4)


def test_full_size_is_a_no_op_in_half_precision_and_stays_in_it() -> None:
    model = one_conv((3, 3), "pads=[1,1,1,1]", 1, "float16")
    x = builders.normal(1, 4, 11, 11, dtype=np.float16)
    before = builders.run(model, x=x)["y"]
    at_full_size(model, ChannelBasis())
    assert all(node.inputs[1].dtype == np.float16 for node in model.graph.nodes)
    np.testing.assert_allclose(builders.run(model, x=x)["y"], before, atol=5e-2)


def test_a_shared_weight_and_a_constant_node_are_rewritten_one_by_one() -> None:
    text = """g (float[N,4,8,8] x) => (float[N,4,8,8] y) {
        v = Identity(w)
        a = Conv<pads=[1,1,1,1]>(x, v)
        y = Conv<pads=[1,1,1,1]>(a, w)
    }"""
    model = builders.model(text, w=builders.normal(4, 4, 3, 3))
    x = builders.normal(2, 4, 8, 8, seed=1)
    before = builders.run(model, x=x)["y"]
    at_full_size(model, SeparableBasis())
    np.testing.assert_allclose(builders.run(model, x=x)["y"], before, atol=1e-3)


@pytest.mark.parametrize("form", [ChannelBasis(), SeparableBasis()], ids=lambda form: form.name)
@pytest.mark.parametrize("case", ["plain", "strided", "uneven strides", "grouped"])
def test_the_cost_of_a_form_is_the_cost_of_its_convs(case: str, form: ChannelBasis | SeparableBasis) -> None:
    model = one_conv(*GEOMETRIES[case])
    (conv,) = find_convs(model.graph)
    shapes = infer_shapes(model.graph)
    costs = chain_costs(form.workloads(conv, 2, shapes))
    emit(Rewriter(model.graph), conv, form.project(conv, plain_fits(conv), 2).factors, conv.bias)
    cost = graph_cost(model.graph, infer_shapes(model.graph))
    assert (cost.macs, cost.params) == (costs["macs"], costs["params"])


NETWORK = """g (float[N,3,16,16] x) => (float[N,10] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1, b1)
    r = Relu(a)
    c = Conv<pads=[1,1,1,1], strides=[2,2]>(r, w2)
    s = Relu(c)
    d = Conv<pads=[1,1,1,1], group=12>(s, w3)
    e = Conv(d, w4)
    f = GlobalAveragePool(e)
    h = Flatten(f)
    y = Gemm<transB=1>(h, w5, b5)
}"""


def network() -> Model:
    shapes = {"w1": (12, 3, 3, 3), "b1": (12,), "w2": (12, 12, 3, 3), "w3": (12, 1, 3, 3), "w4": (16, 12, 1, 1)}
    shapes |= {"w5": (10, 16), "b5": (10,)}
    weights = {
        name: builders.normal(*shape, seed=i) / np.float32(np.sqrt(prod(shape[1:])))
        for i, (name, shape) in enumerate(shapes.items())
    }
    return builders.model(NETWORK, **weights)


def images(count: int = 160) -> builders.Images:
    return builders.Images(builders.normal(count, 3, 16, 16, seed=9))


def apply(model: Model, spec: str, data: builders.Images | None = None, **options: str) -> PassResult:
    ctx = Context(RunOptions(**options), data, original=model.graph.copy())
    (entry,) = parse_pipeline(spec)
    return entry.run(model.graph, ctx)


def macs_kept(model: Model) -> float:
    before, after = (graph_cost(g, infer_shapes(g)).macs for g in (network().graph, model.graph))
    return after / before


@pytest.mark.parametrize("data", [None, images()], ids=["without data", "with data"])
@pytest.mark.parametrize("macs", [0.4, 0.7])
def test_the_mac_budget_holds_and_is_used(macs: float, data: builders.Images | None) -> None:
    model = network()
    result = apply(model, f"basis:macs={macs}", data)
    assert result.changed
    assert macs - 0.05 < macs_kept(model) <= macs
    x = images(4).x
    assert builders.run(model, x=x)["y"].shape == (4, 10)


def test_the_parameter_budget_holds() -> None:
    model = network()
    apply(model, "basis:params=0.6")
    before, after = (graph_cost(g, infer_shapes(g)).params for g in (network().graph, model.graph))
    assert after <= 0.6 * before


def test_data_brings_the_outputs_closer() -> None:
    x = images(64).x
    errors = []
    for data in (None, images()):
        model = network()
        before = builders.run(model, x=x)["y"]
        apply(model, "basis:macs=0.5", data)
        errors.append(np.linalg.norm(builders.run(model, x=x)["y"] - before))
    assert errors[1] < 0.7 * errors[0]


def test_a_full_budget_changes_no_output() -> None:
    model = network()
    x = images(8).x
    before = builders.run(model, x=x)["y"]
    apply(model, "basis:macs=1.0", images())
    np.testing.assert_allclose(builders.run(model, x=x)["y"], before, atol=1e-2 * np.abs(before).max())


def test_every_conv_has_a_decision_and_a_depthwise_one_is_left_alone_with_the_reason() -> None:
    decisions = {d.node: d for d in apply(network(), "basis:macs=0.5").decisions}
    names = {node.name for node in network().graph.nodes if node.op == "Conv"}
    assert names <= decisions.keys()
    (depthwise,) = [d for d in decisions.values() if "depthwise" in d.reason]
    assert depthwise.action == "skipped"


def test_a_computed_weight_with_nan_is_left_alone() -> None:
    text = "g (float[N,4,8,8] x) => (float[N,6,h,w] y) { w = Mul(v, s) a = Conv(x, w) y = Conv(a, u) }"
    scales = np.array([1, np.nan, 1, 1, 1, 1], np.float32).reshape(6, 1, 1, 1)
    arrays = {"v": builders.normal(6, 4, 3, 3), "s": scales, "u": builders.normal(6, 6, 3, 3)}
    result = Basis(energy=0.5).run(builders.model(text, **arrays).graph, Context())
    assert {d.node: d.reason for d in result.decisions}["Conv_1"] == "its weight holds NaN or Inf"


def test_excluded_convs_keep_their_weights() -> None:
    model = network()
    first = next(find_convs(model.graph))
    result = apply(model, "basis:macs=0.6", images(), exclude=f"^{first.name}$")
    np.testing.assert_array_equal(next(find_convs(model.graph)).weight, first.weight)
    assert any(d.node == first.name and "--exclude" in d.reason for d in result.decisions)


def test_sizes_are_multiples_of_align() -> None:
    decisions = apply(network(), "basis:macs=0.6:align=4").decisions
    sizes = [d.figures["size"] for d in decisions if d.action == "rewritten"]
    assert sizes
    assert all(int(size) % 4 == 0 for size in sizes)


def test_agreement_is_kept_on_samples_no_fit_has_seen() -> None:
    model = network()
    result = apply(model, "basis:agreement=0.9:objective=macs", images(400))
    fresh = builders.normal(500, 3, 16, 16, seed=99)
    same = np.mean(builders.run(network(), x=fresh)["y"].argmax(1) == builders.run(model, x=fresh)["y"].argmax(1))
    assert same > 0.8
    assert any("held-out" in note for note in result.notes)


def test_without_data_every_conv_keeps_the_energy_that_is_asked_for() -> None:
    rewritten = [d for d in apply(network(), "basis:energy=0.9").decisions if d.action == "rewritten"]
    assert rewritten
    assert all(float(d.figures["error"]) <= 0.11 for d in rewritten)


def test_new_nodes_know_the_conv_they_stand_for() -> None:
    model, ctx = network(), Context()
    ctx.original = model.graph.copy()
    Basis(macs=0.5).run(model.graph, ctx)
    originals = {node.name for node in network().graph.nodes}
    assert ctx.origins
    assert set(ctx.origins.values()) <= originals


def test_an_unreachable_budget_names_the_nearest() -> None:
    model = network()
    with pytest.raises(CompressError, match=r"macs=0.01 cannot be reached .*smallest possible is macs=0\."):
        apply(model, "basis:macs=0.01")


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("basis:macs=1.7", "macs=1.7: expected more than 0, at most 1"),
        ("basis:macs=0", "macs=0"),
        ("basis:macs=0.5:energy=0.9", "macs and energy are given: expected one budget, or several of macs"),
        ("basis:accuracy-drop=-1", "expected at least 0, at most 100"),
        ("basis:rank=0", "rank=0"),
        ("basis:align=0", "align=0"),
        ("basis:ridge=-1", "ridge=-1"),
        ("basis:form=cube", "channel"),
    ],
)
def test_a_bad_option_is_refused(spec: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse_pipeline(spec)


def test_agreement_without_data_is_refused() -> None:
    with pytest.raises(CompressError, match="needs data"):
        apply(network(), "basis:agreement=0.9")
