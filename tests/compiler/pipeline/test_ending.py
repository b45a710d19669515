"""A pass learns what follows it, and with it the precision in which the pipeline ends."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import builders
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.compiler.costs.latency import estimate
from onnx_compress.compiler.graph.quantization.outline import shapes_of_pairs
from onnx_compress.compiler.pipeline.base import Pass, PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.ending import ending_precision, foreseen
from onnx_compress.compiler.pipeline.manager import PassManager
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.passes.quantize import Quantize
from onnx_compress.runtime.shapes import network_shapes

NETWORK = """g (float[N,3,16,16] x) => (float[N,8] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    r = Relu(a)
    c = Conv<pads=[1,1,1,1]>(r, w2)
    d = Add(c, r)
    s = Relu(d)
    p = GlobalAveragePool(s)
    f = Flatten(p)
    y = MatMul(f, w3)
}"""


def network() -> Any:
    shapes = {"w1": (8, 3, 3, 3), "w2": (8, 8, 3, 3), "w3": (8, 8)}
    return builders.model(NETWORK, **{name: builders.normal(*shape) for name, shape in shapes.items()})


def images() -> builders.Images:
    return builders.Images(builders.normal(16, 3, 16, 16))


@dataclass(frozen=True)
class Asks(Pass):
    """Writes down what it is told."""

    name: ClassVar[str] = "asks"
    told: list[str]

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        self.told.append(ending_precision(ctx))
        return PassResult()


def test_every_pass_is_told_what_follows_it_also_where_a_run_goes_on() -> None:
    told: list[str] = []
    passes = [Asks(told), Asks(told), Quantize(), Asks(told)]
    records = PassManager(passes).run(network(), Context(data=images()))
    assert told == ["int8", "int8", "fp16"]
    PassManager(passes).run(network(), Context(data=images()), records[:1])
    assert told[3:] == ["int8", "fp16"]


@pytest.mark.parametrize(
    ("following", "with_data", "expected"),
    [
        ("quantize", True, "int8"),
        ("quantize", False, "fp16"),
        ("cleanup", True, "fp16"),
        ("cleanup,quantize", True, "int8"),
    ],
)
def test_layers_end_in_int8_where_quantize_follows_and_has_data(following: str, with_data: bool, expected: str) -> None:
    ctx = Context(data=images() if with_data else None, following=parse_pipeline(following))
    assert ending_precision(ctx) == expected


@pytest.mark.parametrize("target", ["xavier", "xavier-dla"])
@pytest.mark.parametrize("exclude", [None, "Conv_2"])
def test_what_is_foreseen_takes_what_the_quantized_network_does(target: str, exclude: str | None) -> None:
    model, ctx = network(), Context(RunOptions(target=target, exclude=exclude), data=images())
    ctx.following = (Quantize(noise=1.0),)
    shapes, seen = network_shapes(model.graph, ctx), foreseen(model.graph, ctx)
    before = builders.listing(model.graph)
    expected = estimate(seen.graph, shapes_of_pairs(seen.graph, shapes), ctx.target, precision=seen.precision)
    assert builders.listing(model.graph) == before, "the network itself stays as it is"
    PassManager(ctx.following).run(model, ctx)
    precision = "auto" if target == "xavier" else "int8"
    found = estimate(model.graph, shapes_of_pairs(model.graph, shapes), ctx.target, precision=precision)
    assert [kernel.ms for kernel in found.kernels] == [kernel.ms for kernel in expected.kernels]
    assert found.ms < estimate(network().graph, shapes, ctx.target).ms or target == "xavier"


def test_without_a_quantizer_a_network_is_seen_as_it_is() -> None:
    graph = network().graph
    seen = foreseen(graph, Context(data=images()))
    assert seen.graph is graph and seen.precision == "auto"
