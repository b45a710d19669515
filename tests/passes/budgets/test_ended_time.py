"""The time at the end of a pipeline is that of the network that the passes behind make."""

from __future__ import annotations

import builders
import pytest
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.passes.budgets.ended_time import ended_ms, quantizes
from onnx_compress.passes.budgets.file_size import network_ms
from onnx_compress.passes.quantize import Quantize

TEXT = """g (float[N,32,28,28] x) => (float[N,64,28,28] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    r = Relu(a)
    y = Conv<pads=[1,1,1,1]>(r, w2)
}"""


def setting():
    model = builders.model(TEXT, w1=builders.normal(64, 32, 3, 3), w2=builders.normal(64, 64, 3, 3, seed=1))
    prune, quantize = parse_pipeline("prune,quantize")
    ctx = Context(data=builders.Images(builders.normal(8, 32, 28, 28)), running="prune", following=(quantize,))
    return model, prune, quantize, ctx


def test_it_is_the_time_of_the_quantized_network_and_nothing_is_changed() -> None:
    model, prune, quantize, ctx = setting()
    before = [node.op for node in model.graph.nodes]
    found = ended_ms(model.graph, ctx.state, ctx, prune.latency_model)
    assert [node.op for node in model.graph.nodes] == before and not ctx.origins and ctx.running == "prune"
    ctx.running, ctx.following = "quantize", ()
    float_ms = network_ms(prune.latency_model(ctx))(model.graph, ctx)
    quantize.run(model.graph, ctx)
    assert found == pytest.approx(network_ms(prune.latency_model(ctx))(model.graph, ctx))
    assert found != pytest.approx(float_ms)


def test_it_cannot_be_told_where_a_pass_behind_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    model, prune, _, ctx = setting()

    def fail(*_: object) -> None:
        raise CompressError("no", "here", "ever")

    monkeypatch.setattr(Quantize, "run", fail)
    assert ended_ms(model.graph, ctx.state, ctx, prune.latency_model) is None


def test_only_passes_that_quantize_on_samples_are_tried() -> None:
    _, _, _, ctx = setting()
    assert quantizes(ctx)
    ctx.following = parse_pipeline("cleanup")
    assert not quantizes(ctx)
