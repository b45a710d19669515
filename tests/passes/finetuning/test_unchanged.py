"""What of a network is still as it was."""

from __future__ import annotations

import builders
import numpy as np
from onnx_compress.passes.finetuning.unchanged import frontier, unchanged_tensors

TEXT = """g (float[N,3,6,6] x) => (float[N,4,6,6] y, float[N,4,6,6] z) {
    a = Conv(x, w0) r = Relu(a) b = Conv(r, w1) y = Add(b, r) z = Neg(a) }"""
FEEDS = {"x": builders.normal(2, 3, 6, 6)}


def graph(change: float):
    w1 = builders.normal(4, 4, 1, 1, seed=1) + np.float32(change)
    return builders.model(TEXT, w0=builders.normal(4, 3, 1, 1), w1=w1).graph


def test_values_say_what_is_unchanged() -> None:
    assert unchanged_tensors(graph(0.1), graph(0), FEEDS) == {"a", "r", "z"}
    assert unchanged_tensors(graph(0), graph(0), FEEDS) == {"a", "r", "b", "y", "z"}


def test_only_what_changed_layers_read_is_taken() -> None:
    assert frontier(graph(0.1), {"a", "r", "z"}) == ["r"]
    assert frontier(graph(0), {"a", "r", "b", "y", "z"}) == []


def test_inputs_of_the_model_are_not_taken() -> None:
    assert frontier(graph(0.1), set()) == []
