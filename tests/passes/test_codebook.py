"""The codebook pass: the graph equals its dense weights, the file shrinks, and what is left alone says why."""

from __future__ import annotations

from pathlib import Path

import builders
import numpy as np
import pytest
from builders import Images
from drawn import Drawn, convs
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.io import Model, load, to_proto
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.passes.codebook import Codebook
from onnx_compress.passes.quantize import Quantize
from onnx_compress.runtime import rows
from onnx_compress.runtime.quality.judge import SampleJudge

NETWORK = """g (float[N,3,8,8] x) => (float[N,10] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1, b1)
    r = Relu(a)
    c = Conv<pads=[1,1,1,1]>(r, w2)
    s = Relu(c)
    f = GlobalAveragePool(s)
    h = Flatten(f)
    y = Gemm<transB=1>(h, w3, b3)
}"""
SHARED = Path(__file__).resolve().parents[3] / "shared"


def network() -> Model:
    return builders.model(
        NETWORK,
        w1=builders.normal(16, 3, 3, 3) / 5,
        b1=builders.normal(16),
        w2=builders.normal(32, 16, 3, 3, seed=1) / 12,
        w3=builders.normal(10, 32, seed=2) / 6,
        b3=builders.normal(10, seed=3),
    )


def images(count: int = 96) -> Images:
    return Images(builders.normal(count, 3, 8, 8, seed=9))


def apply(model: Model, entry: Codebook, data: Images | None = None, target: str = "ort", **scope: str) -> PassResult:
    result = entry.run(model.graph, Context(RunOptions(target=target, **scope), data=data))
    model.graph.cleanup()
    check_graph(model)
    return result


def error(model: Model, reference: Model, x: np.ndarray) -> float:
    got, wanted = builders.run(model, x=x)["y"], builders.run(reference, x=x)["y"]
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


@settings(max_examples=25, deadline=None)
@given(convs(), st.sampled_from([3, 16, 40]), st.booleans())
def test_the_graph_equals_its_dense_weight(drawn: Drawn, entries: int, with_data: bool) -> None:
    models = drawn.model(), drawn.model()
    for model, storage in zip(models, ("shared", "full"), strict=True):
        apply(model, Codebook(entries=entries, storage=storage), Images(drawn.x(8)) if with_data else None)
    assert error(*models, drawn.x()) < 1e-4


@settings(max_examples=10, deadline=None)
@given(convs(groups=(1,)))
def test_as_many_entries_as_weights_change_nothing(drawn: Drawn) -> None:
    model = drawn.model()
    apply(model, Codebook(entries=256, tables=1e9, storage="shared"))
    if np.prod(drawn.shape) <= 256:
        assert error(model, drawn.model(), drawn.x()) < 1e-4


def test_data_help() -> None:
    x, errors = images(16).x, []
    for data in (None, images()):
        model = network()
        apply(model, Codebook(entries=4), data)
        errors.append(error(model, network(), x))
    assert errors[1] < 0.7 * errors[0]


WIDE = """g (float[N,3,8,8] x) => (float[N,10] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1, b1)
    r = Relu(a)
    h = Flatten(r)
    d = Gemm<transB=1>(h, w2, b2)
    s = Relu(d)
    y = Gemm<transB=1>(s, w3, b3)
}"""


@pytest.mark.parametrize("largest", [50, 1000, 2000])
def test_a_layer_with_very_many_inputs_is_fitted_without_data(largest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Their moments would have the square of them: 5 GB for the first fully connected layer of a VGG-16."""
    monkeypatch.setattr(rows, "LARGEST", largest)
    shapes = {"w1": (16, 3, 3, 3), "b1": (16,), "w2": (100, 1024), "b2": (100,), "w3": (10, 100), "b3": (10,)}
    model = builders.model(WIDE, **{name: builders.normal(*shape) / shape[-1] ** 0.5 for name, shape in shapes.items()})
    whole = builders.run(model, x=images().x)["y"]
    result = apply(model, Codebook(entries=32), images())
    wide = [name for name, inputs in (("Gemm_3", 1024), ("Gemm_5", 100)) if inputs > largest]
    assert [note.partition(":")[0] for note in result.notes] == wide
    assert {entry.action for entry in result.decisions} == {"rewritten"}
    got = builders.run(model, x=images().x)["y"]
    assert np.linalg.norm(got - whole) < 0.1 * np.linalg.norm(whole)


def test_biases_keep_the_means() -> None:
    model, x = network(), images().x
    apply(model, Codebook(entries=4), images())
    got, wanted = builders.run(model, x=x)["y"], builders.run(network(), x=x)["y"]
    np.testing.assert_allclose(got.mean(axis=0), wanted.mean(axis=0), atol=1e-3)


def test_the_file_shrinks_and_small_layers_are_left_alone() -> None:
    model = network()
    before = to_proto(model).ByteSize()
    result = apply(model, Codebook(entries=16))
    assert to_proto(model).ByteSize() < 0.35 * before
    reasons = {decision.node: decision.reason for decision in result.decisions}
    assert "too small" not in reasons["Conv_2"]
    tiny = builders.model(
        "g (float[N,1,8,8] x) => (float[N,2,6,6] y) { y = Conv(x, w) }", w=builders.normal(2, 1, 3, 3)
    )
    result = apply(tiny, Codebook())
    assert not result.changed
    assert "too small" in result.decisions[0].reason


def test_more_entries_lose_less() -> None:
    lost: list[float] = []
    for entries in (4, 16, 64):
        result = apply(network(), Codebook(entries=entries), images())
        lost.append(sum(float(decision.figures.get("error", 0)) for decision in result.decisions))
    assert lost[0] > 2 * lost[1] > 4 * lost[2]


def test_an_engine_that_needs_constants_gets_them_and_a_note() -> None:
    model = network()
    result = apply(model, Codebook(entries=16, scales="none"), target="xavier")
    assert [node.op for node in model.graph.nodes] == [node.op for node in network().graph.nodes]
    assert len(np.unique(model.graph.nodes[2].inputs[1].values)) <= 16
    assert any("constants" in note for note in result.notes)


def test_quantize_says_why_it_leaves_such_a_weight_alone() -> None:
    model = network()
    apply(model, Codebook(entries=16), images())
    result = Quantize(samples=8).run(model.graph, Context(RunOptions(target="ort"), data=images(8)))
    reasons = [decision.reason for decision in result.decisions if decision.action == "skipped"]
    assert "its weight is not constant" in reasons
    check_graph(model)


def test_half_precision_stays() -> None:
    text = "g (float16[N,8,8,8] x) => (float16[N,16,6,6] y) { y = Conv(x, w) }"
    model = builders.model(text, w=builders.normal(16, 8, 3, 3, dtype=np.float16))
    apply(model, Codebook(entries=16))
    assert builders.node(model.graph, "Gather").inputs[0].dtype == np.float16
    assert "Conv" in [node.op for node in model.graph.nodes]


def test_scope_and_options() -> None:
    result = apply(network(), Codebook(), exclude="Conv_0")
    assert {d.node for d in result.decisions if "exclude" in d.reason} == {"Conv_0"}
    for options in ({"entries": 1}, {"entries": 257}, {"tables": 0}, {"ridge": 0}):
        with pytest.raises(ValueError, match=next(iter(options))):
            Codebook(**options)


@pytest.mark.skipif(not (SHARED / "models" / "resnet20.onnx").exists(), reason="no assets")
def test_four_bits_a_weight_without_data_keep_resnet20() -> None:
    from onnx_compress.api import load_samples

    model = load(SHARED / "models" / "resnet20.onnx")
    apply(model, Codebook(entries=16))
    preprocess = "mean=0.485,0.456,0.406:std=0.229,0.224,0.225"
    test = load_samples(model.graph, SHARED / "data" / "cifar10_test.npz", preprocess, samples=500)
    assert SampleJudge.of(model.graph, test, "accuracy").judge(model.graph).value > 0.87
    assert to_proto(model).ByteSize() < 0.16 * (SHARED / "models" / "resnet20.onnx").stat().st_size
