"""What outputs are is read off their shapes, and off how the network makes maps."""

from __future__ import annotations

import numpy as np
import pytest
from builders import model, normal
from onnx_compress.runtime.quality.outputs import Kind, channel_axes, kind_of
from onnx_compress.runtime.session import comparable_session

WEIGHTS = {"w": normal(8, 3, 1, 1), "p": normal(3, 3, 1, 1), "m": normal(8, 5), "to": np.array([0, 8, -1])}
FEW = np.array([1.0, 1.0, 4.0, 4.0], np.float32)


@pytest.mark.parametrize(
    ("outputs", "body", "kind"),
    [
        ("float[N,5] y", "a = Conv(x, w) g = GlobalAveragePool(a) f = Flatten(g) y = MatMul(f, m)", "classes"),
        ("float[N,8,1,1] y", "a = Conv(x, w) y = GlobalAveragePool(a)", "classes"),
        ("float[N,8,1,1] y, float[N,8,1,1] z", "a = Conv(x, w) y = GlobalAveragePool(a) z = Neg(y)", "classes"),
        (
            "int64[N] y",
            "a = Conv(x, w) g = GlobalAveragePool(a) f = Flatten(g) y = ArgMax<axis=1,keepdims=0>(f)",
            "classes",
        ),
        ("float[N,8,16,16] y", "y = Conv(x, w)", "maps"),
        ("float[N,8,4,4] y", "y = Conv<strides=[4,4]>(x, w)", "maps"),
        ("float[N,8,16,16] y", "a = Conv<strides=[4,4]>(x, w) y = Resize(a, none, few)", "maps"),
        ("float[N,3,16,16] y", "a = Conv(x, p) y = Softmax<axis=1>(a)", "maps"),
        ("int64[N,16,16] y", "a = Conv(x, w) y = ArgMax<axis=1,keepdims=0>(a)", "maps"),
        ("float[N,3,16,16] y", "y = Conv(x, p)", "values"),
        ("float[N,8,1,1] y", "y = Conv<strides=[16,16]>(x, w)", "classes"),
        ("float[N,16,16,16] y", "a = Conv(x, w) b = Neg(a) y = Concat<axis=1>(a, b)", "values"),
        ("float[N,8,256] y", "a = Conv(x, w) y = Reshape(a, to)", "values"),
        ("float[N,8,16,16] y, float[N,8,1,1] z", "y = Conv(x, w) z = GlobalAveragePool(y)", "values"),
        ("float[N,8,1] y", "a = Conv(x, w) g = GlobalAveragePool(a) y = Reshape(g, to)", "values"),
    ],
)
def test_the_kind(outputs: str, body: str, kind: Kind) -> None:
    graph = model(
        f"g (float[N,3,16,16] x) => ({outputs}) {{ {body} }}", **WEIGHTS, none=np.zeros(0, np.float32), few=FEW
    ).graph
    feeds = {"x": normal(2, 3, 16, 16)}
    assert kind_of(graph, feeds, comparable_session(graph).run(feeds)) == kind


def test_a_map_far_coarser_than_the_input_is_none_of_classes() -> None:
    graph = model("g (float[N,3,32,32] x) => (float[N,8,2,2] y) { y = Conv<strides=[16,16]>(x, w) }", **WEIGHTS).graph
    feeds = {"x": normal(1, 3, 32, 32)}
    assert kind_of(graph, feeds, comparable_session(graph).run(feeds)) == "values"


@pytest.mark.parametrize(
    ("shape", "axis"), [((4,), None), ((4, 7), 1), ((2, 3549, 85), 2), ((2, 84, 8400), 1), ((2, 85, 22, 22), 1)]
)
def test_the_axis_of_channels(shape: tuple[int, ...], axis: int | None) -> None:
    assert channel_axes(np.zeros(shape))[0] == axis
