from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from builders import Images, model, normal
from onnx_compress.compiler.errors import CompressError
from onnx_compress.drivers.compare import compare_models, layer_pairs

CHAIN = """g (float[N,3] x) => (float[N,3] y) {
    [a] s = Mul(x, p)
    [b] t = Mul(s, q)
    [c] y = Relu(t)
}"""


def scaled(p: float, q: float, text: str = CHAIN):
    return model(text, p=np.array(p, np.float32), q=np.array(q, np.float32))


def test_the_worst_layers_come_first_and_errors_are_relative():
    data = Images(np.abs(normal(8, 3)))
    found = compare_models(scaled(2, 3), scaled(2.2, 4.5), data, batch=3)
    assert [(entry.node, round(entry.error, 5)) for entry in found.layers] == [("b", 0.65), ("a", 0.1)]
    (output,) = found.outputs
    assert (output.tensor, output.agreement, found.samples) == ("y", 1.0, 8)
    assert output.error == pytest.approx(0.65) and output.largest == pytest.approx(3.9 * data.x.max(), rel=1e-5)


def test_equal_models_do_not_differ():
    found = compare_models(scaled(2, 3), scaled(2, 3), Images(normal(4, 3)))
    assert all(entry.error == entry.largest == 0 for entry in [*found.outputs, *found.layers])


def test_layers_are_found_by_tensor_by_node_and_by_origin():
    second = scaled(2, 3, "g (float[N,3] x) => (float[N,3] y) { [a] s2 = Mul(x, p) [e] t2 = Mul(s2, q) y = Relu(t2) }")
    first: gs.Graph = scaled(2, 3).graph
    assert [(pair.first, pair.second) for pair in layer_pairs(first, second.graph, {})] == [("s", "s2")]
    pairs = layer_pairs(first, second.graph, {"e": "b"})
    assert [(pair.first, pair.second) for pair in pairs] == [("s", "s2"), ("t", "t2")]


def test_a_conv_that_took_over_anothers_output_is_not_compared_with_what_it_wrote_before():
    folded = "g (float[N,3] x) => (float[N,3] y) { [a] t = Mul(x, p) [c] y = Relu(t) }"
    pairs = layer_pairs(scaled(2, 3).graph, model(folded, p=np.array(6, np.float32)).graph, {})
    assert [(pair.node, pair.first, pair.second) for pair in pairs] == [("b", "t", "t")]


def test_other_shapes_are_listed_not_compared():
    wide = "g (float[N,3] x) => (float[N,3] y) { t = Concat<axis=1>(x, x) y = Relu(x) }"
    same = "g (float[N,3] x) => (float[N,3] y) { t = Relu(x) y = Relu(x) }"
    found = compare_models(model(wide), model(same), Images(normal(4, 3)))
    assert (found.apart, found.layers, len(found.outputs)) == (["t"], [], 1)


def test_models_of_another_task_are_refused():
    two = model("g (float[N,3] x) => (float[N,3] y, float[N,3] z) { y = Relu(x) z = Abs(x) }")
    with pytest.raises(CompressError, match="1 and 2 outputs"):
        compare_models(scaled(1, 1), two, Images(normal(2, 3)))
