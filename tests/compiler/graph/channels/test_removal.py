"""What removal does to the graph around the channels."""

from __future__ import annotations

import numpy as np
import pytest
from builders import listing, model, node, normal, proto
from onnx_compress.compiler.graph.channels import Selection, find_channels, remove, widen
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.rewriter import Rewriter
from pruning import check_equal, half, prune

PLAIN = "g (float[N,2,4,4] x) => (float[N,2,4,4] y) { a = Conv(x, w) b = Relu(a) y = Conv(b, v) }"
WEIGHTS = {"w": normal(6, 2, 1, 1), "v": normal(2, 6, 1, 1)}


def first_only(source: Model, *units: int) -> Selection:
    """Remove all but `units` of the first group, in place."""
    channels = find_channels(source.graph)
    return remove(channels, {channels.groups[0]: np.array(units, int)}, Rewriter(source.graph))


def test_the_kept_filters_are_left():
    source = model(PLAIN, **WEIGHTS)
    first_only(source, 1, 4)
    first, second = (each.inputs[1].values for each in source.graph.nodes if each.op == "Conv")
    np.testing.assert_array_equal(first, WEIGHTS["w"][[1, 4]])
    np.testing.assert_array_equal(second, WEIGHTS["v"][:, [1, 4]])


def test_everything_kept_changes_nothing():
    source = model(PLAIN, **WEIGHTS)
    channels, rewriter = find_channels(source.graph), Rewriter(source.graph)
    remove(channels, {group: np.arange(group.size) for group in channels.groups}, rewriter)
    assert rewriter.edits == 0


def test_declared_shapes_follow():
    text = PLAIN.replace("y) {", "y) <float[N,6,4,4] a, float[N,6,4,4] b> {")
    source = model(text, **WEIGHTS)
    first_only(source, 0, 1, 2)
    assert [source.graph.tensors()[name].shape for name in ("a", "b", "y")] == [["N", 3, 4, 4]] * 2 + [["N", 2, 4, 4]]


def test_a_frozen_group_is_refused():
    source = model(PLAIN, **WEIGHTS)
    channels = find_channels(source.graph)
    with pytest.raises(ValueError, match="group 'Conv_2' is frozen: 'y' is an output of the model"):
        remove(channels, {channels.groups[1]: np.array([0])}, Rewriter(source.graph))


def test_nothing_becomes_empty():
    text = "g (float[N,2,4,4] x) => (float[N,2,4,4] y) { a = Conv(x, w) b, c = Split <axis=1> (a)"
    weights = {"w": normal(6, 2, 1, 1), "u": normal(2, 3, 1, 1), "v": normal(2, 3, 1, 1, seed=1)}
    source = model(text + " d = Conv(b, u) e = Conv(c, v) y = Add(d, e) }", **weights)
    channels = find_channels(source.graph)
    first = channels.groups[0]
    assert widen(channels, {first: np.array([], int)})[first].tolist() == [0, 3]
    assert widen(channels, {first: np.array([5])})[first].tolist() == [0, 5]
    assert remove(channels, {first: np.array([1])}, Rewriter(source.graph))[first].tolist() == [1, 3]
    assert node(source.graph, "Split").inputs[1].values.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("reader", "why"),
    [
        ("c = Conv(x, w)", "'c' is an output of the model"),
        ("t = Transpose <perm=[1,0,2,3]> (w) n = Conv(a, t) c = Concat<axis=1>(n, n, n)", "in another form"),
        ("k = ReduceMax <axes=[1,2,3]> (w) e = Expand(k, s) c = Reshape(e, whole)", "ReduceMax"),
    ],
)
def test_a_weight_that_something_else_needs_whole_is_kept_for_all(reader, why):
    text = f"g (float[N,2,4,4] x) => (float[N,2,4,4] y, float[N,6,4,4] c) {{ a = Conv(x, w) y = Conv(a, v) {reader} }}"
    source = model(text, **WEIGHTS, s=np.array([6, 1, 4, 4]), whole=np.array([1, 6, 4, 4]))
    assert why in str(find_channels(source.graph).groups[0].frozen)


def test_the_channels_of_all_layers_that_read_a_weight_go_together():
    text = "g (float[N,2,4,4] x) => (float[N,2,4,4] y) { a = Conv(x, w) n = Neg(x) b = Conv(n, w) c = Conv(a, v) "
    source = proto(text + "d = Conv(b, v) y = Add(c, d) }", **WEIGHTS)
    result = prune(source, half)
    check_equal(result, x=normal(2, 2, 4, 4))
    stored = {id(each.inputs[1]): each.inputs[1].shape for each in result.pruned.graph.nodes if each.op == "Conv"}
    assert sorted(stored.values()) == [(2, 3, 1, 1), (3, 2, 1, 1)]


def test_a_shared_weight_that_is_cut_alike_stays_shared():
    text = "g (float[N,2,4,4] x) => (float[N,2,4,4] y) { a = Conv(x, w) n = Neg(x) b = Conv(n, w) c = Add(a, b)"
    result = prune(proto(text + " y = Conv(c, v) }", **WEIGHTS), half)
    check_equal(result, x=normal(2, 2, 4, 4))
    first, second = [each for each in result.pruned.graph.nodes if each.op == "Conv"][:2]
    assert first.inputs[1] is second.inputs[1]


def test_quantizers_around_a_weight_stay():
    text = """g (float[N,2,4,4] x) => (float[N,2,4,4] y) {
        q = QuantizeLinear <axis=0> (w, s, z) d = DequantizeLinear <axis=0> (q, s, z) a = Conv(x, d)
        e = DequantizeLinear <axis=0> (v, t) y = Conv(a, e) }"""
    scale = np.linspace(0.01, 0.02, 6, dtype=np.float32)
    codes = np.random.default_rng(0).integers(-127, 128, (2, 6, 1, 1)).astype(np.int8)
    quantized = {"s": scale, "z": np.zeros(6, np.int8), "v": codes, "t": scale[:2]}
    result = prune(proto(text, **{**WEIGHTS, **quantized}), half)
    check_equal(result, x=normal(2, 2, 4, 4))
    ops = [each.op for each in result.pruned.graph.nodes]
    assert ops == ["QuantizeLinear", "DequantizeLinear", "Conv", "DequantizeLinear", "Conv"]
    first, last = [each for each in result.pruned.graph.nodes if each.op == "DequantizeLinear"]
    np.testing.assert_array_equal(first.inputs[1].values, scale[::2])
    assert (last.inputs[0].shape, last.inputs[1].shape) == ((2, 3, 1, 1), (2,))


@pytest.mark.parametrize("zeros", [np.float32(7), np.arange(6, dtype=np.float32).reshape(6, 1, 1, 1)])
def test_codes_and_what_scales_them_are_cut(zeros: np.ndarray):
    text = """g (float[N,2,4,4] x) => (float[N,2,4,4] y) {
        c = Cast <to = 1> (q) d = Sub(c, z) w = Mul(d, s) a = Conv(x, w)
        e = Cast <to = 1> (u) v = Mul(t, e) y = Conv(a, v) }"""
    rng = np.random.default_rng(0)
    arrays = {
        "q": rng.integers(0, 256, (6, 2, 1, 1)).astype(np.uint8),
        "z": np.asarray(zeros),
        "s": normal(6, 1, 1, 1),
        "u": rng.integers(0, 256, (2, 6, 1, 1)).astype(np.uint8),
        "t": normal(6, 1, 1),
    }
    result = prune(proto(text, **arrays), half)
    check_equal(result, x=normal(2, 2, 4, 4))
    ops = [each.op for each in result.pruned.graph.nodes]
    assert ops == ["Cast", "Sub", "Mul", "Conv", "Cast", "Mul", "Conv"]
    first, last = [each for each in result.pruned.graph.nodes if each.op == "Mul"]
    assert first.inputs[1].shape == (3, 1, 1, 1)
    assert last.inputs[0].shape == (3, 1, 1)


def test_a_transposed_weight_is_cut_where_it_is_stored():
    text = "g (float[N,2] x) => (float[N,3] y) { t = Transpose(w) h = MatMul(x, t) r = Relu(h) y = MatMul(r, v) }"
    result = prune(proto(text, w=normal(6, 2), v=normal(6, 3)), half)
    check_equal(result, x=normal(2, 2))
    assert node(result.pruned.graph, "Transpose").inputs[0].shape == (3, 2)


@pytest.mark.parametrize(
    ("bounds", "kept", "line"),
    [
        ([1, 5, 1], [0, 1, 4], "b = Slice(a, s_1, e_1, i, t)"),
        ([1, 6, 2], [0, 1, 4, 5], "b = Gather(a, Slice_1.indices)"),
    ],
)
def test_a_run_of_channels_stays_a_slice(bounds: list[int], kept: list[int], line: str):
    names = dict(zip("set", ([value] for value in bounds), strict=True))
    arrays = {name: np.array(values, np.int64) for name, values in {**names, "i": [1]}.items()}
    count = len(range(6)[slice(*bounds)])
    text = "g (float[N,2,4,4] x) => (float[N,2,4,4] y) { a = Conv(x, w) b = Slice(a, s, e, i, t) y = Conv(b, v) }"
    source = model(text, w=WEIGHTS["w"], v=normal(2, count, 1, 1), **arrays)
    first_only(source, *kept)
    assert line in listing(source.graph)
    assert next(each for each in source.graph.nodes if each.name.startswith("Conv_2")).inputs[1].shape[1] == 2
