"""Rows of layers as their grids round them."""

from __future__ import annotations

import numpy as np
import pytest
from builders import Images, model, normal
from onnx_compress.compiler.graph.quantization.quantizers import Grid
from onnx_compress.runtime import rounded_inputs as module
from onnx_compress.runtime.calibration import histograms
from onnx_compress.runtime.rounded_inputs import InputRows, RoundedInputs, measurable

NET = "g (float[N,3,4,4] x) => (float[N,2,4,4] y) { r = Relu(x) y = Conv(r, w) }"
W = {"w": normal(2, 3, 1, 1)}
DATA = Images(normal(150, 3, 4, 4, seed=3))


def rows(text: str, grids: dict[str, Grid], samples: int = 150, /, **weights: np.ndarray) -> dict[str, RoundedInputs]:
    graph = model(text, **weights).graph
    layers = measurable(graph, lambda node: True)
    kept = InputRows(layers, samples, np.random.default_rng(0))
    assert histograms(graph, ["x"], DATA, 150, reader=kept)["x"].peak == np.abs(DATA.x).max()
    return {layer.name: kept.take(layer.name, grids.get(layer.input.name)) for layer in layers}


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


def test_in_a_file_they_are_the_same(monkeypatch: pytest.MonkeyPatch):
    text = "g (float[N,3,4,4] x) => (float[N,2,4,4] y) { a = Conv(x, v) y = Conv(a, w) }"
    weights = {"v": normal(3, 3, 1, 1), **W}
    held = rows(text, {"a": Grid(0.5)}, **weights)
    monkeypatch.setattr(module, "MEMORY", 1)
    for one, other in zip(held.values(), rows(text, {"a": Grid(0.5)}, **weights).values(), strict=True):
        np.testing.assert_array_equal(one.codes, other.codes)


def test_they_are_of_the_first_samples(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LEAST", 40 * 16)
    (found,) = rows(NET, {}, 40, **W).values()
    r = np.maximum(DATA.x[:40], 0)
    np.testing.assert_allclose(found.values()[0], r.transpose(0, 2, 3, 1).reshape(-1, 3), rtol=1e-6)


def test_layers_with_one_row_a_sample_read_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "MOST", 120)
    text = "g (float[N,3,4,4] x) => (float[N,2] y) { f = Flatten(x) y = Gemm(f, w) }"
    (found,) = rows(text, {}, 40, w=normal(48, 2)).values()
    np.testing.assert_array_equal(found.values()[0], DATA.x[:120].reshape(-1, 48))


def test_layers_too_wide_for_their_rows_are_left_out(monkeypatch: pytest.MonkeyPatch):
    graph = model("g (float[N,3] x) => (float[N,2] y) { y = Gemm(x, w) }", w=normal(3, 2)).graph
    assert [layer.name for layer in measurable(graph, lambda node: True)] == ["Gemm_0"]
    monkeypatch.setattr("onnx_compress.runtime.rows.LARGEST", 2)
    assert measurable(graph, lambda node: True) == []


def test_scaled_gemms_are_left_out():
    text = "g (float[N,3] x) => (float[N,3] y) { a = Gemm<alpha = 2.0>(x, v) b = Gemm(a, v) y = MatMul(b, v) }"
    graph = model(text, v=normal(3, 3)).graph
    assert [layer.output.name for layer in measurable(graph, lambda node: True)] == ["b"]
