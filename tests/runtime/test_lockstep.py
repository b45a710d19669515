"""Each layer is fitted on the inputs of the rewritten network, towards the outputs of the original."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from onnx_compress.compiler.graph.activations import Activation
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.gemms import find_gemms
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.ties import tie
from onnx_compress.passes.fitting.fits import layer_fits
from onnx_compress.runtime import lockstep as walk
from onnx_compress.runtime.lockstep import dependency_order, lockstep

RESIDUAL = """g (float[N,3,6,6] x) => (float[N,3,6,6] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1, b1)
    r = Relu(a)
    c = Conv<pads=[1,1,1,1]>(r, w2, b2)
    y = Add(c, r)
}"""


SHRINKING = """g (float[N,3,6,6] x) => (float[N,2] y) {
    a = Conv(x, w1)
    b = Conv<strides=[3,3], pads=[1,1,1,1]>(a, w2)
    p = GlobalAveragePool(b)
    f = Flatten(p)
    y = Gemm<transB=1>(f, w3)
}"""


def residual():
    weights = {"w1": builders.normal(3, 3, 3, 3), "w2": builders.normal(3, 3, 3, 3, seed=1)}
    return builders.model(RESIDUAL, **weights, b1=builders.normal(3, seed=2), b2=builders.normal(3, seed=3))


def images(count: int = 100) -> builders.Images:
    return builders.Images(builders.normal(count, 3, 6, 6, seed=4))


def test_in_the_original_network_the_best_weight_is_the_stored_one() -> None:
    graph = residual().graph
    for conv, moments in lockstep(graph, graph, list(find_convs(graph)), images(), np.random.default_rng(0)):
        (fit,) = layer_fits(conv, moments, ridge=1e-9)
        np.testing.assert_allclose(fit.weight, conv.matrix(), atol=1e-3)
        np.testing.assert_allclose(fit.bias(fit.weight), conv.bias, atol=1e-3)
        assert fit.residual < 1e-5 * fit.signal


def test_the_layer_before_the_add_makes_up_for_the_shortcut() -> None:
    """Scale the first Conv by 0.9: the second one, re-fitted to the sum, comes closer than to its own output."""
    model = residual()
    reference, graph = model.graph.copy(), model.graph
    rewriter, steps = (
        Rewriter(graph),
        lockstep(graph, reference, list(find_convs(graph)), images(), np.random.default_rng(0)),
    )
    first, _ = next(steps)
    first.store(rewriter, 0.9 * first.matrix(), 0.9 * first.bias)
    second, moments = next(steps)
    (fit,) = layer_fits(second, moments, ridge=1e-9)
    expected = second.matrix().reshape(3, 3, 3, 3) / 0.9
    expected[:, :, 1, 1] += np.eye(3) / 0.9 - np.eye(3)
    np.testing.assert_allclose(fit.weight, expected.reshape(3, -1), atol=2e-3)
    assert fit.residual < 1e-4 * fit.signal


def test_gemms_are_layers_too() -> None:
    text = "g (float[N,5] x) => (float[N,2] y) { y = Gemm<alpha=0.5, beta=2.0>(x, w, b) }"
    graph = builders.model(text, w=builders.normal(5, 2), b=builders.normal(2)).graph
    (gemm,) = find_gemms(graph)
    data = builders.Images(builders.normal(200, 5, seed=1))
    ((_, moments),) = lockstep(graph, graph, [gemm], data, np.random.default_rng(0))
    (fit,) = layer_fits(gemm, moments, ridge=1e-9)
    np.testing.assert_allclose(fit.weight, 0.5 * builders.normal(5, 2).T, atol=1e-3)
    np.testing.assert_allclose(fit.bias(fit.weight), 2 * builders.normal(2), atol=1e-3)


def test_the_same_seed_gives_the_same_moments() -> None:
    graph = residual().graph

    def moments() -> np.ndarray:
        convs = list(find_convs(graph))
        return next(lockstep(graph, graph, convs, images(), np.random.default_rng(7), rows=500))[1].xx

    np.testing.assert_array_equal(moments(), moments())


def test_layers_of_many_inputs_are_fitted_on_more_rows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx_compress.runtime.lockstep.ENOUGH", 100)
    text = """g (float[N,3,6,6] x) => (float[N,3,6,6] y) {
        a = Conv(x, w1)
        y = Conv<pads=[1,1,1,1]>(a, w2)
    }"""
    graph = builders.model(text, w1=builders.normal(9, 3, 1, 1), w2=builders.normal(3, 9, 3, 3)).graph

    def counts(rows: int) -> list[int]:
        convs = list(find_convs(graph))
        found = lockstep(graph, graph, convs, images(), np.random.default_rng(0), rows)
        return [moments.count for _, moments in found]

    assert counts(2**15) == [100, 1200]  # of 16 x 81 as many as go evenly into 100 images
    assert counts(300) == [100, 300]


def test_where_channels_were_removed_the_target_is_what_the_others_gave() -> None:
    graph, reference = residual().graph, residual().graph
    conv = next(find_convs(graph))
    Rewriter(graph).set_weight(conv.node, 1, conv.weight[[0, 2]])
    Rewriter(graph).set_weight(conv.node, 2, conv.bias[[0, 2]])
    left = {conv.output.name: np.array([0, 2])}
    pruned = next(find_convs(graph))
    ((_, moments),) = lockstep(graph, reference, [pruned], images(), np.random.default_rng(0), kept_channels=left)
    (fit,) = layer_fits(pruned, moments, ridge=1e-9)
    np.testing.assert_allclose(fit.weight, conv.matrix()[[0, 2]], atol=1e-3)


def test_rows_come_with_the_activation_and_the_compressed_shortcut() -> None:
    """y + shift is the sum that the original has, whatever the first Conv has become."""
    text = RESIDUAL.replace("y = Add(c, r)", "s = Add(c, r) y = Relu(s)")
    weights = {"w1": builders.normal(3, 3, 3, 3), "w2": builders.normal(3, 3, 3, 3, seed=1)}
    biases = {"b1": builders.normal(3, seed=2), "b2": builders.normal(3, seed=3)}
    graph = builders.model(text, **weights, **biases).graph
    reference, convs = graph.copy(), list(find_convs(graph))
    steps = lockstep(graph, reference, convs, images(), np.random.default_rng(0), keep=10**6)
    first, moments = next(steps)
    assert moments.rows is not None
    assert moments.rows.shift is None
    assert moments.rows.activation == Activation(0.0)
    np.testing.assert_allclose(moments.rows.x[:, 0].mean(0), moments.xx[0, -1, :-1], atol=1e-5)
    first.store(Rewriter(graph), 0.5 * first.matrix(), 0.5 * first.bias)
    _, moments = next(steps)
    rows = moments.rows
    assert rows is not None
    assert rows.shift is not None
    assert rows.activation == Activation(0.0)
    sums = builders.run(builders.model(RESIDUAL, **weights, **biases), x=images().x)["y"]
    np.testing.assert_allclose((rows.y + rows.shift)[:, 0].mean(0), sums.mean((0, 2, 3)), atol=1e-4)


def test_at_most_so_many_rows_are_kept() -> None:
    graph = residual().graph
    for keep, most in ((0, 0), (500, 600)):
        for _, moments in lockstep(
            graph, graph, list(find_convs(graph)), images(), np.random.default_rng(0), keep=keep
        ):
            kept = 0 if moments.rows is None else len(moments.rows.x)
            assert keep // 20 <= kept <= most


def test_a_layer_with_several_uses_waits_for_all_that_reach_them():
    text = """g (float[N,4,6,6] x) => (float[N,4,6,6] y) {
        a = Conv(x, w) b = Conv(a, v) c = Conv(b, u) d = Conv(x, v) e = Conv(d, u) y = Add(c, e) }"""
    weights = {name: builders.normal(4, 4, 1, 1, seed=seed) for seed, name in enumerate("wvu")}
    graph = builders.model(text, **weights).graph
    circular, ordered = dependency_order(graph, tie(find_convs(graph)))
    assert circular == []
    assert [[use.name for use in layer.uses] for layer in ordered] == [
        ["Conv_0"],
        ["Conv_1", "Conv_3"],
        ["Conv_2", "Conv_4"],
    ]


def test_a_layer_that_is_run_again_has_no_right_place():
    text = """g (float[N,4,6,6] x) => (float[N,4,6,6] y) {
        a = Conv(x, w) b = Conv(a, v) c = Conv(b, w) y = Conv(c, u) }"""
    weights = {name: builders.normal(4, 4, 1, 1, seed=seed) for seed, name in enumerate("wvu")}
    graph = builders.model(text, **weights).graph
    circular, ordered = dependency_order(graph, tie(find_convs(graph)))
    assert [layer.name for layer in circular] == ["Conv_0"]
    assert [layer.name for layer in ordered] == ["Conv_1", "Conv_3"]


def test_moments_are_those_of_all_uses():
    text = """g (float[N,4,6,6] x) => (float[N,4,6,6] y) {
        a = Conv(x, w) n = Neg(x) m = Mul(n, n) b = Conv(m, w) y = Add(a, b) }"""
    graph = builders.model(text, w=builders.normal(4, 4, 1, 1)).graph
    x = builders.normal(64, 4, 6, 6)
    for reference in (graph, graph.copy()):
        ((_, moments),) = lockstep(
            graph, reference, tie(find_convs(graph)), builders.Images(x), np.random.default_rng(0)
        )
        means = np.stack([each.mean(axis=(0, 2, 3)) for each in (x, x * x)])
        np.testing.assert_allclose(moments.xx[0, -1, :-1], means.mean(axis=0), atol=1e-5)
        assert moments.count == 2 * 64 * 36


def test_samples_are_added_as_layers_come_to_have_fewer_positions(monkeypatch: pytest.MonkeyPatch) -> None:
    """Four positions of every row: 36 of each sample in front, 4 behind, and one at the end."""
    monkeypatch.setattr(walk, "FEWEST", 5)
    monkeypatch.setattr(walk, "sized_batches", lambda data: data.batches(4))
    weights = {"w1": builders.normal(3, 3, 1, 1), "w2": builders.normal(3, 3, 3, 3), "w3": builders.normal(2, 3)}
    graph = builders.model(SHRINKING, **weights).graph
    layers = [*find_convs(graph), *find_gemms(graph)]
    reference, rewriter = graph.copy(), Rewriter(graph)
    counts: list[int] = []
    monkeypatch.setattr(walk, "ENOUGH", 40)
    rng = np.random.default_rng(0)
    for layer, moments in lockstep(graph, reference, layers, images(), rng, rows=40, spare=4):
        layer.store(rewriter, 2 * layer.matrix(), np.zeros(layer.filters))
        counts.append(moments.count)
        wanted = layer.matrix() / 2 ** len(counts[1:])
        (fit,) = layer_fits(layer, moments, ridge=1e-9)
        np.testing.assert_allclose(fit.weight, wanted, atol=5e-2)
    held = [8, 40, 100]
    assert counts == [each * max(1, 40 // each) for each in held[:2]] + held[2:]
