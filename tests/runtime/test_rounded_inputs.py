"""Rows of layers as their grids round them."""

from __future__ import annotations

import numpy as np
import pytest
from builders import Images, model, normal
from onnx_compress.compiler.graph.quantization.quantizers import Grid
from onnx_compress.runtime import rounded_inputs as module
from onnx_compress.runtime.rounded_inputs import RoundedInputs, measurable, rounded_inputs

NET = "g (float[N,3,4,4] x) => (float[N,2,4,4] y) { r = Relu(x) y = Conv(r, w) }"
W = {"w": normal(2, 3, 1, 1)}
DATA = Images(normal(150, 3, 4, 4, seed=3))


def rows(text: str, grids: dict[str, Grid], **weights: np.ndarray) -> dict[str, RoundedInputs]:
    graph = model(text, **weights).graph
    layers = measurable(graph, lambda node: True)
    return rounded_inputs(graph, layers, grids, DATA, 150, np.random.default_rng(0))


@pytest.mark.parametrize("grid", [Grid(0.5), Grid(0.02, np.uint8(3)), None])
def test_they_are_those_that_the_layer_reads(grid: Grid | None, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LEAST", 150 * 16)
    r = np.maximum(DATA.x, 0)
    x = r if grid is None else grid.values(grid.codes(r))
    (found,) = rows(NET, {} if grid is None else {"r": grid}, **W).values()
    np.testing.assert_allclose(found.values()[0], x.transpose(0, 2, 3, 1).reshape(-1, 3), rtol=1e-6)
    np.testing.assert_allclose(found.mean_x[0], x.mean(axis=(0, 2, 3)), rtol=1e-5)
    np.testing.assert_allclose(found.mean_y[0], W["w"][:, :, 0, 0] @ r.mean(axis=(0, 2, 3)), rtol=1e-4)
    assert found.codes.dtype == (np.float32 if grid is None else grid.zero.dtype)


def test_outputs_are_those_of_the_chosen_rows(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LEAST", 150 * 16)
    monkeypatch.setattr(module, "JUDGED", 500)
    (found,) = rows(NET, {}, **W).values()
    assert 500 <= len(found.chosen) < 1000
    np.testing.assert_array_equal(found.judged(), found.values()[:, found.chosen])
    np.testing.assert_allclose(found.outputs[0], found.judged()[0] @ W["w"][:, :, 0, 0].T, rtol=1e-4, atol=1e-5)


def test_wide_layers_have_more_rows_than_narrow_ones():
    text = "g (float[N,3,4,4] x) => (float[N,2,4,4] y) { a = Conv(x, v) y = Conv<pads=[1,1,1,1]>(a, w) }"
    found = rows(text, {}, v=normal(9, 3, 1, 1), w=normal(2, 9, 3, 3))
    narrow, wide = (len(each.codes) for each in found.values())
    assert module.LEAST <= narrow < module.LEAST + 150
    assert module.PER_INPUT * 81 <= wide < module.PER_INPUT * 81 + 150


def test_in_chunks_they_are_as_many(monkeypatch: pytest.MonkeyPatch):
    text = "g (float[N,3,4,4] x) => (float[N,2,4,4] y) { a = Conv(x, v) y = Conv(a, w) }"
    weights = {"v": normal(3, 3, 1, 1), **W}
    monkeypatch.setattr(module, "LEAST", 150 * 16)
    together = rows(text, {}, **weights)
    monkeypatch.setattr(module, "MEMORY", 1)
    for one, other in zip(together.values(), rows(text, {}, **weights).values(), strict=True):
        np.testing.assert_allclose(one.codes, other.codes, rtol=1e-6)


def test_layers_too_wide_for_their_rows_are_left_out(monkeypatch: pytest.MonkeyPatch):
    graph = model("g (float[N,3] x) => (float[N,2] y) { y = Gemm(x, w) }", w=normal(3, 2)).graph
    assert [layer.name for layer in measurable(graph, lambda node: True)] == ["Gemm_0"]
    monkeypatch.setattr("onnx_compress.runtime.rows.LARGEST", 2)
    assert measurable(graph, lambda node: True) == []


def test_scaled_gemms_are_left_out():
    text = "g (float[N,3] x) => (float[N,3] y) { a = Gemm<alpha = 2.0>(x, v) b = Gemm(a, v) y = MatMul(b, v) }"
    graph = model(text, v=normal(3, 3)).graph
    assert [layer.output.name for layer in measurable(graph, lambda node: True)] == ["b"]
