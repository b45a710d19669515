"""Rows of tensors by channel, and gates as functions."""

from __future__ import annotations

import numpy as np
import pytest
from builders import Images, model, normal
from onnx_compress.compiler.graph.quantization.gates import gate_behind
from onnx_compress.runtime import gated_values as module
from onnx_compress.runtime.gated_values import channel_values, gate_function

DATA = Images(normal(20, 3, 4, 4, seed=3))
TEXT = "g (float[N,3,4,4] x) => (float[N,3,4,4] y) { a = Add(x, x) s = Sigmoid(a) m = Mul(a, s) y = Mul(m, c) }"
GRAPH = model(TEXT, c=np.full((1, 1, 1, 1), 2, np.float32)).graph


def test_all_values_where_there_are_few():
    seen = channel_values(GRAPH, ["a"], DATA, 20, np.random.default_rng(0))["a"]
    doubled = 2 * DATA.x
    np.testing.assert_array_equal(seen.rows, doubled.transpose(0, 2, 3, 1).reshape(-1, 3))
    assert (seen.low, seen.high) == (doubled.min(), doubled.max())


def test_some_of_many_and_the_ends_of_all(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "VALUES", 20 * 3 * 2)
    seen = channel_values(GRAPH, ["a"], DATA, 20, np.random.default_rng(0))["a"]
    assert seen.rows.shape == (20 * 2, 3)
    assert (seen.low, seen.high) == (2 * DATA.x.min(), 2 * DATA.x.max())


def test_a_batch_without_values_adds_nothing():
    seen = module.ChannelValues([])
    seen.add(np.zeros((2, 3, 0), np.float32), np.random.default_rng(0), 8)
    seen.add(np.ones((2, 3, 1), np.float32), np.random.default_rng(0), 8)
    assert seen.rows.shape == (2, 3)


@pytest.mark.parametrize("shape", [(7,), (5, 3), (2, 3, 4, 5)])
def test_a_gate_takes_any_shape(shape: tuple[int, ...]):
    (a,) = [node.outputs[0] for node in GRAPH.nodes if node.op == "Add"]
    gate = gate_behind(GRAPH, a, ())
    assert gate is not None
    x = normal(*shape)
    np.testing.assert_allclose(gate_function(GRAPH, gate)(x), 2 * x / (1 + np.exp(-x)), rtol=1e-5)
