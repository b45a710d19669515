"""Networks that INT8 in all layers breaks, though no layer alone loses much."""

from __future__ import annotations

from typing import Any

import numpy as np
from builders import Images, model, normal
from onnx_compress.compiler.graph.copies import copy_graph
from onnx_compress.compiler.graph.io import Model, to_proto
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.passes.quantization.broken import BROKEN
from onnx_compress.passes.quantize import Quantize
from onnx_compress.runtime.quality.judge import SampleJudge

IMAGES = Images(normal(64, 4, 8, 8, seed=9))
TEXT = """
g (float[N,4,8,8] x) => (float[N,6,64] y) {
  a = Conv<pads = [1, 1, 1, 1]>(x, v)
  one = Conv<pads = [1, 1, 1, 1]>(a, w)
  two = Conv<pads = [1, 1, 1, 1]>(a, u)
  d = Sub(one, two)
  y = Reshape(d, rows)
}
"""


def network(distance: float) -> Model:
    """What comes out is the difference of two Convs, whose weights are so far apart."""
    weight = normal(6, 4, 3, 3, seed=1)
    near = weight + np.float32(distance) * normal(6, 4, 3, 3, seed=2)
    return model(TEXT, v=normal(4, 4, 3, 3, seed=3), w=weight, u=near, rows=np.array([0, 6, 64]))


def quantized(subject: Model, **options: Any) -> PassResult:
    ctx = Context(RunOptions(target="xavier"), data=IMAGES, running="quantize")
    ctx.original = copy_graph(subject.graph)
    return Quantize(**options).run(subject.graph, ctx)


def error(before: Model, after: Model) -> float:
    return SampleJudge.of(before.graph, IMAGES, "error").judge(after.graph).loss


def in_float(result: PassResult) -> list[str]:
    return [each.node for each in result.decisions if each.action == "skipped"]


def test_layers_stay_in_float_until_the_network_is_whole():
    before, after, whole = (network(0.005) for _ in range(3))
    result = quantized(after)
    assert not in_float(quantized(whole, noise=1.0))
    assert error(before, after) < BROKEN["error"] / 2 < BROKEN["error"] < error(before, whole)
    assert in_float(result)
    reasons = {each.reason for each in result.decisions if each.action == "skipped"}
    assert all("INT8 in all layers breaks the network" in reason for reason in reasons)
    (note,) = (note for note in result.notes if "would break the network" in note)
    assert "left in float" in note


def test_a_network_that_stands_int8_is_quantized_as_with_the_noise_given():
    default, given = network(1.0), network(1.0)
    assert quantized(default).notes == quantized(given, noise=0.01).notes
    assert to_proto(default).SerializeToString(deterministic=True) == to_proto(given).SerializeToString(
        deterministic=True
    )


def test_between_the_two_a_note_says_what_can_be_asked_for():
    subject = network(0.02)
    result = quantized(subject)
    assert 0.5 < error(network(0.02), subject) / BROKEN["error"] < 1
    assert not in_float(result)
    assert ["quantize:error=0.1" in note for note in result.notes] == [True]
