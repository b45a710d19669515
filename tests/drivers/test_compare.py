from __future__ import annotations

from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from builders import Images, model, normal
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.drivers.compare import Comparison, Difference, compare_models, layer_pairs
from onnx_compress.passes.quantize import Quantize

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


def test_layers_in_the_order_of_the_network():
    found = compare_models(scaled(2, 3), scaled(2.2, 3.3), Images(np.abs(normal(8, 3))), order="network")
    assert [entry.node for entry in found.layers] == ["a", "b"]
    assert [round(entry.inherited, 5) for entry in [*found.layers, *found.outputs]] == [0, 0.1, 0.21]


@pytest.mark.parametrize(("p", "q", "start"), [(2.2, 4.5, "t"), (3, 3, "s"), (2, 4.5, "t"), (2, 3, None)])
def test_the_error_starts_where_much_of_it_comes_from(p: float, q: float, start: str | None):
    assert compare_models(scaled(2, 3), scaled(p, q), Images(np.abs(normal(8, 3)))).start == start


def test_no_layer_is_the_start_where_the_error_builds_up():
    text = (
        "g (float[N,3] x) => (float[N,3] y) { a = Mul(x, p) b = Mul(a, p) c = Mul(b, p) d = Mul(c, p) y = Mul(d, p) }"
    )
    one, other = (model(text, p=np.array(each, np.float32)) for each in (1, 1.01))
    found = compare_models(one, other, Images(normal(8, 3)))
    assert (found.start, len(found.layers)) == (None, 4)


def test_a_branch_that_is_small_beside_the_sum_is_not_the_start():
    text = """g (float[N,3] x) => (float[N,3] y) {
        b = Mul(x, p) s = Add(x, b) t = Mul(s, q) y = Relu(t)
    }"""
    one, other = (
        model(text, p=np.array(p, np.float32), q=np.array(q, np.float32)) for p, q in ((0.01, 1.0), (0.02, 1.3))
    )
    found = compare_models(one, other, Images(normal(8, 3)))
    assert (found.layers[0].tensor, found.start) == ("b", "t")


def test_an_error_that_is_no_number_starts_somewhere():
    assert compare_models(scaled(2, 3), scaled(2, np.nan), Images(normal(8, 3))).start == "t"


CONVS = """g (float[N,3,6,6] x) => (float[N,4,6,6] y) {
    [a] s = Conv(x, w, b) [r] t = Relu(s) [c] u = Conv(t, v) [d] y = Sigmoid(u)
}"""
BATCHNORM = CONVS.replace("[r] t = Relu(s)", "n = BatchNormalization(s, one, zero, zero, one) [r] t = Relu(n)")
GAINS = np.array([1, 40, 3, 7, 1], np.float32)


def convs(up: np.ndarray, down: np.ndarray, text: str = CONVS, **more: Any) -> Model:
    """The channels between the Convs times `up`, and divided by `down` in the second."""
    w, v = normal(5, 3, 1, 1, seed=1) * up.reshape(-1, 1, 1, 1), normal(4, 5, 1, 1, seed=2) / down.reshape(1, -1, 1, 1)
    return model(text, w=w, b=normal(5, seed=3) * up, v=v.astype(np.float32), **more)


def differences(found: Comparison) -> dict[str, Difference]:
    return {entry.tensor: entry for entry in [*found.layers, *found.outputs]}


@pytest.mark.parametrize("text", [CONVS, BATCHNORM])
def test_scales_that_the_next_conv_undoes_are_divided_out(text: str):
    ones, zeros = np.ones(5, np.float32), np.zeros(5, np.float32)
    first = convs(ones, ones, text, **({} if text == CONVS else {"one": ones, "zero": zeros}))
    found = compare_models(first, convs(GAINS, GAINS), Images(normal(40, 3, 6, 6)), batch=7)
    layers = differences(found)
    assert {name for name, each in layers.items() if each.rescaled} == {"s", "t"}
    assert all(each.error < 1e-4 for each in layers.values())
    assert all((each.largest is None) == each.rescaled for each in layers.values())


def test_an_error_beside_the_scales_remains():
    second = convs(GAINS, GAINS)
    weight = second.graph.tensors()["w"]
    weight.values = weight.values + GAINS.reshape(-1, 1, 1, 1) * 0.1 * normal(*weight.values.shape, seed=7)
    found = compare_models(convs(*[np.ones(5, np.float32)] * 2), second, Images(normal(40, 3, 6, 6)))
    layers = differences(found)
    assert layers["s"].rescaled and layers["t"].rescaled
    assert 0.05 < layers["s"].error < 0.2 and layers["s"].inherited == 0
    assert found.start == "s"


@pytest.mark.parametrize("gain", [np.full(5, 1.5, np.float32), np.array([1, 1, 3, 1, 1], np.float32)])
def test_scales_that_nothing_undoes_are_an_error(gain: np.ndarray):
    ones = np.ones(5, np.float32)
    found = compare_models(convs(ones, ones), convs(gain, ones), Images(normal(40, 3, 6, 6)))
    assert not any(entry.rescaled for entry in found.layers)
    assert found.start == "s" and differences(found)["s"].error > 0.3


@pytest.mark.parametrize("target", ["xavier", "ort"])
def test_equalization_before_quantization_is_no_difference(target: str):
    wide, images = convs(1 / GAINS, 1 / GAINS), Images(normal(40, 3, 6, 6))
    first, second = convs(1 / GAINS, 1 / GAINS), wide
    Quantize(balance="relu").run(second.graph, Context(RunOptions(target=target), data=images))
    layers = differences(compare_models(first, second, images))
    assert {name for name, each in layers.items() if each.rescaled} == ({"t"} if target == "xavier" else {"s", "t"})
    assert all(entry.error < 0.05 for entry in layers.values())


def test_scales_that_a_depthwise_conv_and_another_undo_are_divided_out():
    text = """g (float[N,3,6,6] x) => (float[N,5,6,6] y) {
        s = Conv(x, w, b) t = Relu(s) u = Conv<group = 5, pads = [1, 1, 1, 1]>(t, d) v = Conv(t, k) r = Add(u, v)
        y = Sigmoid(r)
    }"""
    up = GAINS.reshape(-1, 1, 1, 1)
    weights = {"w": normal(5, 3, 1, 1, seed=1), "b": normal(5, seed=3)}
    readers = {"d": normal(5, 1, 3, 3, seed=2), "k": normal(5, 5, 1, 1, seed=4)}
    scaled = {
        "w": weights["w"] * up,
        "b": weights["b"] * GAINS,
        "d": readers["d"] / up,
        "k": readers["k"] / GAINS.reshape(1, -1, 1, 1),
    }
    layers = differences(
        compare_models(model(text, **weights, **readers), model(text, **scaled), Images(normal(40, 3, 6, 6)))
    )
    assert {name for name, each in layers.items() if each.rescaled} == {"s", "t"}
    assert all(each.error < 1e-4 for each in layers.values())


def test_scales_that_a_conv_undoes_behind_a_pool_and_a_concat_are_divided_out():
    text = """g (float[N,3,6,6] x) => (float[N,4,4,4] y) {
        s = Conv(x, w, b) t = Relu(s) z = Conv(x, w, b) j = Concat<axis = 1>(t, z)
        p = MaxPool<kernel_shape = [3, 3]>(j) u = Conv(p, v) y = Sigmoid(u)
    }"""
    weights = {"w": normal(5, 3, 1, 1, seed=1), "b": normal(5, seed=3), "v": normal(4, 10, 1, 1, seed=2)}
    scaled = {"w": weights["w"] * GAINS.reshape(-1, 1, 1, 1), "b": weights["b"] * GAINS}
    scaled["v"] = weights["v"] / np.tile(GAINS, 2).reshape(1, -1, 1, 1)
    found = compare_models(model(text, **weights), model(text, **scaled), Images(normal(40, 3, 6, 6)))
    layers = differences(found)
    assert {name for name, each in layers.items() if each.rescaled} == {"s", "t", "z", "j", "p"}
    assert all(each.error < 1e-4 for each in layers.values())


@pytest.mark.parametrize("target", ["xavier", "trt10"])
def test_what_int8_stores_shifted_is_compared_as_it_was(target: str):
    text = """g (float[N,4,8,8] x) => (float[N,4,6,6] y) {
        a = Conv(x, v) r = Relu(a) b = Conv(r, u) s = Relu(b) c = Conv(s, v) d = Add(c, r) t = Relu(d) y = Conv(t, w)
    }"""
    weights = {"v": normal(4, 4, 1, 1, seed=1), "u": normal(4, 4, 1, 1, seed=2), "w": normal(4, 4, 3, 3, seed=3)}
    first, second = model(text, **weights), model(text, **weights)
    data = Images(normal(40, 4, 8, 8, seed=9))
    Quantize(balance="none").run(second.graph, Context(RunOptions(target=target), data=data))
    found = compare_models(first, second, data)
    assert {entry.tensor: entry.other for entry in found.layers} == {name: f"{name}.shifted" for name in "rst"}
    assert all(entry.error < 0.03 for entry in found.layers)
