"""Which Convs are read by Convs alone, with at most a ReLU between."""

from __future__ import annotations

import numpy as np
import pytest
from builders import Images, model, normal, run
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.quantization.chains import find_conv_chains
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.passes.quantization.equalization import equalize
from onnx_compress.runtime.calibration import channel_peaks

WEIGHTS = {
    "w": normal(6, 4, 1, 1, seed=1) * np.float32([1, 10, 0.5, 1, 20, 3]).reshape(-1, 1, 1, 1),
    "b": np.abs(normal(6, seed=2)) + 0.5,
    "v": normal(6, 6, 1, 1, seed=3),
    "deep": normal(12, 1, 3, 3, seed=4),
    "pairs": normal(3, 2, 1, 1, seed=5),
}
DEPTHWISE = "Conv<group = 6, pads = [1, 1, 1, 1]>"


def network(body: str) -> Model:
    return model(f"g (float[N,4,5,5] x) => (float[N,C,5,5] y) {{ {body} }}", **WEIGHTS)


def chains(body: str) -> dict[str, tuple[list[str], list[str], bool]]:
    """Result of the first Conv -> what its readers write, what is between, and whether no ReLU is."""
    return {
        chain.first.output.name: (
            [reader.output.name for reader in chain.readers],
            [tensor.name for tensor in chain.between],
            chain.linear,
        )
        for chain in find_conv_chains(network(body).graph, lambda _: True)
    }


@pytest.mark.parametrize(
    ("body", "found"),
    [
        ("a = Conv(x, w, b) y = Conv(a, v)", {"a": (["y"], ["a"], True)}),
        (f"a = Conv(x, w, b) r = Relu(a) y = {DEPTHWISE}(r, deep)", {"a": (["y"], ["r"], False)}),
        ("a = Conv(x, w) r = Relu(a) y = Conv<group = 3>(r, pairs)", {"a": (["y"], ["r"], False)}),
        (
            f"a = Conv(x, w) r = Relu(a) c = {DEPTHWISE}(r, deep) d = Conv(r, v) y = Concat<axis = 1>(c, d)",
            {"a": (["c", "d"], ["r"], False)},
        ),
        ("a = Conv(x, w) b = Conv(a, v) d = Sigmoid(a) y = Mul(b, d)", {}),
        ("a = Conv(x, w) r = Relu(a) b = Conv(r, v) y = Add(b, a)", {}),
        ("a = Conv(x, w) r = Clip(a) y = Conv(r, v)", {}),
        ("a = Conv(x, w) r = Relu(a) y = Relu(r)", {}),
    ],
)
def test_chains(body: str, found: dict[str, tuple[list[str], list[str], bool]]):
    assert chains(body) == found


def test_what_is_an_output_of_the_network_is_no_chain():
    text = "g (float[N,4,5,5] x) => (float[N,6,5,5] a, float[N,6,5,5] y) { a = Conv(x, w) y = Conv(a, v) }"
    assert not list(find_conv_chains(model(text, **WEIGHTS).graph, lambda _: True))


def test_one_reader_that_is_not_accepted_keeps_the_chain():
    graph = network("a = Conv(x, w) c = Conv(a, v) d = Conv(a, v) y = Add(c, d)").graph
    assert list(find_conv_chains(graph, lambda _: True))
    assert not list(find_conv_chains(graph, lambda node: node.outputs[0].name != "d"))


@pytest.mark.parametrize(
    "body",
    [
        f"a = Conv(x, w, b) r = Relu(a) y = {DEPTHWISE}(r, deep)",
        "a = Conv(x, w, b) y = Conv<group = 3>(a, pairs)",
        f"a = Conv(x, w, b) r = Relu(a) c = {DEPTHWISE}(r, deep) d = Conv(r, v) y = Concat<axis = 1>(c, d)",
        f"a = Conv(x, w, b) r = Relu(a) s = Conv(x, w, b) t = Relu(s) c = {DEPTHWISE}(r, deep) d = Conv(t, v)"
        " y = Concat<axis = 1>(c, d)",
    ],
    ids=["depthwise", "grouped", "several readers", "a weight that is shared"],
)
@pytest.mark.parametrize("data", [None, Images(normal(8, 4, 5, 5, seed=9))], ids=["without data", "with data"])
def test_equalization_changes_nothing_in_float(body: str, data: Images | None):
    before, after = network(body), network(body)
    assert equalize(Rewriter(after.graph, {}), lambda _: True, data, through_relu=True) == 1
    x = normal(8, 4, 5, 5, seed=9)
    np.testing.assert_allclose(run(after, x=x)["y"], run(before, x=x)["y"], rtol=1e-4, atol=1e-4)
    if data is not None:
        names = [tensor.name for tensor in next(find_conv_chains(after.graph, lambda _: True)).between]
        peaks = np.max(list(channel_peaks(after.graph, names, data, 8).values()), axis=0)
        np.testing.assert_allclose(peaks, np.full(6, peaks.max()), rtol=1e-4)
