"""Where the inside of a network can be compared with that of another one."""

from __future__ import annotations

import builders
import pytest
from onnx_compress.compiler.graph.boundaries import block_ends
from onnx_compress.compiler.graph.convs import find_convs


def ends(body: str, outputs: str = "float[N,4,8,8] y") -> list[tuple[str, ...]]:
    """Every w is a layer's weight."""
    weights = {f"w{k}": builders.normal(4, 4, 1, 1, seed=k) for k in range(body.count("Conv"))}
    graph = builders.model(f"g (float[N,4,8,8] x) => ({outputs}) {{ {body} }}", **weights).graph
    assert len(list(find_convs(graph))) == body.count("Conv")
    return block_ends(graph, [tensor.name for tensor in graph.outputs])


CHAIN = "a = Conv(x, w0) r = Relu(a) b = Conv(r, w1) s = Relu(b) y = Conv(s, w2)"
RESIDUAL = "a = Conv(x, w0) r = Relu(a) b = Conv(r, w1) s = Add(b, r) t = Relu(s) y = Conv(t, w2)"
FIRE = """q = Conv(x, w0) r = Relu(q) a = Conv(r, w1) b = Conv(r, w2) c = Relu(a) d = Relu(b)
    e = Concat<axis=1>(c, d) m = MaxPool<kernel_shape=[1,1]>(e) f = Slice(m, zero, four, one) y = Conv(f, w3)"""
SILU = "a = Conv(x, w0) g = Sigmoid(a) s = Mul(a, g) y = Conv(s, w1)"
GATED = "a = Conv(x, w0) m = GlobalAveragePool(a) b = Conv(m, w1) g = Sigmoid(b) s = Mul(a, g) y = Conv(s, w2)"


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (CHAIN, [("a",), ("b",)]),
        (RESIDUAL, [("a",), ("s",)]),
        (SILU, [("a",)]),
        (GATED, [("a",), ("s",)]),
        ("a = Conv(x, w0) y = Relu(a)", [("a",)]),
        ("y = Conv(x, w0)", []),
    ],
    ids=["chain", "residual", "silu", "gated", "relu-out", "one"],
)
def test_ends_are_sums_before_activations(body: str, expected: list[tuple[str, ...]]) -> None:
    assert ends(body) == expected


def test_a_concat_is_compared_part_by_part_and_before_pools() -> None:
    bounds = (
        """zero = Constant<value_ints=[0,0]>() four = Constant<value_ints=[9,4]>() one = Constant<value_ints=[0,1]>()"""
    )
    assert ends(bounds + FIRE) == [("q",), ("a", "b")]


def test_joins_count_though_they_lie_on_the_way_to_one_output_only() -> None:
    """The branch to `y` does not lead through the block before `z`."""
    body = """a = Conv(x, w0) r = Relu(a) y = Conv(r, w1)
        b = Conv(r, w2) c = Add(b, r) d = Conv(c, w3) z = Conv(d, w4)"""
    assert ends(body, "float[N,4,8,8] y, float[N,4,8,8] z") == [("a",), ("c",), ("d",)]


def test_branches_without_a_layer_are_no_block() -> None:
    assert ends("a = Conv(x, w0) b = Neg(a) c = Abs(a) d = Add(b, c) y = Conv(d, w1)") == [("a",)]


def test_outputs_are_no_ends() -> None:
    assert ends("a = Conv(x, w0) b = Conv(x, w1) y = Add(a, b)") == []
