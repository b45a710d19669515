"""The divergence of a network's outputs under another weight is that of the network with that weight."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.passes.sensitivity.divergence import WeightDivergence, divergence

CLASSES = """g (float[N,3,8,8] x) => (float[N,5] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1, b1)
    r = Relu(a)
    c = Conv<pads=[1,1,1,1]>(r, w2)
    s = Add(c, r)
    p = GlobalAveragePool(s)
    f = Flatten(p)
    y = Gemm<transB=1>(f, w3)
}"""
MAPS = CLASSES.replace("float[N,5] y", "float[N,3,8,8] s").split("p = Global")[0] + "}"


def network(text: str) -> Model:
    weights = {"w1": builders.normal(3, 3, 3, 3), "w2": builders.normal(3, 3, 3, 3, seed=1), "b1": builders.normal(3)}
    return builders.model(text, **weights, **({"w3": builders.normal(5, 3, seed=2)} if text is CLASSES else {}))


@pytest.mark.parametrize("text", [CLASSES, MAPS], ids=["classes", "maps"])
def test_it_is_that_of_the_network_with_the_other_weight(text: str) -> None:
    source, x = network(text), builders.normal(100, 3, 8, 8, seed=5)
    before = builders.run(source, x=x)
    probe = WeightDivergence(source.graph, builders.Images(x))
    for position, conv in enumerate(find_convs(source.graph)):
        bias = np.zeros(3) if conv.bias is None else conv.bias
        other = (conv.matrix() * 0.5, bias + 1)
        same, found = probe.divergences(conv, [(conv.matrix(), bias), other])
        changed = network(text)
        target = list(find_convs(changed.graph))[position]
        target.store(Rewriter(changed.graph), *other)
        after = builders.run(changed, x=x)
        assert same == pytest.approx(0, abs=1e-6)
        assert found == pytest.approx(divergence([list(before.values())], [list(after.values())]), rel=1e-3)
        assert found > 1e-3
    np.testing.assert_array_equal(builders.run(source, x=x)[source.graph.outputs[0].name], next(iter(before.values())))


def test_it_is_the_kullback_leibler_divergence_of_the_classes() -> None:
    p, q = np.array([[0.5, 0.25, 0.25]]), np.array([[0.25, 0.5, 0.25]])
    found = divergence([[np.log(p) + 3]], [[np.log(q) - 1]])
    assert found == pytest.approx(0.25 * np.log(2))


def test_it_is_relative_to_all_outputs_where_there_are_no_classes() -> None:
    a, b = np.full((1, 2, 2, 2), 2.0), np.full((1, 2, 2, 2), 1.0)
    assert divergence([[a, a]], [[b, a]]) == pytest.approx(0.125)
