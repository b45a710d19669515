"""What outputs are is read off their shapes, and off how the network makes maps."""

from __future__ import annotations

import numpy as np
import pytest
from builders import model, normal
from onnx_compress.runtime.quality.outputs import Kind, channel_axes, kind_of, log_scores
from onnx_compress.runtime.session import comparable_session
from scipy.special import softmax

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


@pytest.mark.parametrize("dtype", [np.float32, np.float16])
def test_scores_of_a_network_with_a_final_softmax_are_those_without_it_but_for_a_constant(dtype: type) -> None:
    a, b = normal(8, 5), normal(8, 5, seed=1)
    found = log_scores(*(softmax(each, axis=1).astype(dtype)[:, :, None] for each in (a, b)))
    for rows, logits in zip(found, (a, b), strict=True):
        np.testing.assert_allclose(
            softmax(rows, axis=1), softmax(logits, axis=1), rtol=1e-2 if dtype is np.float16 else 1e-5
        )


def test_the_reference_says_whether_scores_are_probabilities() -> None:
    a, b = normal(8, 5), softmax(normal(8, 5, seed=1), axis=1)
    np.testing.assert_array_equal(log_scores(a, b)[1], b)
    np.testing.assert_array_equal(log_scores(b, a)[1], np.log(np.maximum(a.astype(float), np.finfo(np.float32).tiny)))


def test_a_probability_of_zero_has_a_finite_logarithm() -> None:
    one_hot = np.eye(3, dtype=np.float32)
    assert all(np.isfinite(rows).all() for rows in log_scores(one_hot, one_hot[::-1]))
