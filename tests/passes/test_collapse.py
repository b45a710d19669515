"""Two Convs in a row as one: outputs stay, the time of the target's model falls, and what stays has a reason."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import builders
import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress import compress
from onnx_compress.compiler.costs.cost_model import Foreseen
from onnx_compress.compiler.costs.latency import estimate
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import Model, from_proto
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.targets import find_target
from onnx_compress.passes.collapse import Collapse
from onnx_compress.passes.merging.pairs import ConvPair

REAL = Path(__file__).resolve().parents[3] / "shared" / "models" / "real"
INVERTED = """g (float[N,8,9,9] x) => (float[N,12,9,9] y) {
    a = Conv(x, w1, b1) b = Conv(a, w2, b2) y = Relu(b)
}"""
WEIGHTS = {
    "w1": builders.normal(4, 8, 1, 1, seed=1), "w2": builders.normal(12, 4, 1, 1, seed=2),
    "b1": builders.normal(4, seed=3), "b2": builders.normal(12, seed=4),
}  # fmt: skip


def made(text: str, **weights: np.ndarray) -> Model:
    """Nodes are named after what they write."""
    model = builders.model(text, **(WEIGHTS | weights))
    for node in model.graph.nodes:
        node.name = node.outputs[0].name
    return model


def collapse(before: Model, options: RunOptions | None = None, shape: Sequence[int] = (2, 8, 9, 9)) -> PassResult:
    """Runs the pass, and checks that the outputs stay."""
    x = builders.normal(*shape, seed=9)
    expected = builders.run(before, x=x)
    result = Collapse().run(before.graph, Context(options or RunOptions(), running="collapse"))
    check_graph(before)
    found = builders.run(before, x=x)
    for name, value in found.items():
        np.testing.assert_allclose(value, expected[name], rtol=1e-4, atol=1e-4)
    return result


def operators(model: Model) -> list[str]:
    return [node.op for node in model.graph.nodes]


def reasons(result: PassResult) -> dict[str, str]:
    return {decision.node: decision.reason for decision in result.decisions}


def test_two_points_are_one() -> None:
    model = made(INVERTED)
    result = collapse(model)
    assert operators(model) == ["Conv", "Relu"]
    (conv,) = find_convs(model.graph)
    assert conv.weight.shape == (12, 8, 1, 1) and conv.name == "b.collapsed"
    w1, w2 = WEIGHTS["w1"][..., 0, 0], WEIGHTS["w2"][..., 0, 0]
    np.testing.assert_allclose(conv.weight[..., 0, 0], w2 @ w1, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(conv.bias, w2 @ WEIGHTS["b1"] + WEIGHTS["b2"], rtol=1e-5, atol=1e-6)
    assert [(each.node, each.action) for each in result.decisions] == [("a", "folded"), ("b", "rewritten")]
    assert result.metrics["latency_after"] < result.metrics["latency_before"] and result.metrics["collapsed"] == 1
    assert result.decisions[1].figures["milliseconds_saved"] == pytest.approx(
        result.metrics["latency_before"] - result.metrics["latency_after"]
    )


def test_a_row_of_three_is_one() -> None:
    model = made(
        "g (float[N,8,9,9] x) => (float[N,6,7,7] y) { a = Conv(x, w1, b1) b = Conv(a, w2, b2) y = Conv(b, w3) }",
        w3=builders.normal(6, 12, 3, 3),
    )
    assert collapse(model).metrics["collapsed"] == 2 and operators(model) == ["Conv"]


def test_strides_multiply_and_a_kernel_of_gaps_is_dilated() -> None:
    model = made(
        """g (float[N,8,17,17] x) => (float[N,3,4,4] y) {
            a = Conv<strides=[2,2]>(x, w1, b1) y = Conv<strides=[2,2]>(a, w3)
        }""",
        w3=builders.normal(3, 4, 3, 3),
    )
    collapse(model, shape=(2, 8, 17, 17))
    (conv,) = find_convs(model.graph)
    assert (conv.kernel, conv.strides, conv.dilations) == ((3, 3), (4, 4), (2, 2))


@pytest.mark.parametrize(
    ("second", "reason"),
    [
        ("y = Conv<pads=[1,1,1,1]>(a, w3)", "'y' pads with zeros what 'a' would give other values for"),
        (
            "r = Relu(a) y = Conv<pads=[1,1,1,1]>(r, w3)",
            "no other Conv alone reads its output, and it alone reads none",
        ),
        ("c = Conv(a, w4) d = Add(c, a) y = Conv<pads=[1,1,1,1]>(d, w3)", "no other Conv alone reads its output"),
    ],
)
def test_what_would_not_be_the_same_stays(second: str, reason: str) -> None:
    model = made(
        f"g (float[N,8,9,9] x) => (float[N,5,9,9] y) {{ a = Conv(x, w1, b1) {second} }}",
        w3=builders.normal(5, 4, 3, 3),
        w4=builders.normal(4, 4, 1, 1),
    )
    before = operators(model)
    result = collapse(model)
    assert operators(model) == before and not result.changed and reasons(result)["y"].startswith(reason)


def test_without_a_bias_in_front_a_padding_is_the_same() -> None:
    model = made(
        "g (float[N,8,9,9] x) => (float[N,5,9,9] y) { a = Conv(x, w1) y = Conv<pads=[1,1,1,1]>(a, w3, b) }",
        w3=builders.normal(5, 4, 3, 3),
        b=builders.normal(5),
    )
    collapse(model)
    (conv,) = find_convs(model.graph)
    assert conv.weight.shape == (5, 8, 3, 3) and conv.node.attrs["pads"] == [1, 1, 1, 1]


def test_outputs_of_the_model_keep_their_conv() -> None:
    model = made(
        "g (float[N,8,9,9] x) => (float[N,4,9,9] a, float[N,12,9,9] y) { a = Conv(x, w1, b1) y = Conv(a, w2, b2) }"
    )
    assert not collapse(model).changed


def test_a_weight_that_others_read_stays() -> None:
    model = made(
        "g (float[N,4,9,9] x) => (float[N,4,9,9] y) { a = Conv(x, w) b = Conv(a, w) y = Conv(b, v) }",
        w=builders.normal(4, 4, 1, 1),
        v=builders.normal(4, 4, 1, 1),
    )
    result = collapse(model, shape=(2, 4, 9, 9))
    assert not result.changed and reasons(result)["b"] == "shares its weight with Conv 'a'"


def test_options_of_a_node_keep_it() -> None:
    model = made(INVERTED)
    result = collapse(model, RunOptions(exclude="^a$"))
    assert not result.changed and reasons(result)["a"] == "excluded by --exclude ^a$"


def test_where_one_conv_takes_longer_there_stay_two() -> None:
    """Ten times the multiplications."""
    model = made(
        "g (float[N,640,64,64] x) => (float[N,640,64,64] y) { a = Conv(x, w1) y = Conv(a, w2) }",
        w1=builders.normal(32, 640, 1, 1),
        w2=builders.normal(640, 32, 1, 1),
    )
    result = collapse(model, shape=(1, 640, 64, 64))
    assert not result.changed and reasons(result)["y"] == "the network as a whole would take no less time"


@pytest.mark.parametrize(("middle", "joins"), [(4, False), (12, True)])
def test_without_a_cost_model_multiplications_decide(middle: int, joins: bool) -> None:
    model = made(
        "g (float[N,8,9,9] x) => (float[N,12,9,9] y) { a = Conv(x, w1) y = Conv(a, w2) }",
        w1=builders.normal(middle, 8, 1, 1),
        w2=builders.normal(12, middle, 1, 1),
    )
    result = collapse(model, RunOptions(target="ort"))
    assert result.changed == joins and ("no cost model" in reasons(result)["y"]) != joins


@st.composite
def pairs(draw: st.DrawFn) -> tuple[str, dict[str, np.ndarray], int]:
    """A row of two Convs of any groups, kernels, strides, dilations, paddings."""
    size, groups = draw(st.integers(7, 12)), [draw(st.sampled_from([1, 2, 4])) for _ in range(2)]
    widths = [4 * draw(st.integers(1, 2)) for _ in range(3)]
    lines, weights, read = list[str](), dict[str, np.ndarray](), "x"
    for index in range(2):
        kernel, stride = draw(st.sampled_from([1, 1, 2, 3])), draw(st.integers(1, 2))
        begin, end = (draw(st.integers(0, 1)) for _ in range(2))
        dilation = draw(st.integers(1, 2)) if kernel == 2 else 1
        name = "ay"[index]
        weights[f"w{name}"] = builders.normal(
            widths[index + 1], widths[index] // groups[index], kernel, kernel, seed=index
        )
        inputs = [read, f"w{name}"]
        if draw(st.booleans()):
            weights[f"b{name}"] = builders.normal(widths[index + 1], seed=7 + index)
            inputs.append(f"b{name}")
        attrs = f"strides=[{stride},{stride}], dilations=[{dilation},{dilation}], pads=[{begin},{begin},{end},{end}]"
        lines.append(f"{name} = Conv<{attrs}, group={groups[index]}>({', '.join(inputs)})")
        read = name
    text = f"g (float[2,{widths[0]},{size},{size}] x) => (float[N,{widths[2]},H,W] y) {{ {' '.join(lines)} }}"
    return text, weights, size


@settings(max_examples=60, deadline=None)
@given(pairs())
def test_any_pair_that_can_be_one_computes_the_same(drawn: tuple[str, dict[str, np.ndarray], int]) -> None:
    text, weights, size = drawn
    model = made(text, **weights)
    x = builders.normal(2, weights["wa"].shape[1] * int(text.split("group=")[1][0]), size, size, seed=9)
    expected = builders.run(model, x=x)["y"]
    first, second = find_convs(model.graph)
    pair = ConvPair.of(first, second)
    if isinstance(pair, str):
        assert any(pads for pads in second.node.attrs["pads"])
        return
    pair.write(Rewriter(model.graph))
    (conv,) = find_convs(model.graph)
    assert conv.weight.shape == pair.shape and conv.weight.size == pair.size
    np.testing.assert_allclose(builders.run(model, x=x)["y"], expected, rtol=1e-4, atol=1e-4)


def test_a_pass_in_front_counts_what_it_will_save() -> None:
    model = made(INVERTED)
    ctx = Context(RunOptions(), following=(Collapse(),))
    seen = Collapse().foreseen(Foreseen(model.graph, "int8"), ctx)
    (conv,) = find_convs(seen.graph)
    assert conv.weight.shape == (12, 8, 1, 1) and seen.precision == "int8"
    assert operators(model) == ["Conv", "Conv", "Relu"], "the network itself stays"
    assert ctx.origins == {}


def test_where_a_block_goes_its_neighbours_join(tmp_path: Path) -> None:
    """And `depth` has known that it saves three kernels, not two."""
    text = """g (float[N,8,16,16] x) => (float[N,16,16,16] y) {
        a = Conv(x, w1) b = Conv(a, w2) c = Relu(b) d = Conv(c, w3) e = Add(a, d) f = Conv(e, w4) y = Relu(f)
    }"""
    weights = {"w1": (4, 8, 1, 1), "w2": (16, 4, 1, 1), "w3": (4, 16, 1, 1), "w4": (16, 4, 1, 1)}
    model = builders.proto(text, **{name: builders.normal(*shape) for name, shape in weights.items()})
    data, output = builders.normal(64, 8, 16, 16), str(tmp_path / "small.onnx")
    report = compress(model, "depth:latency=0.4,collapse,quantize", data=data, output=output).report
    (depth,) = [entry for entry in report["passes"] if entry["name"] == "depth"]
    assert [node.op for node in from_proto(onnx.load(output)).graph.nodes].count("Conv") == 1
    assert [step["step"] for step in report["times"]] == ["in FP16", "in INT8", "with depth", "with collapse"]
    _, before, shorter, after = (step["ms"] for step in report["times"])
    (first,) = [entry for entry in report["passes"] if entry["name"] == "collapse"]
    assert after < shorter < before and after == pytest.approx(report["after"]["latency"]["ms"])
    assert shorter - after == pytest.approx(first["metrics"]["latency_before"] - first["metrics"]["latency_after"])
    assert depth["metrics"]["latency_kept"] < 0.4


@pytest.mark.skipif(not REAL.exists(), reason="needs the networks of ../shared")
@pytest.mark.parametrize(("network", "count"), [("mobilenet_v2", 2), ("efficientnet_lite0", 2), ("deeplab", 1)])
def test_inverted_residuals_join_where_a_stage_changes(network: str, count: int, tmp_path: Path) -> None:
    source = REAL / f"{network}.onnx"
    result = compress(str(source), "collapse", output=str(tmp_path / "small.onnx"))
    (found,) = [entry for entry in result.report["passes"] if entry["name"] == "collapse"]
    assert found["metrics"]["collapsed"] == count
    before, after = (
        estimate(model.graph, infer_shapes(model.graph), find_target("xavier")).ms
        for model in (from_proto(onnx.load(source)), from_proto(onnx.load(tmp_path / "small.onnx")))
    )
    assert after < before
