"""One placement rule, one test: exact positions of the pairs on small models."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from builders import model, normal
from onnx_compress.compiler.graph.quantization.qdq import Placement, QuantizedTensor, place
from onnx_compress.compiler.graph.quantization.quantizable import channel_axis, unsupported_reason

W3 = {"w": normal(4, 4, 3, 3), "v": normal(4, 4, 1, 1), "u": normal(4, 4, 1, 1)}
X = "float[N,4,8,8] x"
Y = "float[N,4,H,W] y"


def placed(graph: gs.Graph) -> Placement:
    return place(graph, lambda node: unsupported_reason(node) is None)


def activations(text: str, **weights: np.ndarray) -> list[list[str]]:
    """Groups of sites, each as `tensor -> reader:index reader:index`."""
    return [[line(site) for site in group] for group in placed(model(text, **weights).graph).activations]


def line(site: QuantizedTensor) -> str:
    return f"{site.tensor.name} -> {' '.join(f'{node.outputs[0].name}:{index}' for node, index in site.slots)}"


def conv_graph(body: str, inputs: str = X, **weights: np.ndarray) -> list[list[str]]:
    return activations(f"g ({inputs}) => ({Y}) {{ {body} }}", **(W3 | weights))


def test_rule_1_inputs_of_layers_and_no_outputs():
    text = f"g ({X}) => (float[N,M] y) {{ c = Conv(x, w) f = Flatten(c) m = MatMul(f, a) y = Gemm(m, b) }}"
    weights = W3 | {"a": normal(144, 5), "b": normal(5, 2)}
    assert activations(text, **weights) == [["x -> c:0"], ["f -> m:0"], ["m -> y:0"]]
    sites = placed(model(text, **weights).graph).weights
    assert [line(site) for site in sites] == ["w -> c:1", "a -> m:1", "b -> y:1"]


def test_rule_1_bias_stays():
    text = f"g ({X}) => ({Y}) {{ y = Conv(x, w, b) }}"
    assert [line(site) for site in placed(model(text, b=normal(4), **W3).graph).weights] == ["w -> y:1"]


def test_rule_2_one_pair_serves_all_quantized_readers():
    assert conv_graph("a = Conv(x, v) b = Conv(x, u) s = Sigmoid(x) t = Mul(a, s) y = Sub(t, b)") == [["x -> a:0 b:0"]]


def test_rule_2_a_shared_weight_has_one_pair():
    sites = placed(model(f"g ({X}) => ({Y}) {{ a = Conv(x, v) y = Conv(a, v) }}", **W3).graph).weights
    assert [line(site) for site in sites] == ["v -> a:1 y:1"]


def test_rule_2_a_weight_shared_over_two_axes_has_two():
    text = "g (float[N,4] x) => (float[N,4] y) { a = Gemm(x, w) y = Gemm<transB = 1>(a, w) }"
    assert [line(site) for site in placed(model(text, w=normal(4, 4)).graph).weights] == ["w -> a:1", "w -> y:1"]


@pytest.mark.parametrize(("operands", "slot"), [("c, r", 1), ("r, c", 0)])
def test_rule_3_only_the_shortcut(operands: str, slot: int):
    found = conv_graph(f"r = Relu(x) a = Conv(r, v) b = Relu(a) c = Conv(b, u) y = Add({operands})")
    assert found == [["r -> a:0 " + f"y:{1 - operands.split(', ').index('c')}"], ["b -> c:0"]]
    assert f"y:{slot}" in found[0][0]


def test_rule_3_of_two_convs_the_shorter_branch():
    found = conv_graph("a = Conv(x, v) b = Relu(a) c = Conv(b, u) d = Conv(x, v) y = Add(c, d)")
    assert found == [["x -> a:0 d:0"], ["b -> c:0"], ["d -> y:1"]]


def test_rule_3_a_conv_with_other_readers_is_not_fused():
    assert conv_graph("a = Conv(x, v) b = Relu(a) c = Add(a, x) y = Mul(b, c)") == [["x -> a:0"]]


def test_rule_3_adds_without_a_quantized_conv():
    assert conv_graph("a = Conv(x, v) b = Relu(a) c = Sigmoid(a) y = Add(b, c)") == [["x -> a:0"]]


def test_rule_3_the_shortcut_moved_by_slice_and_pad():
    weights = {
        "starts": np.array([0]), "ends": np.array([2]), "axes": np.array([1]),
        "pads": np.array([0, 1, 0, 0, 0, 1, 0, 0]),
    }  # fmt: skip
    found = conv_graph("a = Conv(x, v) s = Slice(x, starts, ends, axes) p = Pad(s, pads) y = Add(a, p)", **weights)
    assert found == [["x -> a:0", "p -> y:1"]]


def test_rule_4_moved_tensors_share_a_scale():
    found = conv_graph("a = Conv(x, v) m = MaxPool<kernel_shape = [1, 1]>(x) b = Conv(m, u) y = Mul(a, b)")
    assert found == [["x -> a:0", "m -> b:0"]]


def test_rule_4_no_pair_before_a_pool():
    found = conv_graph("r = Relu(x) m = MaxPool<kernel_shape = [2, 2]>(r) y = Conv(m, v)")
    assert found == [["m -> y:0"]]


def test_rule_5_concat_inputs_share_one_scale():
    found = conv_graph("a = Relu(x) b = Sigmoid(x) c = Concat<axis = 1>(a, b) y = Conv(c, w8)", w8=normal(4, 8, 1, 1))
    assert found == [["c -> y:0", "a -> c:0", "b -> c:1"]]


def test_rule_5_nested_and_moved():
    found = conv_graph(
        "a = Relu(x) b = Sigmoid(x) c = Concat<axis = 1>(a, b) m = MaxPool<kernel_shape = [2, 2]>(c) "
        "d = Concat<axis = 1>(m, m) y = Conv(d, w16)",
        w16=normal(4, 16, 1, 1),
    )
    assert found == [["d -> y:0", "m -> d:0 d:1", "a -> c:0", "b -> c:1"]]


def test_rule_5_concat_that_no_layer_reads():
    assert conv_graph("a = Conv(x, v) c = Concat<axis = 1>(a, x) y = Relu(c)") == [["x -> a:0"]]


def test_rule_5_constant_operand():
    found = conv_graph(
        "c = Concat<axis = 1>(x, k) y = Conv(c, w8)", "float[1,4,8,8] x", k=normal(1, 4, 8, 8), w8=normal(4, 8, 1, 1)
    )
    assert found == [["c -> y:0"]]


@pytest.mark.parametrize("pool", ["AveragePool<kernel_shape = [2, 2]>", "GlobalAveragePool"])
def test_rule_6_average_pools_have_pairs_on_both_sides(pool: str):
    text = f"g ({X}) => (float[N,M] y) {{ r = Relu(x) p = {pool}(r) f = Flatten(p) y = Gemm(f, b) }}"
    channels = 4 if pool.startswith("Global") else 196
    assert activations(text, b=normal(channels, 3)) == [["f -> y:0"], ["r -> p:0"]]


def test_rule_6_a_pool_that_no_layer_reads():
    assert conv_graph("a = Conv(x, v) y = GlobalAveragePool(a)") == [["x -> a:0"]]


def test_rule_7_quantized_tensors_are_left_alone():
    weights = {"s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    body = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) a = Conv(d, v) b = Conv(x, u) c = Relu(b) "
    assert conv_graph(body + "e = Conv(c, v) y = Mul(a, e)", **weights) == [["c -> e:0"]]


def test_only_accepted_layers():
    graph = model(f"g ({X}) => ({Y}) {{ a = Conv(x, v) y = Conv(a, u) }}", **W3).graph
    found = place(graph, lambda node: node.outputs[0].name == "y")
    assert [line(site) for group in found.activations for site in group] == ["a -> y:0"]
    assert [line(site) for site in found.weights] == ["u -> y:1"]


@pytest.mark.parametrize(
    ("op", "axis"), [("Conv", 0), ("ConvTranspose", 1), ("Gemm", 1), ("Gemm<transB = 1>", 0), ("MatMul", 1)]
)
def test_channel_axis(op: str, axis: int):
    graph = model(f"g (float[N,4] x) => (float[N,4] y) {{ y = {op}(x, w) }}", w=normal(4, 4)).graph
    assert channel_axis(graph.nodes[0]) == axis


@pytest.mark.parametrize(
    ("op", "weight", "reason"),
    [
        pytest.param("ConvTranspose(x, w)", normal(4, 4, 3, 3), "ConvTranspose", id="ConvTranspose"),
        pytest.param("Conv(x, x)", normal(1), "not constant", id="dynamic"),
        pytest.param("Conv(x, w)", normal(4, 4, 1, 1, dtype=np.float64), "float64", id="double"),
        pytest.param("MatMul(x, w)", normal(1, 1, 8, 8), "4 dimensions", id="batched MatMul"),
        pytest.param("Conv<group = 2>(x, w)", normal(4, 2, 1, 1), "multiples of 4", id="small groups"),
    ],
)
def test_refusals(op: str, weight: np.ndarray, reason: str):
    graph = model(f"g ({X}) => (float y) {{ y = {op} }}", w=weight).graph
    assert reason in (unsupported_reason(graph.nodes[0], 4) or "")


def test_refusal_of_weights_that_a_pass_left_broken():
    graph = model(f"g ({X}) => (float y) {{ y = Conv(x, v) }}", **W3).graph
    graph.nodes[0].inputs[1] = gs.Constant("nan", np.full((4, 4, 1, 1), np.nan, np.float32))
    assert "NaN" in (unsupported_reason(graph.nodes[0]) or "")


@pytest.mark.parametrize(("op", "shape"), [("Conv<group = 4>", (4, 1, 1, 1)), ("Conv<group = 2>", (8, 4, 1, 1))])
def test_depthwise_and_wide_groups_pass(op: str, shape: tuple[int, ...]):
    graph = model(f"g ({X}) => (float y) {{ y = {op}(x, w) }}", w=normal(*shape)).graph
    assert unsupported_reason(graph.nodes[0], 4) is None


def closed(body: str, **weights: np.ndarray) -> list[list[str]]:
    graph = model(f"g ({X}) => ({Y}) {{ {body} }}", **(W3 | weights)).graph
    found = place(graph, lambda node: unsupported_reason(node) is None, closed=True)
    return [[line(site) for site in group] for group in found.activations]


def test_rule_8_one_pair_serves_all_readers():
    assert closed("a = Conv(x, v) s = Sigmoid(x) y = Mul(a, s)") == [["x -> a:0 s:0"]]


def test_rule_9_results_of_convs():
    after_relu = closed("a = Conv(x, v) r = Relu(a) s = Sigmoid(r) m = Mul(r, s) y = Conv(m, u)")
    assert after_relu == [["x -> a:0"], ["m -> y:0"], ["r -> s:0 m:0"]]
    assert closed("a = Conv(x, v) s = Sigmoid(a) m = Mul(a, s) y = Conv(m, u)")[2:] == [["a -> s:0 m:0"]]


def test_rule_9_the_last_results_stay():
    assert closed("a = Conv(x, v) r = Relu(a) s = Sigmoid(r) y = Mul(r, s)") == [["x -> a:0"]]
    assert closed("y = Conv(x, v)") == [["x -> y:0"]]


def test_rule_9_residual_adds():
    body = "a = Conv(x, v) s = Add(a, x) r = Relu(s) y = Conv(r, u)"
    assert closed(body) == [["x -> a:0 s:1"], ["r -> y:0"], ["a -> s:0"]]
