"""Convs of one input as one: outputs stay, the time of the target's model falls, and what stays has a reason."""

from __future__ import annotations

from pathlib import Path

import builders
import numpy as np
import onnx
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from onnx_compress import compress
from onnx_compress.compiler.costs.latency import estimate
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import Model, from_proto
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.targets import find_target
from onnx_compress.passes.horizontal_fusion import HorizontalFusion

REAL = Path(__file__).resolve().parents[3] / "shared" / "models" / "real"
FIRE = """g (float[N,8,9,9] x) => (float[N,14,9,9] y) {
    a = Conv(x, w1, b1) ra = Relu(a) b = Conv<pads=[1,1,1,1]>(x, w3, b3) rb = Relu(b) y = Concat<axis=1>(ra, rb)
}"""
WEIGHTS = {
    "w1": builders.normal(6, 8, 1, 1, seed=1), "w3": builders.normal(8, 8, 3, 3, seed=2),
    "b1": builders.normal(6, seed=3), "b3": builders.normal(8, seed=4),
}  # fmt: skip


def fuse(before: Model, options: RunOptions | None = None, shape: tuple[int, ...] = (2, 8, 9, 9)) -> PassResult:
    """Runs the pass, and checks that the outputs stay."""
    x = builders.normal(*shape, seed=9)
    expected = builders.run(before, x=x)
    result = HorizontalFusion().run(before.graph, Context(options or RunOptions()))
    check_graph(before)
    found = builders.run(before, x=x)
    assert list(found) == list(expected)
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-4)
    return result


def operators(model: Model) -> list[str]:
    return [node.op for node in model.graph.nodes]


def reasons(result: PassResult) -> dict[str, str]:
    return {decision.node: decision.reason for decision in result.decisions if decision.action != "rewritten"}


def made(text: str, opset: int = 17, **weights: np.ndarray) -> Model:
    """Nodes are named after what they write."""
    model = builders.model(text, opset=opset, **(WEIGHTS | weights))
    for node in model.graph.nodes:
        node.name = node.outputs[0].name
    return model


def test_a_fire_module_is_one_conv():
    model = made(FIRE)
    result = fuse(model)
    assert operators(model) == ["Conv", "Relu"]
    (conv,) = find_convs(model.graph)
    assert conv.weight.shape == (14, 8, 3, 3)
    np.testing.assert_array_equal(conv.weight[:6, :, 1:2, 1:2], WEIGHTS["w1"])
    assert np.count_nonzero(conv.weight[:6]) == WEIGHTS["w1"].size
    assert {decision.node: decision.action for decision in result.decisions} == {"a": "rewritten", "b": "rewritten"}
    assert result.metrics["latency_after"] < result.metrics["latency_before"]


def test_filters_stand_in_the_order_of_the_concat():
    model = made(FIRE.replace("(ra, rb)", "(rb, ra)"))
    fuse(model)
    assert operators(model) == ["Conv", "Relu"]
    (conv,) = find_convs(model.graph)
    np.testing.assert_array_equal(conv.weight[:8], WEIGHTS["w3"])


def test_a_concat_with_another_input_stays():
    model = made(FIRE.replace("[N,14,", "[N,22,").replace("(ra, rb)", "(ra, rb, x)"))
    fuse(model)
    assert operators(model) == ["Conv", "Relu", "Concat"]


def test_parts_that_do_not_meet_are_given_back_by_a_split():
    model = made(FIRE.replace("[N,14,", "[N,22,").replace("(ra, rb)", "(ra, x, rb)"))
    fuse(model)
    assert operators(model) == ["Conv", "Relu", "Split", "Concat"]


@pytest.mark.parametrize("opset", [11, 13])
def test_outputs_of_the_model_keep_their_names(opset: int):
    text = FIRE.split("=>")[0] + "=> (float[N,6,9,9] ra, float[N,8,9,9] rb) {" + FIRE.split("{")[1]
    model = made(text.replace("y = Concat<axis=1>(ra, rb)", ""), opset)
    fuse(model)
    assert operators(model) == ["Conv", "Relu", "Split"]


def test_activations_that_differ_stay_where_they_are():
    model = made(FIRE.replace("Relu(b)", "LeakyRelu(b)"))
    fuse(model)
    assert sorted(operators(model)) in (["Concat", "Conv", "Conv", "LeakyRelu", "Relu"],)


@pytest.mark.parametrize(
    "activation",
    [
        "s{0} = Sigmoid({0}) r{0} = Mul({0}, s{0})",
        "r{0} = Clip({0}, low, high)",
        "s{0} = Add({0}, three) t{0} = Clip(s{0}, low, high) u{0} = Mul({0}, t{0}) r{0} = Div(u{0}, high)",
        "r{0} = LeakyRelu<alpha=0.2>({0})",
    ],
)
def test_activations_of_several_nodes_are_computed_once(activation: str):
    text = FIRE
    for name in "ab":
        text = text.replace(f"r{name} = Relu({name})", activation.format(name))
    low, high, three = np.float32(0), np.float32(6), np.full((1, 1, 1), 3, np.float32)
    model = made(text, low=low, high=high, three=three)
    fuse(model)
    assert operators(model).count("Conv") == 1
    assert "Concat" not in operators(model)
    assert len(model.graph.nodes) == 1 + activation.count("=") - activation.count("alpha")


def test_no_activation_at_all():
    model = made(FIRE.replace("Relu", "Identity"))
    fuse(model)
    assert operators(model) == ["Conv", "Identity"]
    text = FIRE.replace("ra = Relu(a)", "").replace("rb = Relu(b)", "").replace("(ra, rb)", "(a, b)")
    model = made(text.replace("(x, w3, b3)", "(x, w3)"))
    fuse(model)
    assert operators(model) == ["Conv"]


def test_half_precision_stays_half():
    weights = {name: value.astype(np.float16) for name, value in WEIGHTS.items()}
    model = builders.model(FIRE.replace("float[", "float16["), **weights)
    x = builders.normal(2, 8, 9, 9, dtype=np.float16)
    expected = builders.run(model, x=x)
    HorizontalFusion().run(model.graph, Context())
    check_graph(model)
    assert operators(model) == ["Conv", "Relu"]
    assert {each.dtype for each in builders.node(model.graph, "Conv").inputs[1:]} == {np.dtype(np.float16)}
    np.testing.assert_allclose(builders.run(model, x=x)["y"], expected["y"], rtol=2e-2, atol=2e-2)


TOWERS = """g (float[N,8,9,9] x) => (float[N,4,9,9] boxes, float[N,1,9,9] object, float[N,5,9,9] classes) {
    s = Conv(x, w) s1 = Sigmoid(s) stem = Mul(s, s1)
    a = Conv<group=8, pads=[1,1,1,1]>(stem, d1, b8) ra = Relu(a) c = Conv(ra, p1) rc = Relu(c)
    e = Conv<group=12, pads=[1,1,1,1]>(rc, d2) re = Relu(e) classes = Conv(re, p2, b5)
    b = Conv<group=8, pads=[1,1,1,1]>(stem, d3) rb = Relu(b) d = Conv(rb, p3, b8) rd = Relu(d)
    f = Conv<group=8, pads=[1,1,1,1]>(rd, d4) rf = Relu(f) boxes = Conv<pads=[1,1,1,1]>(rf, p4) o = Conv(rf, p5)
    object = Sigmoid(o)
}"""
SHAPES = {
    "w": (8, 8, 1, 1), "d1": (8, 1, 3, 3), "p1": (12, 8, 1, 1), "d2": (12, 1, 3, 3), "p2": (5, 12, 1, 1),
    "d3": (8, 1, 3, 3), "p3": (8, 8, 1, 1), "d4": (8, 1, 3, 3), "p4": (4, 8, 3, 3), "p5": (1, 8, 1, 1),
    "b8": (8,), "b5": (5,),
}  # fmt: skip


def towers(text: str = TOWERS) -> Model:
    return made(text, **{name: builders.normal(*shape, seed=i) for i, (name, shape) in enumerate(SHAPES.items())})


def test_towers_of_a_head_become_one():
    model = towers()
    result = fuse(model)
    groups = [(conv.group, conv.filters) for conv in find_convs(model.graph)]
    assert groups == [(1, 16), (16, 16), (1, 20), (20, 20), (1, 10)]
    assert operators(model).count("Split") == 1
    actions = {decision.node: decision.action for decision in result.decisions}
    assert actions == dict.fromkeys(["s", "a", "b", "c", "d", "e", "f", "classes", "boxes", "o"], "rewritten")


def test_neighbours_with_one_activation_share_it():
    text = TOWERS.replace("float[N,4,9,9] boxes, float[N,1,9,9] object, float[N,5,9,9] classes", "float[N,10,9,9] y")
    text = text.replace(
        "object = Sigmoid(o)", "object = Sigmoid(o) p = Sigmoid(classes) y = Concat<axis=1>(boxes, object, p)"
    )
    model = towers(text)
    fuse(model)
    last = model.graph.nodes[-4:]
    assert [node.op for node in last] == ["Conv", "Split", "Sigmoid", "Concat"]
    assert len(last[1].outputs) == len(last[3].inputs) == 2


def test_depthwise_convs_behind_a_pool_stay():
    text = TOWERS.replace("stem = Mul(s, s1)", "t = Mul(s, s1) stem = MaxPool<kernel_shape=[1,1]>(t)")
    model = towers(text)
    assert "depthwise" in reasons(fuse(model))["a"]


def test_what_another_reads_between_ends_the_towers():
    text = TOWERS.replace("object = Sigmoid(o)", "q = Sigmoid(o) m = ReduceMax<axes=[1]>(rc) object = Add(q, m)")
    model = towers(text)
    fuse(model)
    assert operators(model).count("Conv") >= 7


def test_the_order_of_nodes_holds_where_a_reader_stands_before_the_second_conv():
    text = """g (float[N,8,9,9] x) => (float[N,6,9,9] y, float[N,8,9,9] z) {
        a = Conv(x, w1, b1) m = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(a) y = Relu(m)
        b = Conv<pads=[1,1,1,1]>(x, w3, b3) n = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(b) z = Relu(n)
    }"""
    model = made(text)
    fuse(model)
    assert operators(model)[:2] == ["Conv", "Split"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (FIRE.replace("Conv(x, w1, b1)", "Conv<pads=[1,1,1,1], kernel_shape=[3,3]>(x, w4, b1)"), "by itself"),
        (FIRE.replace("a = Conv(x", "p = AveragePool<kernel_shape=[1,1]>(x) a = Conv(p"), "no other Conv"),
        (FIRE.replace("(x, w1, b1)", "(x, w1, b1) o = Conv(x, w1) q = Relu(o)"), "shares its weight"),
        (FIRE.replace("Conv(x, w1", "Conv<group=2>(x, w5"), "groups"),
        (
            FIRE.replace("Conv(x", 'Conv<strides=[2,2], auto_pad="SAME_UPPER">(x')
            .replace("Conv<pads=[1,1,1,1]>", "Conv<strides=[2,2], pads=[1,1,1,1]>")
            .replace("9,9] y", "5,5] y"),
            "depends on the size",
        ),
        (
            FIRE.replace("(float[N,14,9,9] y)", "(float[N,6,9,9] ra, float[N,8,7,7] rb)")
            .replace("y = Concat<axis=1>(ra, rb)", "")
            .replace("Conv<pads=[1,1,1,1]>", "Conv"),
            "differ in size",
        ),
    ],
)
def test_what_stays_says_why(text: str, reason: str):
    model = made(text, w4=builders.normal(6, 8, 3, 3), w5=builders.normal(6, 4, 1, 1))
    before = operators(model)
    result = fuse(model)
    assert not result.changed
    assert operators(model) == before
    assert reason in reasons(result)["a"]


def test_what_would_be_slower_stays():
    """A kernel of 1 x 1 in one of 7 x 7, for many filters."""
    text = """g (float[N,64,56,56] x) => (float[N,512,56,56] y) {
        a = Conv(x, wide) b = Conv<pads=[3,3,3,3]>(x, big) y = Concat<axis=1>(a, b)
    }"""
    model = made(text, wide=builders.normal(504, 64, 1, 1), big=builders.normal(8, 64, 7, 7))
    result = fuse(model, shape=(1, 64, 56, 56))
    assert not result.changed
    assert reasons(result)["a"] == "one Conv of a kernel of 7 x 7 would take no less time"


def test_a_split_that_costs_what_it_saves_stays():
    text = """g (float[N,8,512,512] x) => (float[N,64,512,512] ra, float[N,64,512,512] rb) {
        a = Conv(x, wide) ra = Relu(a) b = Conv<pads=[1,1,1,1]>(x, big) rb = Relu(b)
    }"""
    model = made(text, wide=builders.normal(64, 8, 1, 1), big=builders.normal(64, 8, 3, 3))
    result = HorizontalFusion().run(model.graph, Context())
    assert not result.changed
    assert "no less time" in reasons(result)["a"]


@pytest.mark.parametrize("target", ["ort", "trt10"])
def test_a_target_without_a_cost_model_is_left_alone(target: str):
    model = made(FIRE)
    result = fuse(model, RunOptions(target=target))
    assert not result.changed
    assert reasons(result) == dict.fromkeys("ab", reasons(result)["a"])
    assert "no cost model" in reasons(result)["a"]


def test_scope():
    model = made(FIRE)
    result = fuse(model, RunOptions(exclude="^a$"))
    assert not result.changed
    assert reasons(result) == {
        "a": "excluded by --exclude ^a$",
        "b": "no other Conv with its strides and groups reads its input",
    }


def test_skipping_by_set():
    named = builders.proto(FIRE, **WEIGHTS)
    for node in named.graph.node:
        node.name = node.output[0]
    result = compress(named, "horizontal-fusion", overrides=["^b$:horizontal-fusion.skip=true"])
    (record,) = [record for record in result.records if record.name == "horizontal-fusion"]
    assert not record.result.changed


def test_quantized_networks_stay():
    quantized = compress(builders.proto(FIRE, **WEIGHTS), "quantize", data=builders.normal(16, 8, 9, 9))
    result = HorizontalFusion().run(quantized.model.graph, Context())
    assert not result.changed
    assert all("before quantize" in reason for reason in reasons(result).values())


def test_the_estimate_of_the_file_is_what_the_pass_says():
    model = made(FIRE)
    result = fuse(model)
    found = estimate(model.graph, infer_shapes(model.graph), find_target("xavier"), precision="fp16").ms
    assert found == pytest.approx(result.metrics["latency_after"])


def test_quantize_behind_it():
    result = compress(builders.proto(FIRE, **WEIGHTS), "horizontal-fusion,quantize", data=builders.normal(16, 8, 9, 9))
    ops = [node.op for node in result.model.graph.nodes]
    assert ops.count("Conv") == 1
    assert ops.count("QuantizeLinear") >= 2


REP = """g (float[N,8,9,9] x) => (float[N,8,9,9] y) {
    a = Conv<pads=[1,1,1,1], group=GROUP>(x, k3, b3) b = Conv<group=GROUP>(x, k1)
    n = BatchNormalization(x, scale, shift, mean, variance) s = Add(a, n) t = Add(b, s) y = Relu(t)
}"""
STATISTICS = {
    **{name: builders.normal(8, seed=i) for i, name in enumerate(("scale", "shift", "mean"))},
    "variance": builders.normal(8, seed=5) ** 2 + np.float32(0.1),
}  # fmt: skip


def rep(text: str = REP, group: int = 1) -> Model:
    kernels = {f"k{size}": builders.normal(8, 8 // group, size, size, seed=size) for size in (1, 3)}
    return made(text.replace("GROUP", str(group)), **kernels, **STATISTICS)


@pytest.mark.parametrize("target", ["xavier", "ort"])
@pytest.mark.parametrize("group", [1, 2, 8])
def test_branches_that_are_added_are_one_conv(target: str, group: int):
    model = rep(group=group)
    result = fuse(model, RunOptions(target=target))
    assert operators(model) == ["Conv", "Relu"]
    actions = {decision.node: decision.action for decision in result.decisions}
    assert actions == {"a": "rewritten", "b": "rewritten", "n": "folded"}
    (conv,) = find_convs(model.graph)
    assert (conv.group, conv.weight.shape) == (group, (8, 8 // group, 3, 3))


def test_half_of_a_sum():
    model = rep(REP.replace("Add(b, s)", "Add(s, s)").replace("b = Conv<group=GROUP>(x, k1)", ""))
    fuse(model)
    assert operators(model) == ["Conv", "Add", "Relu"]


def test_the_input_itself_may_be_added():
    model = rep(REP.replace("y = Relu(t)", "y = Sum(t, x)"))
    fuse(model)
    assert operators(model) == ["Conv"]


def test_a_sum_within_a_sum():
    text = REP.replace("y = Relu(t)", "p = MaxPool<kernel_shape=[3,3], pads=[1,1,1,1]>(x) y = Add(t, p)")
    model = rep(text)
    fuse(model)
    assert sorted(operators(model)) == ["Add", "Conv", "MaxPool"]


@pytest.mark.parametrize(
    "text",
    [
        REP.replace("s = Add(a, n)", "r = Relu(a) s = Add(r, n)"),
        REP.replace("BatchNormalization(x", "BatchNormalization(b"),
        "g (float[N,8,9,9] x) => (float[N,8,9,9] y) { a = Conv<pads=[1,1,1,1]>(x, k3) y = Add(a, x) }",
        "g (float[N,8,9,9] x) => (float[N,8,9,9] y) { a = Conv<pads=[1,1,1,1]>(x, k3) y = Add(a, a) }",
        "g (float[N,8,9,9] x) => (float[N,8,9,9] y, float[N,8,9,9] a) "
        "{ a = Conv<pads=[1,1,1,1]>(x, k3) b = Conv(x, k1) y = Add(a, b) }",
    ],
)
def test_other_sums_stay(text: str):
    model = rep(text)
    result = fuse(model, RunOptions(target="ort"))
    assert not result.changed


def test_a_sum_with_more_multiplications_needs_a_model_of_the_time():
    text = """g (float[N,8,9,9] x) => (float[N,8,9,9] y) {
        a = Conv<pads=[1,0,1,0]>(x, tall) b = Conv<pads=[0,1,0,1]>(x, flat) y = Add(a, b)
    }"""
    weights = {"tall": builders.normal(8, 8, 3, 1), "flat": builders.normal(8, 8, 1, 3)}
    assert not fuse(made(text, **weights), RunOptions(target="ort")).changed
    model = made(text, **weights)
    fuse(model)
    assert operators(model) == ["Conv"]


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, dict[str, np.ndarray]]:
    """Two or three Convs of one input and one stride."""
    strides = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    convs, weights, sizes = "", dict[str, np.ndarray](), list[str]()
    for index in range(draw(st.integers(2, 3))):
        kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
        dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
        spare = [(size - 1) * dilation for size, dilation in zip(kernel, dilations, strict=True)]
        begin = [draw(st.integers(0, each)) for each in spare]
        pads = [*begin, *(each - at for each, at in zip(spare, begin, strict=True))]
        weights[f"w{index}"] = builders.normal(index + 2, 3, *kernel, seed=index)
        attributes = f"pads={pads}, dilations={list(dilations)}, strides={list(strides)}"
        convs += f"a{index} = Conv<{attributes}>(x, w{index}) r{index} = Relu(a{index}) "
        sizes.append(f"r{index}")
    total = sum(value.shape[0] for value in weights.values())
    text = f"g (float[N,3,12,11] x) => (float[N,{total},H,W] y) {{ {convs} y = Concat<axis=1>({', '.join(sizes)}) }}"
    return text, weights


@given(pairs())
@settings(max_examples=25, deadline=None)
def test_any_kernels_paddings_dilations_strides(drawn: tuple[str, dict[str, np.ndarray]]):
    text, weights = drawn
    model = builders.model(text, **weights)
    kernels = {value.shape[2:] for value in weights.values()}
    result = fuse(model, shape=(2, 3, 12, 11))
    assume(len(kernels) > 1)
    assert result.changed or all(
        "no less time" in reason or "by itself" in reason for reason in reasons(result).values()
    )


@pytest.mark.skipif(not REAL.is_dir(), reason="the real networks are not here")
def test_squeezenet_loses_eight_convs_and_a_sixth_of_its_time():
    model = from_proto(onnx.load(REAL / "squeezenet1_1.onnx"))
    before = sum(1 for _ in find_convs(model.graph))
    result = HorizontalFusion().run(model.graph, Context())
    assert sum(1 for _ in find_convs(model.graph)) == before - 8
    assert "Concat" not in operators(model)
    assert result.metrics["latency_after"] < 0.85 * result.metrics["latency_before"]


def test_what_the_builder_does_by_itself_is_no_gain():
    text = """g (float[N,8,9,9] x) => (float[N,4,9,9] c, float[N,5,9,9] d) {
        a = Conv<pads=[1,1,1,1]>(x, w3) ra = Relu(a) c = Conv(ra, p)
        b = Conv<pads=[1,1,1,1]>(x, v3) rb = Relu(b) d = Conv(rb, q)
    }"""
    weights = {"v3": builders.normal(8, 8, 3, 3), "p": builders.normal(4, 8, 1, 1), "q": builders.normal(5, 8, 1, 1)}
    model = made(text, **weights)
    result = fuse(model)
    assert operators(model) == ["Conv", "Relu", "Conv", "Split"]
    (saved,) = [decision.figures["milliseconds_saved"] for decision in result.decisions if decision.figures]
    assert saved < result.metrics["latency_before"] - result.metrics["latency_after"]
    assert "TensorRT would save, too" in result.notes[0]
