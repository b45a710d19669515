"""Which tensors are shifted so that symmetric INT8 has all its codes for them, which are not, and what is rewritten."""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from builders import listing, model, normal
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.quantization.qdq import place
from onnx_compress.compiler.graph.quantization.quantizable import unsupported_reason
from onnx_compress.compiler.graph.quantization.shifts import Shift, find_shifts, write_shift
from onnx_compress.compiler.graph.rewriter import Rewriter

WEIGHTS = {
    "v": normal(4, 4, 1, 1, seed=1),
    "u": normal(4, 4, 1, 1, seed=2),
    "w": normal(4, 4, 3, 3, seed=3),
    "m": normal(4, 5, seed=4),
    "zero": np.array(0, np.float32),
    "six": np.array(6, np.float32),
}


def network(body: str, **weights: np.ndarray) -> Model:
    return model(f"g (float[N,4,8,8] x) => (float[N,4,H,W] y) {{ {body} }}", **WEIGHTS, **weights)


def found(graph: gs.Graph) -> tuple[list[Shift], dict[str, str]]:
    return find_shifts(graph, place(graph, lambda node: unsupported_reason(node) is None))


def names(shift: Shift) -> dict[str, list[str]]:
    layers = {"writers": shift.writers, "sums": shift.sums, "readers": shift.readers}
    return {key: [layer.output.name for layer in value] for key, value in layers.items() if value}


def reasons(body: str, **weights: np.ndarray) -> dict[str, str]:
    return found(network(body, **weights).graph)[1]


def written(body: str, scale: float = 0.05, **weights: np.ndarray) -> list[str]:
    subject = network(body, **weights)
    for shift in found(subject.graph)[0]:
        write_shift(Rewriter(subject.graph, {}), shift, scale)
    check_graph(subject)
    return listing(subject.graph)


def test_a_relu_between_two_layers_is_taken_out():
    body = "a = Conv(x, v) r = Relu(a) y = Conv(r, u)"
    (shift,), others = found(network(body).graph)
    assert names(shift) == {"writers": ["a"], "readers": ["y"]}
    assert list(others) == ["x"]
    assert written(body) == ["r.shifted = Conv(x, v)", "y = Conv(r.shifted, u)"]


def test_data_movement_and_max_pools_are_shifted_with_it():
    body = "a = Conv(x, v) r = Relu(a) p = MaxPool<kernel_shape = [2, 2], pads = [1, 1, 1, 1]>(r) y = Conv(p, u)"
    assert written(body)[:2] == ["r.shifted = Conv(x, v)", "p.shifted = MaxPool(r.shifted)"]


def test_a_concat_is_shifted_whole():
    body = "a = Conv(x, v) r = Relu(a) b = Conv(x, u) s = Relu(b) c = Concat<axis = 1>(r, s) y = Conv(c, k)"
    (shift,), _ = found(network(body, k=normal(4, 8, 1, 1)).graph)
    assert names(shift) == {"writers": ["a", "b"], "readers": ["y"]}
    assert [entry.tensor.name for entry in shift.group] == ["c", "r", "s"]
    assert "c.shifted = Concat(r.shifted, s.shifted)" in written(body, k=normal(4, 8, 1, 1))


def test_one_signed_operand_keeps_a_concat_as_it_is():
    body = "a = Conv(x, v) r = Relu(a) b = Conv(x, u) c = Concat<axis = 1>(r, b) y = Conv(c, k)"
    why = reasons(body, k=normal(4, 8, 1, 1))
    assert set(why) == {"x", "r", "b", "c"}
    assert why["c"] == "Conv 'Conv_2' writes it"


def test_residual_sums():
    body = (
        "a = Conv(x, v) r = Relu(a) b = Conv(r, u) s = Relu(b) c = Conv(s, v) d = Add(c, r) t = Relu(d) y = Conv(t, u)"
    )
    shifts, _ = found(network(body).graph)
    by_tensor = {shift.group[0].tensor.name: names(shift) for shift in shifts}
    assert by_tensor == {
        "r": {"writers": ["a"], "sums": ["c"], "readers": ["b"]},
        "s": {"writers": ["b"], "readers": ["c"]},
        "t": {"writers": ["c"], "readers": ["y"]},
    }
    assert "t.shifted = Add(c.shifted, r.shifted)" in written(body)


@pytest.mark.parametrize(("limit", "kept"), [(12.8, False), (12.0, True)])
def test_a_clip_goes_where_all_that_it_clips_has_the_last_code(limit: float, kept: bool):
    """255 steps of 0.05 are 12.75."""
    body = "a = Conv(x, v) r = Clip(a, zero, top) y = Conv(r, u)"
    subject = network(body, top=np.array(limit, np.float32))
    write_shift(Rewriter(subject.graph, {}), found(subject.graph)[0][0], 0.05)
    clips = [node for node in subject.graph.nodes if node.op == "Clip"]
    assert len(clips) == kept
    if kept:
        np.testing.assert_allclose([each.values for each in clips[0].inputs[1:]], [-6.4, limit - 6.4], rtol=1e-6)


def test_limits_in_attributes():
    text = (
        "g (float[N,4,8,8] x) => (float[N,4,H,W] y) { a = Conv(x, v) r = Clip<min = 0.0, max = 6.0>(a) y = Conv(r, u) }"
    )
    subject = model(text, opset=10, **WEIGHTS)
    write_shift(Rewriter(subject.graph, {}), found(subject.graph)[0][0], 0.05)
    (clip,) = (node for node in subject.graph.nodes if node.op == "Clip")
    assert clip.attrs == {"min": pytest.approx(-6.4), "max": pytest.approx(-0.4)}


@pytest.mark.parametrize(
    ("attributes", "shifted"),
    [
        ("kernel_shape = [3, 3]", True),
        ('auto_pad = "VALID"', True),
        ('auto_pad = "SAME_UPPER"', False),
        ("pads = [0, 0, 0, 1]", False),
    ],
)
def test_zeros_around_a_reader(attributes: str, shifted: bool):
    why = reasons(f"a = Conv(x, v) r = Relu(a) y = Conv<{attributes}>(r, w)")
    assert ("r" not in why) == shifted
    assert shifted or why["r"] == "'Conv_2' puts zeros around it"


def test_a_kernel_of_one_entry_has_nothing_around_it():
    assert "r" not in reasons('a = Conv(x, v) r = Relu(a) y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(r, u)')


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (
            "a = Conv(x, v) r = Relu(a) s = Sigmoid(r) b = Conv(r, u) y = Mul(b, s)",
            "Sigmoid 'Sigmoid_2' reads it in float",
        ),
        ("a = Conv(x, v) s = Neg(a) r = Relu(s) y = Conv(r, u)", "no bias moves what 'Relu_2' reads"),
        ("a = Conv(x, v) r = Relu(a) b = Conv(r, u) y = Add(b, a)", "no bias moves what 'Relu_1' reads"),
        ("a = Conv(x, v) r = Sigmoid(a) y = Conv(r, u)", "Sigmoid 'Sigmoid_1' writes it"),
        ("a = Conv(x, v) r = Clip(a, six) y = Conv(r, u)", "Clip 'Clip_1' writes it"),
        ("r = Relu(x) y = Conv(r, u)", "no bias moves what 'Relu_0' reads"),
        (
            "a = Conv(x, v) r = Relu(a) p = GlobalAveragePool(r) y = Conv(p, u)",
            "GlobalAveragePool 'GlobalAveragePool_2' reads it",
        ),
    ],
)
def test_what_cannot_be_shifted(body: str, why: str):
    assert reasons(body)["r"] == why


def test_an_output_of_the_network_stays():
    text = "g (float[N,4,8,8] x) => (float[N,4,8,8] r, float[N,4,8,8] y) { a = Conv(x, v) r = Relu(a) y = Conv(r, u) }"
    assert found(model(text, **WEIGHTS).graph)[1]["r"] == "it is an output of the network"


def test_a_bias_that_the_caller_gives_stays():
    text = "g (float[N,4,8,8] x, float[4] b) => (float[N,4,8,8] y) { a = Conv(x, v, b) r = Relu(a) y = Conv(r, u) }"
    assert found(model(text, **WEIGHTS).graph)[1]["r"] == "no bias moves what 'Relu_1' reads"


def test_what_is_moved_to_where_it_has_two_scales_stays():
    body = (
        "a = Conv(x, v) r = Relu(a) p = MaxPool<kernel_shape = [2, 2]>(r) q = MaxPool<kernel_shape = [2, 2]>(r)"
        " b = Conv(p, u) c = Conv(q, v) y = Sub(b, c)"
    )
    assert reasons(body)["p"] == reasons(body)["q"] == "it is moved to where it has another scale"


def test_a_padded_tensor_stays():
    body = "a = Conv(x, v) r = Relu(a) p = Pad(r, pads) y = Conv(p, u)"
    assert "p" in reasons(body, pads=np.array([0, 0, 1, 1, 0, 0, 1, 1]))


def test_readers_in_a_body_keep_a_tensor():
    text = """g (float[N,4,8,8] x, bool k) => (float[N,4,8,8] y) {
        a = Conv(x, v) r = Relu(a) b = Conv(r, u)
        i = If (k) <then_branch = t () => (float[N,4,8,8] o) { o = Identity(r) },
                    else_branch = e () => (float[N,4,8,8] n) { n = Identity(b) }>
        y = Add(i, b)
    }"""
    assert found(model(text, **WEIGHTS).graph)[1]["r"].endswith("reads it in float")


def test_gemms_and_flattened_tensors():
    text = """g (float[N,4,1,1] x) => (float[N,5] y) {
        a = Conv(x, v) r = Relu(a) f = Flatten(r) g = Gemm(f, n) s = Relu(g) y = Gemm%s(s, m)
    }"""
    weights = {**WEIGHTS, "n": normal(4, 4)}
    assert [names(shift) for shift in found(model(text % "", **weights).graph)[0]] == [
        {"writers": ["a"], "readers": ["g"]},
        {"writers": ["g"], "readers": ["y"]},
    ]
    assert "s" in found(model(text % "<beta = 0.5>", **weights).graph)[1]
