"""Activations: what follows a tensor, and that the plain data computes what the operator does."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from onnx_compress.compiler.graph.activations import Activation, activation_after
from onnx_compress.passes.projection.activation_split import PiecewiseLinear

X = builders.normal(2, 3, 4) * 5


def following(line: str, opset: int = 17) -> tuple[Activation | None, np.ndarray]:
    bounds = {"low": np.float32(-1), "high": np.float32(6), "inner": np.ones(3, np.float32)}
    used = {name: np.asarray(values) for name, values in bounds.items() if name in line}
    model = builders.model(f"g (float[2,3,4] x) => (float[2,3,4] y) {{ a = Identity(x) {line} }}", opset, **used)
    return activation_after(model.graph.nodes[0].outputs[0]), builders.run(model, x=X)["y"]


@pytest.mark.parametrize(
    ("line", "opset"),
    [
        ("y = Relu(a)", 17),
        ("y = LeakyRelu(a)", 17),
        ("y = LeakyRelu<alpha=0.3>(a)", 17),
        ("y = Clip(a, low, high)", 17),
        ("y = Clip(a, low)", 17),
        ("y = Clip<min=0.0, max=6.0>(a)", 10),
    ],
)
def test_the_data_computes_what_the_operator_does(line: str, opset: int) -> None:
    found, wanted = following(line, opset)
    assert found is not None
    np.testing.assert_allclose(PiecewiseLinear(found.low, found.high, found.leak)(X), wanted, rtol=1e-6)


@pytest.mark.parametrize("line", ["y = Sigmoid(a)", "b = Relu(a) y = Add(a, b)", "b = Identity(low) y = Clip(a, a)"])
def test_no_activation_is_seen(line: str) -> None:
    model = builders.model(f"g (float[2,3,4] x) => (float[2,3,4] y) {{ a = Identity(x) {line} }}", low=np.float32(0))
    assert activation_after(model.graph.nodes[0].outputs[0]) is None


def test_the_identity_is_linear() -> None:
    assert Activation().linear
    assert not Activation(0.0).linear
    np.testing.assert_array_equal(PiecewiseLinear()(X), X)
