"""The one loop over layers: in step it sees what was rewritten, out of step and without data what was there before."""

from __future__ import annotations

from collections.abc import Iterator

import builders
import numpy as np
import pytest
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.gemms import find_gemms
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.passes.fitting import lockstep as module
from onnx_compress.passes.fitting.fits import plain_fits
from onnx_compress.passes.fitting.lockstep import FitOptions, FittedLayer, curve_fits, fitted_layers
from onnx_compress.passes.projection.fit import Fit
from onnx_compress.runtime import rows
from onnx_compress.runtime.rows import Layer

CHAIN = """g (float[N,3,6,6] x) => (float[N,3,6,6] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    y = Conv<pads=[1,1,1,1]>(a, w2)
}"""
HEAD = """g (float[N,4] x) => (float[N,2] y) {
    a = Gemm<transB=1>(x, w1)
    b = Gemm<transB=1>(a, w2)
    y = Gemm<transB=1>(b, w3)
}"""
DATA = builders.Images(builders.normal(100, 3, 6, 6, seed=4))
STRICT = FitOptions(ridge=1e-9)


def chain() -> Model:
    return builders.model(CHAIN, w1=builders.normal(3, 3, 3, 3), w2=builders.normal(3, 3, 3, 3, seed=1))


def halved(model: Model, fitted: Iterator[FittedLayer]) -> tuple[Layer, Fit]:
    """The last layer and its fit, the first having been halved when it came."""
    first, _ = next(fitted)
    first.store(Rewriter(model.graph), 0.5 * first.matrix(), np.zeros(first.filters))
    layer, (fit,) = next(fitted)
    assert next(fitted, None) is None
    return layer, fit


def test_in_step_a_layer_makes_up_for_those_rewritten_before_it() -> None:
    model = chain()
    layer, fit = halved(model, fitted_layers(model.graph, Context(), list(find_convs(model.graph)), DATA, STRICT))
    np.testing.assert_allclose(fit.weight, 2 * layer.matrix(), atol=1e-2)


def test_out_of_step_a_layer_sees_the_network_before_the_pass() -> None:
    model = chain()
    options = FitOptions(ridge=1e-9, lockstep=False)
    layer, fit = halved(model, fitted_layers(model.graph, Context(), list(find_convs(model.graph)), DATA, options))
    assert not fit.plain
    np.testing.assert_allclose(fit.weight, layer.matrix(), atol=1e-6)
    assert fit.residual == 0


def test_a_given_reference_says_what_is_wanted() -> None:
    model = chain()
    reference = model.graph.copy()
    layers = list(find_convs(model.graph))
    layers[0].store(Rewriter(model.graph), 0.5 * layers[0].matrix(), np.zeros(3))
    ((layer, (fit,)),) = fitted_layers(model.graph, Context(), layers[1:], DATA, STRICT, reference)
    np.testing.assert_allclose(fit.weight, 2 * layer.matrix(), atol=1e-2)


def test_without_data_layers_are_taken_as_stored() -> None:
    model = chain()
    layer, fit = halved(model, fitted_layers(model.graph, Context(), list(find_convs(model.graph)), None, STRICT))
    assert fit.plain
    np.testing.assert_array_equal(fit.weight, layer.matrix())


def test_rows_come_with_the_fits_where_they_are_kept() -> None:
    graph = builders.model(
        CHAIN.replace("y = Conv", "r = Relu(a) y = Conv").replace("(a, w2)", "(r, w2)"),
        w1=builders.normal(3, 3, 3, 3),
        w2=builders.normal(3, 3, 3, 3, seed=1),
    ).graph
    options = FitOptions(ridge=1e-3, rows=512, keep=64)
    (_, (first,)), (_, (second,)) = fitted_layers(graph, Context(), list(find_convs(graph)), DATA, options)
    assert hasattr(first, "samples") and not hasattr(second, "samples")


def test_layers_too_wide_to_fit_come_first_and_as_stored(monkeypatch: pytest.MonkeyPatch) -> None:
    shapes = {"w1": (8, 4), "w2": (4, 8), "w3": (2, 4)}
    graph = builders.model(HEAD, **{n: builders.normal(*s, seed=i) for i, (n, s) in enumerate(shapes.items())}).graph
    monkeypatch.setattr(rows, "LARGEST", 5)
    data = builders.Images(builders.normal(50, 4))
    found = list(fitted_layers(graph, Context(), list(find_gemms(graph)), data, STRICT))
    assert [(layer.fan_in, fits[0].plain) for layer, fits in found] == [(8, True), (4, False), (4, False)]


def test_error_curves_are_fits_of_the_network_as_it_is() -> None:
    graph = chain().graph
    for layer, (fit,) in curve_fits(graph, Context(), list(find_convs(graph)), DATA, 1e-3):
        np.testing.assert_allclose(fit.weight, layer.matrix(), atol=1e-6)
        assert not fit.plain and fit.residual == 0
    for layer, fits in curve_fits(graph, Context(), list(find_convs(graph)), None, 1e-3):
        np.testing.assert_array_equal(fits[0].weight, plain_fits(layer)[0].weight)


def test_error_curves_read_their_own_samples(monkeypatch: pytest.MonkeyPatch) -> None:
    graph, read = chain().graph, list[tuple[int, int]]()

    def recorded(
        walked: object, reference: object, layers: object, data: builders.Images, rng: object, rows: int, *_: object
    ):
        read.append((data.samples, rows))
        return iter(())

    monkeypatch.setattr(module, "lockstep", recorded)
    assert list(curve_fits(graph, Context(), list(find_convs(graph)), DATA, 1e-3)) == []
    assert read == [(50, module.CURVE_ROWS)]
