"""An order of channels is taken out where the layers behind it can take it in, and the outputs stay."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from onnx_compress.compiler.graph.channels.order import absorb_order
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.shapes import infer_shapes

HEAD = "g (float[2,4,6,6] x) => (float[N,a,b,c] y) { h = Conv<group=2>(x, w, bias) s = Gather<axis=1>(h, order) "
WEIGHTS = {
    "w": builders.normal(6, 2, 1, 1),
    "bias": builders.normal(6, seed=1),
    "order": np.array([3, 0, 4, 5, 1, 2]),
    "v": builders.normal(5, 6, 3, 3, seed=2),
    "deep": builders.normal(6, 1, 3, 3, seed=3),
    "halves": builders.normal(4, 3, 1, 1, seed=4),
    "slope": builders.normal(6, 1, 1, seed=5),
    "scale": np.abs(builders.normal(6, seed=6)),
    "matrix": builders.normal(6, 3, seed=7),
    "wide": builders.normal(6 * 36, 3, seed=8),
    "big": builders.normal(4, 12, 1, 1, seed=9),
    "ends": np.array([3]),
    "starts": np.array([0]),
    "axes": np.array([1]),
    "v3": builders.normal(5, 3, 1, 1, seed=10),
}


def network(tail: str, output: str = "float[N,a,b,c] y") -> Model:
    text = f"{HEAD}{tail} }}".replace("float[N,a,b,c] y", output)
    words = text.replace("(", " ").replace(")", " ").replace(",", " ").split()
    return builders.model(text, **{name: values for name, values in WEIGHTS.items() if name in words})


def absorbed(model: Model) -> bool:
    gather = next(node for node in model.graph.nodes if node.op == "Gather")
    done = absorb_order(Rewriter(model.graph), gather, infer_shapes(model.graph))
    model.graph.cleanup()
    check_graph(model)
    return done


def test_the_next_conv_reads_the_filters_in_their_order() -> None:
    model = network("r = Relu(s) y = Conv(r, v)")
    assert absorbed(model)
    assert builders.listing(model.graph) == ["h = Conv(x, w, bias)", "r = Relu(h)", "y = Conv(r, v_1)"]
    moved = model.graph.nodes[-1].inputs[1].values
    assert np.array_equal(moved[:, WEIGHTS["order"]], WEIGHTS["v"])


@pytest.mark.parametrize(
    ("tail", "output"),
    [
        ("p = PRelu(s, slope) y = Conv(p, v)", "float[N,a,b,c] y"),
        ("p = BatchNormalization(s, scale, scale, scale, scale) y = Conv(p, v)", "float[N,a,b,c] y"),
        ("p = Conv<group=6>(s, deep) q = MaxPool<kernel_shape=[2,2]>(p) y = Conv(q, v)", "float[N,a,b,c] y"),
        ("e = Sigmoid(s) p = Mul(s, e) y = Conv(p, v)", "float[N,a,b,c] y"),
        ("p = GlobalAveragePool(s) f = Flatten(p) y = Gemm(f, matrix)", "float[N,a] y"),
        ("f = Flatten(s) y = Gemm(f, wide)", "float[N,a] y"),
        ("r = Relu(s) k = Concat<axis=1>(x, s) j = Concat<axis=1>(r, s) y = Conv(j, big)", "float[N,a,b,c] y"),
    ],
)
def test_what_the_channels_pass_takes_the_order_in(tail: str, output: str) -> None:
    model, x = network(tail, output), builders.normal(2, 4, 6, 6, seed=20)
    before = builders.run(network(tail, output), x=x)["y"]
    assert absorbed(model)
    assert "Gather" not in [node.op for node in model.graph.nodes]
    assert builders.run(model, x=x)["y"] == pytest.approx(before, rel=1e-4, abs=1e-5)


@pytest.mark.parametrize(
    ("tail", "output"),
    [
        ("y = Relu(s)", "float[N,a,b,c] y"),  # an output of the model
        ("d = Conv<group=2>(x, w) p = Add(s, d) y = Conv(p, v)", "float[N,a,b,c] y"),  # a shortcut in another order
        ("y = Conv<group=2>(s, halves)", "float[N,a,b,c] y"),  # halves of the channels
        ("p = Slice(s, starts, ends, axes) y = Conv(p, v3)", "float[N,a,b,c] y"),  # some of the channels
        ("p = LRN<size=3>(s) y = Conv(p, v)", "float[N,a,b,c] y"),  # neighbours among the channels
    ],
)
def test_where_the_order_matters_it_stays(tail: str, output: str) -> None:
    model, x = network(tail, output), builders.normal(2, 4, 6, 6, seed=20)
    before = builders.run(network(tail, output), x=x)["y"]
    assert not absorbed(model)
    assert np.array_equal(builders.run(model, x=x)["y"], before)


def test_a_choice_of_channels_is_no_order() -> None:
    model = network("y = Conv(s, v)")
    gather = builders.node(model.graph, "Gather")
    Rewriter(model.graph).set_weight(gather, 1, np.array([3, 0, 4, 5, 1, 1]))
    assert not absorbed(model)
