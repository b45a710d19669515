"""Shifted tensors are UINT8 with zero point 0, code by code."""

from __future__ import annotations

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from builders import Images, model, normal, run
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.io import Model, to_proto
from onnx_compress.compiler.graph.quantization.shifts import is_shifted
from onnx_compress.compiler.graph.weights import resolve
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.overrides import parse_override
from onnx_compress.passes.projection.grid import BIAS_CODES
from onnx_compress.passes.quantization.activation_grids import ActivationGrids
from onnx_compress.passes.quantization.shifting import Shifting
from onnx_compress.passes.quantize import Quantize
from onnx_compress.runtime.session import Session

IMAGES = Images(normal(40, 4, 8, 8, seed=9))
WEIGHTS = {
    "w": normal(4, 4, 3, 3, seed=1),
    "v": normal(4, 4, 1, 1, seed=2),
    "u": normal(4, 4, 1, 1, seed=3),
    "k": normal(4, 8, 1, 1, seed=4),
    "b": normal(4, seed=5),
    "m": normal(4, 5, seed=6),
    "zero": np.array(0, np.float32),
    "six": np.array(2, np.float32),
}
BODIES = {
    "chain": "a = Conv(x, v, b) r = Relu(a) y = Conv(r, u)",
    "clip": "a = Conv(x, v, b) r = Clip(a, zero, six) y = Conv(r, u, b)",
    "concat": "a = Conv(x, v, b) r = Relu(a) c = Conv(x, u) s = Clip(c, zero, six) d = Concat<axis = 1>(r, s)"
    " p = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(d) y = Conv(p, k)",
    "residual": "a = Conv(x, v, b) r = Relu(a) c = Conv(r, u) s = Relu(c) d = Conv(s, v) e = Add(r, d) t = Relu(e)"
    " f = Conv(t, u, b) g = Add(f, t) h = Relu(g) y = Conv(h, w)",
    "gemm": "a = Conv<strides = [8, 8]>(x, w8, b) r = Relu(a) f = Flatten(r) g = Gemm(f, n, b) s = Relu(g)"
    " y = Gemm(s, m)",
    "dead tensor": "a = Conv(x, z, low) r = Relu(a) y = Conv(r, u, b)",
    "dead channel": "a = Conv(x, half, low) r = Relu(a) y = Conv(r, u, b)",
}
OTHERS = {
    "w8": normal(4, 4, 8, 8, seed=7),
    "n": normal(4, 4, seed=8),
    "z": np.zeros((4, 4, 1, 1), np.float32),
    "half": normal(4, 4, 1, 1, seed=2) * np.float32([1, 0, 1e-9, 1]).reshape(4, 1, 1, 1),
    "low": np.float32([0.5, -1, -0.25, -2]) - 0.75,
}


def network(body: str, **weights: np.ndarray) -> Model:
    shape = "float[N,5]" if "Gemm" in body else "float[N,4,H,W]"
    return model(f"g (float[N,4,8,8] x) => ({shape} y) {{ {body} }}", **WEIGHTS, **OTHERS, **weights)


def quantize(subject: Model, *overrides: str, target: str = "xavier", **options: object) -> PassResult:
    entry = Quantize(**{"noise": 0.01} | options)
    given = tuple(parse_override(text, [entry]) for text in overrides)
    ctx = Context(RunOptions(target=target), data=IMAGES, overrides=given, running="quantize")
    result = entry.run(subject.graph, ctx)
    check_graph(subject)
    onnx.checker.check_model(to_proto(subject))
    return result


def as_unsigned(subject: Model, patch: pytest.MonkeyPatch, **options: object) -> None:
    """Quantize with the same codes, in UINT8."""
    with patch.context() as inner:
        inner.setattr(ActivationGrids, "shifts", lambda *_: [])
        inner.setattr(Shifting, "grid", lambda self, tensor: self.activations.of(tensor))
        quantize(subject, **options)


def pairs(graph: gs.Graph) -> dict[str, gs.Node]:
    """Tensor, by its name before a shift -> what rounds it."""
    found = [node for node in graph.nodes if node.op == "QuantizeLinear" and resolve(node.inputs[0]) is None]
    return {node.inputs[0].name.removesuffix(".shifted"): node for node in found}


def observed(subject: Model, x: np.ndarray) -> dict[str, np.ndarray]:
    """Codes above the lowest, by tensor, and the output `y`."""
    rounders = pairs(subject.graph)
    tensors = [*(node.outputs[0] for node in rounders.values()), *subject.graph.outputs]
    proto = to_proto(subject)
    proto.graph.output.extend(onnx.ValueInfoProto(name=tensor.name) for tensor in tensors[:-1])
    values = Session(proto, threads=1).run({"x": x})
    low = {name: np.iinfo(resolve(node.inputs[2]).dtype).min for name, node in rounders.items()}
    return {name: values[node.outputs[0].name].astype(int) - low[name] for name, node in rounders.items()} | {
        "y": values["y"]
    }


def biases(graph: gs.Graph) -> list[tuple[np.ndarray, np.ndarray]]:
    """Bias and step of every layer."""
    layers = [node for node in graph.nodes if node.op in ("Conv", "Gemm")]
    scales = [[resolve(tensor.inputs[0].inputs[1]) for tensor in node.inputs[:2]] for node in layers]
    return [(resolve(node.inputs[2]), x * w) for node, (x, w) in zip(layers, scales, strict=True)]


@pytest.mark.parametrize("target", ["xavier", "trt10"])
@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_codes_are_those_of_unsigned(body: str, target: str, monkeypatch: pytest.MonkeyPatch):
    """But for one in many where the bias of what writes them is rounded to whole steps."""
    shifted, unsigned = network(body), network(body)
    quantize(shifted, target=target)
    as_unsigned(unsigned, monkeypatch, target=target)
    assert any(is_shifted(node.inputs[0]) for node in pairs(shifted.graph).values())
    assert all(not resolve(node.inputs[2]).any() for node in pairs(shifted.graph).values())
    x = 2 * normal(8, 4, 8, 8, seed=11)
    found, wanted = observed(shifted, x), observed(unsigned, x)
    assert found.keys() == wanted.keys()
    for name, codes in wanted.items():
        if name != "y":
            assert np.abs(found[name] - codes).max() <= 1, name
            assert np.mean(found[name] != codes) < 0.01, name
    assert np.abs(found["y"] - wanted["y"]).mean() < 1e-3 * np.abs(wanted["y"]).mean() + 1e-6


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES.keys())
def test_biases_are_whole_steps_that_fit(body: str):
    subject = network(body)
    quantize(subject)
    for bias, step in biases(subject.graph):
        np.testing.assert_array_equal(bias, np.rint(bias / step) * step)
        assert np.abs(bias / step).max() <= 1.01 * BIAS_CODES


def test_a_default_session_gives_what_the_pairs_say():
    subject = network(BODIES["concat"])
    quantize(subject)
    (default,) = Session(to_proto(subject), fused=True).run({"x": IMAGES.x}).values()
    np.testing.assert_allclose(run(subject, x=IMAGES.x)["y"], default, atol=1e-2)


def test_less_error_than_without(monkeypatch: pytest.MonkeyPatch):
    original, shifted, symmetric = (network(BODIES["residual"]) for _ in range(3))
    quantize(shifted)
    monkeypatch.setattr(ActivationGrids, "_shiftable", lambda *_: [])
    quantize(symmetric)
    wanted, found, other = (run(each, x=IMAGES.x)["y"] for each in (original, shifted, symmetric))
    assert np.linalg.norm(found - wanted) < 0.75 * np.linalg.norm(other - wanted)


def test_a_writer_in_float_is_shifted_too():
    original, subject = network(BODIES["chain"]), network(BODIES["chain"])
    context = Context(RunOptions(exclude="Conv_0"), data=IMAGES)
    Quantize().run(subject.graph, context)
    assert subject.graph.nodes[0].op == "Conv"
    assert is_shifted(subject.graph.nodes[0].outputs[0])
    wanted, found = (run(each, x=IMAGES.x)["y"] for each in (original, subject))
    assert np.linalg.norm(found - wanted) < 0.01 * np.linalg.norm(wanted)


def test_what_a_layer_in_float_reads_too_keeps_its_symmetric_pair():
    """Found out when that layer leaves INT8 for what it would lose: biases are whole steps of the other scale then."""
    body = "a = Conv(x, v, b) r = Relu(a) c = Conv(r, u, b) d = Conv(r, large) y = Sub(c, d)"
    large = normal(4, 4, 1, 1, seed=10)
    before, subject = (
        model(f"g (float[N,4,8,8] x) => (float[N,4,8,8] y) {{ {body} }}", **WEIGHTS, large=large) for _ in range(2)
    )
    result = quantize(subject, "Conv_3:quantize.noise=1e-9")
    assert {each.node: each.action for each in result.decisions}["Conv_3"] == "skipped"
    (rounder,) = (node for name, node in pairs(subject.graph).items() if name == "r")
    assert not is_shifted(rounder.inputs[0])
    assert resolve(rounder.inputs[2]).dtype == np.int8
    quantized = [node for node in subject.graph.nodes if node.op == "Conv"][:2]
    for node in quantized:
        step = resolve(node.inputs[0].inputs[0].inputs[1]) * resolve(node.inputs[1].inputs[0].inputs[1])
        bias = resolve(node.inputs[2])
        np.testing.assert_array_equal(bias, np.rint(bias / step) * step)
    wanted, found = (run(each, x=IMAGES.x)["y"] for each in (before, subject))
    assert np.linalg.norm(found - wanted) < 0.02 * np.linalg.norm(wanted)


def test_pairs_for_the_dla_are_not_shifted():
    subject = network(BODIES["chain"])
    quantize(subject, target="xavier-dla", form="pairs")
    assert not any(is_shifted(node.inputs[0]) for node in pairs(subject.graph).values())


@st.composite
def bodies(draw: st.DrawFn) -> str:
    """A DAG of maps with 4 channels, of any of what may be around a shifted tensor and some that may not."""
    lines, maps = ["t0 = Conv(x, v, b)"], ["t0"]
    for number in range(1, draw(st.integers(3, 9))):
        one, other = draw(st.sampled_from(maps[-3:])), draw(st.sampled_from(maps))
        made = draw(
            st.sampled_from(
                [
                    f"Conv({one}, v, b)",
                    f"Conv({one}, u)",
                    f"Conv<pads = [1, 1, 1, 1]>({one}, w, b)",
                    f"Relu({one})",
                    f"Clip({one}, zero, six)",
                    f"MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>({one})",
                    f"Add({one}, {other})",
                    f"Sigmoid({one})",
                    f"AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>({one})",
                ]
            )
        )
        lines.append(f"t{number} = {made}")
        maps.append(f"t{number}")
    end = maps[-1]
    lines += [f"j = Concat<axis = 1>({end}, {draw(st.sampled_from(maps))})", "y = Conv(j, k)"]
    return " ".join(lines)


@given(bodies())
@settings(max_examples=12, deadline=None)
def test_any_network_is_what_unsigned_makes_of_it(body: str):
    shifted, unsigned = network(body), network(body)
    quantize(shifted, noise=1.0, balance="none")
    with pytest.MonkeyPatch.context() as patch:
        as_unsigned(unsigned, patch, noise=1.0, balance="none")
    wanted, found = (run(each, x=IMAGES.x[:8])["y"] for each in (unsigned, shifted))
    assert np.linalg.norm(found - wanted) <= 0.02 * np.linalg.norm(wanted) + 1e-5
