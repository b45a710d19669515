"""What a Conv may become depends on its own geometry alone."""

from __future__ import annotations

from dataclasses import dataclass, field

import builders
from onnx_compress.compiler.costs.workload import ConvWorkload
from onnx_compress.compiler.graph.convs import Conv, find_convs
from onnx_compress.compiler.graph.shapes import Shapes, infer_shapes
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.passes.basis import ChannelBasis, SeparableBasis
from onnx_compress.passes.budgets.costs import CostEvaluator
from onnx_compress.passes.decomposition.survey import SurveyOptions, survey

NETWORK = """g (float[1,16,32,32] x) => (float[1,16,8,8] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    b = Conv<pads=[1,1,1,1]>(a, w2)
    c = Conv<pads=[1,1,1,1], strides=[2,2]>(b, w3)
    d = Conv<pads=[1,1,1,1]>(c, w4)
    e = Conv<pads=[1,1,1,1], group=2>(d, w5)
    f = Conv<pads=[1,1,1,1]>(e, w6, bias)
    y = Conv<pads=[0,1,0,1], strides=[2,2], dilations=[1,1]>(f, w7)
}"""
SHAPES = [(16, 16, 3, 3)] * 4 + [(16, 8, 3, 3), (16, 16, 3, 3), (16, 16, 1, 3)]


@dataclass
class Counted(ChannelBasis):
    """Notes the layers whose costs it was asked for."""

    asked: list[str] = field(default_factory=list)

    def workloads(self, conv: Conv, size: int, shapes: Shapes) -> list[ConvWorkload]:
        self.asked += [conv.name] if size == 1 else []
        return super().workloads(conv, size, shapes)


def test_convs_alike_are_priced_once_and_others_on_their_own():
    weights = {f"w{i}": builders.normal(*shape, seed=i) for i, shape in enumerate(SHAPES, 1)}
    graph = builders.model(NETWORK, **weights, bias=builders.normal(16)).graph
    channel, separable = Counted(), SeparableBasis()
    found = survey(graph, Context(), SurveyOptions(lambda conv: None, [channel, separable], ["macs"], 1, 1e-3))
    convs = {conv.name: conv for conv in find_convs(graph)}
    bill = CostEvaluator(infer_shapes(graph))
    assert channel.asked == [name for i, name in enumerate(convs) if i != 1]
    for candidate in found.candidates:
        conv = convs[candidate.conv.name]
        assert candidate.choices[0].costs == bill.dense(conv)
        for choice in candidate.choices[1:]:
            form = channel if choice.form == "channel" else separable
            assert choice.costs == bill.rewritten(
                conv, lambda use, form=form, size=choice.size: form.workloads(use, size, bill.shapes)
            )
