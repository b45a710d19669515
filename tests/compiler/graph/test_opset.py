"""Raising an opset: models older than onnxruntime reads, whose initializers are listed as inputs."""

from __future__ import annotations

import numpy as np
import pytest
from builders import model, normal, run
from onnx_compress.compiler.graph.opset import raise_opset

TEXT = "g (float[1,3,8,8] x, float[4,3,3,3] w) => (float[1,4,6,6] y) { c = Conv(x, w) y = Add(c, c) }"


@pytest.mark.parametrize("opset", [7, 13])
def test_what_is_listed_as_an_input_stays_a_weight(opset: int):
    weight, x = normal(4, 3, 3, 3), normal(1, 3, 8, 8)
    old, expected = model(TEXT, 6, 3, w=weight), run(model(TEXT, 13, 3, w=weight), x=x)["y"]
    assert raise_opset(old.graph, opset) is None
    assert (old.graph.opset, [tensor.name for tensor in old.graph.inputs]) == (opset, ["x"])
    np.testing.assert_allclose(run(old, x=x)["y"], expected, rtol=1e-5, atol=1e-5)


def test_a_newer_graph_stays_as_it_is():
    new = model(TEXT, 13, 3, w=normal(4, 3, 3, 3))
    assert raise_opset(new.graph, 7) is None
    assert new.graph.opset == 13
