"""Samples of several shapes, lines of text say, in every pass that reads samples."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import normal, proto
from onnx_compress.api import compress
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.io import from_proto
from onnx_compress.drivers.compare import compare_models
from onnx_compress.drivers.compress import Compressed
from onnx_compress.runtime.data import load_samples
from onnx_compress.runtime.quality.judge import SampleJudge
from onnx_compress.runtime.shapes import largest_shapes
from onnx_compress.runtime.training.ort.environment import VARIABLE
from ort_environment import FOLDER
from training_stand_ins import installed

WIDTHS = (8, 12, 8, 20, 12, 16)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, str(FOLDER))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def reader() -> onnx.ModelProto:
    """(N, 3, 8, W) -> (N, 5, 4, W / 2): Convs with a residual Add."""
    return proto(
        """g (float[N,3,8,W] x) => (float[N,5,4,V] y) {
            a = Conv<pads=[1,1,1,1]>(x, w1)
            b = Relu(a)
            c = Conv<pads=[1,1,1,1], strides=[2,2]>(b, w2)
            d = Relu(c)
            e = Conv<pads=[1,1,1,1]>(d, w3)
            f = Add(e, c)
            h = Relu(f)
            y = Conv(h, w4)
        }""",
        w1=normal(16, 3, 3, 3) / 5,
        w2=normal(24, 16, 3, 3, seed=1) / 12,
        w3=normal(24, 24, 3, 3, seed=2) / 15,
        w4=normal(5, 24, 1, 1, seed=3) / 5,
    )


def classifier() -> onnx.ModelProto:
    return proto(
        """g (float[N,3,8,W] x) => (float[N,7] y) {
            a = Conv<pads=[1,1,1,1]>(x, w1)
            b = Relu(a)
            c = Conv<pads=[1,1,1,1]>(b, w2)
            d = Relu(c)
            p = GlobalAveragePool(d)
            f = Flatten(p)
            y = Gemm<transB=1>(f, w3)
        }""",
        w1=normal(16, 3, 3, 3),
        w2=normal(16, 16, 3, 3, seed=1),
        w3=normal(7, 16, seed=2),
    )


def lines() -> Iterator[dict[str, np.ndarray]]:
    """94 samples, two to six at once."""
    rng = np.random.default_rng(0)
    for index in range(24):
        count, width = 2 + index % 5, WIDTHS[index % len(WIDTHS)]
        values = rng.standard_normal((count, 3, 8, width)) + rng.standard_normal((count, 3, 1, 1))
        yield {"x": values.astype(np.float32), "labels": rng.integers(0, 7, count)}


def error(result: Compressed) -> float:
    quality = result.report["quality"]
    assert quality is not None and quality["held_out"] and quality["samples"] == 20
    return quality["output_error"]


@pytest.mark.parametrize(
    "pipeline",
    [
        "basis:macs=0.6",
        "basis:macs=0.6:sensitivity=output",
        "sbf:macs=0.6",
        "sparse-lowrank:macs=0.6",
        "filter-summary",
        "codebook",
        "prune:macs=0.6",
        "prune:macs=0.6:sensitivity=output:criterion=l2",
        "quantize:balance=relu:bias-correction=true",
        "quantize:weights=feedback:method=mse",
        "prune:macs=0.7,basis:macs=0.5,quantize",
    ],
)
def test_every_pass_fits_on_all_shapes(pipeline: str):
    assert 0 < error(compress(reader(), pipeline, data=lines)) < 0.6


@pytest.mark.parametrize("budget", ["basis:agreement=0.9", "prune:agreement=0.9", "basis:accuracy-drop=0.1"])
def test_budgets_that_classify(budget: str):
    """Judged on 20 samples: what the search finds on as many others is known to a tenth."""
    quality = compress(classifier(), budget, data=lines).report["quality"]
    assert quality is not None and quality["agreement"] is not None and quality["agreement"] >= 0.75


def test_a_fit_sees_the_samples_of_every_shape():
    """The narrow and the wide samples have two directions each: four filters are exact for both, and for no fewer."""
    model = proto("g (float[N,8,4,W] x) => (float[N,8,4,W] y) { y = Conv(x, w) }", w=normal(8, 8, 1, 1))
    directions = normal(2, 8, 2, seed=1)
    batches = [
        np.einsum("cd,ndhw->nchw", directions[index % 2], normal(4, 2, 4, 6 + 2 * (index % 2), seed=index))
        for index in range(20)
    ]
    errors = []
    for rank in (3, 4):
        quality = compress(model, f"basis:rank={rank}", data=batches).report["quality"]
        assert quality is not None
        errors.append(quality["output_error"])
    assert errors[1] < 1e-3 < 0.05 < errors[0]


@pytest.mark.parametrize("pipeline", ["basis:macs=0.6", "prune:macs=0.6", "quantize"])
def test_signals_of_several_lengths(pipeline: str):
    model = proto(
        "g (float[N,3,L] x) => (float[N,5,M] y) { a = Conv<pads=[1,1]>(x, w1)\n b = Relu(a)\n y = Conv(b, w2) }",
        w1=normal(16, 3, 3),
        w2=normal(5, 16, 3, seed=1),
    )
    quality = compress(model, pipeline, data=[normal(4, 3, 8 + index, seed=index) for index in range(10)]).report[
        "quality"
    ]
    assert quality is not None and quality["output_error"] < 0.7


def test_ranges_are_those_of_all_shapes():
    batches = [normal(4, 3, 8, width) * (10 if width == 20 else 1) for width in (8, 20, 12)]
    result = compress(reader(), "quantize:method=minmax", data=batches)
    first = next(node for node in result.graph.nodes if node.inputs and node.inputs[0].name == "x")
    assert first.op == "QuantizeLinear"
    assert float(first.inputs[1].values) == pytest.approx(np.abs(batches[1]).max() / 127, rel=0.01)


@pytest.mark.parametrize("engine", ["ort", "torch"])
def test_training_on_batches_of_one_shape_each(engine: str):
    if not installed(engine):
        pytest.skip(f"the engine {engine} is not installed")
    crude = "basis:rank=4:form=channel:refit=none"
    tuned = f"{crude},finetune:engine={engine}:threads=1:epochs=4:batch=8:augment=none:rate=5e-3:held_out=0.2"
    assert error(compress(reader(), tuned, data=lines)) < error(compress(reader(), crude, data=lines))


def test_training_on_too_many_shapes():
    batches = [normal(2, 3, 8, width) for width in range(8, 88, 2)]
    with pytest.raises(CompressError, match=r"samples of .* shapes.*at most 16 .pad to fewer sizes"):
        compress(reader(), "basis:rank=4,finetune:epochs=1", data=batches)


def test_memory_is_that_of_the_largest():
    model = from_proto(reader())
    data = load_samples(model.graph, [normal(1, 3, 8, width) for width in (8, 16, 12)])
    assert largest_shapes(data) == {"x": (1, 3, 8, 16)}


def test_two_networks_are_compared_on_all_shapes():
    model = from_proto(classifier())
    data = load_samples(model.graph, lines)
    found = [SampleJudge.of(model.graph, data, metric).judge(model.graph) for metric in ("agreement", "accuracy")]
    assert [each.samples for each in found] == [94, 94]
    assert all(layer.error == 0 for layer in compare_models(model, model, data).layers)


def test_lines_of_more_and_of_fewer_steps_than_classes():
    text = """g (float[N,3,8,W] x) => (float[N,T,30] y) {
        c = Conv<pads=[1,1,1,1]>(x, w)
        r = Relu(c)
        d = Conv(r, u)
        s = Squeeze(d, axes)
        y = Transpose<perm=[0,2,1]>(s)
    }"""
    model = proto(text, w=normal(16, 3, 3, 3), u=normal(30, 16, 8, 1), axes=np.array([2]))
    data = [normal(6, 3, 8, width, seed=width) for width in (8, 20, 12, 40)]
    quality = compress(model, "basis:macs=0.6,quantize", data=data).report["quality"]
    assert quality is not None and quality["metric"] == "error" and 0 < quality["value"] < 1
