"""Statistics of BatchNormalizations that cannot be folded: as they were where nothing is pruned, else as they come."""

from __future__ import annotations

from math import prod

import builders
import numpy as np
import pytest
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.weights import resolve
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.passes.fold_batchnorm import FoldBatchnorm
from onnx_compress.passes.pruning import repair
from onnx_compress.runtime.session import graph_session

TEXT = """g (float[N,3,12,12] x) => (float[N,6] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    ["first"] n = BatchNormalization(a, s1, b1, m1, v1)
    r = Relu(n)
    c = Conv<pads=[1,1,1,1]>(r, w2)
    t = Relu(c)
    d = Conv<pads=[1,1,1,1]>(t, w3)
    e = Add(d, a)
    ["second"] o = BatchNormalization(e, s2, b2, m2, v2)
    p = Relu(o)
    q = GlobalAveragePool(p)
    h = Flatten(q)
    y = Gemm<transB=1>(h, w4)
}"""
SHAPES = {"w1": (16, 3, 3, 3), "w2": (16, 16, 3, 3), "w3": (16, 16, 3, 3), "w4": (6, 16)}


def network() -> Model:
    """A block with its activation first: neither BatchNormalization follows a Conv that nothing else reads."""
    weights = {
        name: builders.normal(*shape, seed=i) / np.float32(prod(shape[1:]) ** 0.5)
        for i, (name, shape) in enumerate(SHAPES.items())
    }
    for i in (1, 2):
        weights |= {f"{name}{i}": 0.2 * builders.normal(16, seed=10 * i + ord(name)) for name in "bm"}
        weights |= {f"s{i}": 1 + 0.2 * builders.normal(16, seed=i), f"v{i}": 0.5 + builders.normal(16, seed=9) ** 2}
    return builders.model(TEXT, **weights)


def pruned(spec: str, statistics: bool, monkeypatch: pytest.MonkeyPatch) -> tuple[Model, PassResult]:
    model = network()
    if not statistics:
        monkeypatch.setattr(repair.BatchNormEstimator, "estimate_before", lambda self, node: 0)
    (entry,) = parse_pipeline(spec)
    return model, entry.run(model.graph, Context(data=data(), original=model.graph.copy()))


def data() -> builders.Images:
    return builders.Images(builders.normal(256, 3, 12, 12, seed=9))


def moments(model: Model) -> list[np.ndarray]:
    """Mean and deviation of what each BatchNormalization gives."""
    norms = [node.outputs[0].name for node in model.graph.nodes if node.op == "BatchNormalization"]
    values = graph_session(model.graph, norms).run({"x": data().x})
    return [np.stack([values[name].mean((0, 2, 3)), values[name].std((0, 2, 3))]) for name in norms]


def test_they_cannot_be_folded() -> None:
    assert FoldBatchnorm().run(network().graph, Context()).metrics["folded"] == 0


def test_nothing_pruned_nothing_changes() -> None:
    model = network()
    norms = [node for node in model.graph.nodes if node.op == "BatchNormalization"]
    repair.BatchNormEstimator(model.graph, network().graph, 0, data()).estimate_before(None)
    for norm, same in zip(norms, (n for n in network().graph.nodes if n.op == "BatchNormalization"), strict=True):
        for i in (3, 4):
            stored, before = resolve(norm.inputs[i]), resolve(same.inputs[i])
            assert stored is not None and before is not None
            np.testing.assert_allclose(stored, before, atol=1e-6)


def test_the_normalized_channels_keep_their_moments(monkeypatch: pytest.MonkeyPatch) -> None:
    model, result = pruned("prune:share=0.4:repair=bias", True, monkeypatch)
    other, _ = pruned("prune:share=0.4:repair=bias", False, monkeypatch)
    assert result.changed
    wanted, found, unmended = moments(network()), moments(model), moments(other)
    assert found[1].shape[1] < 16
    left = channels_left(found[1], wanted[1])
    np.testing.assert_allclose(found[1], wanted[1][:, left], rtol=1e-3, atol=1e-3)
    assert np.abs(unmended[1] - wanted[1][:, left]).max() > 0.01


def channels_left(found: np.ndarray, wanted: np.ndarray) -> list[int]:
    """Which of the original's channels those found are: the nearest in both moments."""
    distances = np.abs(found[:, :, None] - wanted[:, None, :]).sum(0)
    return distances.argmin(1).tolist()


def test_a_network_with_its_activations_first_is_no_farther_for_it(monkeypatch: pytest.MonkeyPatch) -> None:
    x = builders.normal(64, 3, 12, 12, seed=7)
    wanted = builders.run(network(), x=x)["y"]

    def distance(statistics: bool) -> float:
        model, _ = pruned("prune:macs=0.6", statistics, monkeypatch)
        return float(np.linalg.norm(builders.run(model, x=x)["y"] - wanted))

    assert distance(True) < 1.02 * distance(False)
