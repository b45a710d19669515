"""Networks that are in INT8 already: what is said, and what `requantize` makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import Images, model, normal, proto, run
from onnx_compress import compress
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.io import Model, from_proto, to_proto
from onnx_compress.compiler.graph.quantization.dequantize import dequantize
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.passes.quantize import Quantize

IMAGES = Images(normal(80, 4, 8, 8, seed=9))
NETWORK = """g (float[N,4,8,8] x) => (float[N,5] y) {
    a = Conv<pads = [1, 1, 1, 1]>(x, w, b) r = %s d = Conv(r, v) s = Add(d, x) t = %s
    p = GlobalAveragePool(t) f = Flatten(p) y = Gemm(f, m, c)
}"""
RELU = NETWORK % ("Relu(a)", "Relu(s)")
RELU6 = NETWORK % ("Clip(a, zero, six)", "Clip(s, zero, six)")
WEIGHTS = {
    "w": normal(6, 4, 3, 3, seed=1),
    "b": normal(6, seed=3),
    "v": normal(4, 6, 1, 1, seed=2),
    "m": normal(4, 5, seed=4),
    "c": normal(5, seed=5),
}
LIMITS = {"zero": np.array(0, np.float32), "six": np.array(6, np.float32)}
TARGETS = ("xavier", "trt10", "ort")


def quantize(subject: Model, target: str, data: Images | None = IMAGES, **options: object) -> PassResult:
    result = Quantize(**options).run(subject.graph, Context(RunOptions(target=target), data=data))
    onnx.checker.check_model(to_proto(subject))
    return result


def error(before: Model, after: Model, x: np.ndarray = IMAGES.x) -> float:
    wanted, found = (run(each, x=x)["y"].astype(np.float64) for each in (before, after))
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


def by_onnxruntime(source: onnx.ModelProto, folder: Path, **options: object) -> Model:
    """Quantized by onnxruntime's own tool."""
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, quantize_static

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter([{"x": IMAGES.x}])

        def get_next(self) -> dict[str, np.ndarray] | None:  # type: ignore[override]
            return next(self.left, None)

    before, after = folder / "before.onnx", folder / "after.onnx"
    onnx.save(source, before)
    quantize_static(before, after, Reader(), **{"quant_format": QuantFormat.QDQ, **options})
    return from_proto(onnx.load(after))


def operators(subject: Model) -> list[str]:
    return [node.op for node in subject.graph.nodes]


def unclamped(subject: Model) -> list[str]:
    return sorted(op for op in operators(subject) if op not in ("Relu", "Clip"))


@pytest.mark.parametrize("second", TARGETS)
@pytest.mark.parametrize("first", TARGETS)
def test_another_target(first: str, second: str):
    original, direct, subject = (model(RELU, **WEIGHTS) for _ in range(3))
    quantize(direct, second)
    quantize(subject, first)
    result = quantize(subject, second, requantize=True)
    assert [each.action for each in result.decisions] == ["quantized"] * 3
    assert result.notes[0].startswith("put back into float before it is quantized anew: ")
    assert error(original, subject) < 1.5 * error(original, direct) + 0.005
    assert unclamped(subject) == unclamped(direct)


def test_again_and_again():
    original, subject = model(RELU, **WEIGHTS), model(RELU, **WEIGHTS)
    for _ in range(3):
        assert quantize(subject, "xavier", requantize=True).metrics["quantized"] == 3
    assert error(original, subject) < 0.03


@pytest.mark.parametrize("target", ["xavier", "trt10"])
def test_a_relu_that_saturation_took_up_comes_back_as_a_clip(target: str):
    """What is read back is the network as it was, also where the tensor is shifted."""
    original, subject = model(RELU, **WEIGHTS), model(RELU, **WEIGHTS)
    quantize(subject, target)
    assert operators(subject).count("Relu") == 1
    dequantize(Rewriter(subject.graph, {}))
    assert [op for op in operators(subject) if op in ("Relu", "Clip")] == ["Clip", "Relu"]
    assert error(original, subject, 3 * IMAGES.x) < 0.02


def test_a_network_in_float_is_quantized_as_without():
    one, other = model(RELU, **WEIGHTS), model(RELU, **WEIGHTS)
    quantize(one, "xavier")
    quantize(other, "xavier", requantize=True)
    assert to_proto(one) == to_proto(other)


@pytest.mark.parametrize("text", [RELU, RELU6])
@pytest.mark.parametrize("options", [{}, {"per_channel": True}, {"extra_options": {"DedicatedQDQPair": True}}])
@pytest.mark.parametrize("target", TARGETS)
def test_activations_that_a_quantizer_left_out_come_back(
    text: str, options: dict[str, object], target: str, tmp_path: Path
):
    """The range of a pair does their work."""
    given = {**WEIGHTS, **(LIMITS if text == RELU6 else {})}
    if text == RELU6:
        given["w"] = 3 * given["w"]
    original = proto(text, **given)
    subject, direct = by_onnxruntime(original, tmp_path, **options), from_proto(original)
    assert not {"Relu", "Clip"} & set(operators(subject))
    quantize(direct, target)
    result = quantize(subject, target, requantize=True)
    assert result.metrics["quantized"] == 3
    assert error(from_proto(original), subject) < error(from_proto(original), direct) + 0.02
    assert operators(subject).count("Clip" if text == RELU6 else "Relu") == (2 if target == "ort" else 1)
    larger = 3 * IMAGES.x
    assert error(from_proto(original), subject, larger) < error(from_proto(original), direct, larger) + 0.03


def test_what_is_never_negative_needs_no_relu(tmp_path: Path):
    subject = model(RELU, **WEIGHTS)
    quantize(subject, "ort")
    dequantize(Rewriter(subject.graph, {}))
    assert sorted(operators(subject)) == sorted(operators(model(RELU, **WEIGHTS)))
    assert error(model(RELU, **WEIGHTS), subject) < 0.03


def test_outputs_keep_their_names():
    text = """g (float[N,4,8,8] x) => (float[N,4,8,8] y, float[N,4,8,8] z) {
        a = Conv(x, v) q = QuantizeLinear(a, s, o) y = DequantizeLinear(q, s, o) e = DequantizeLinear(q, s, o)
        z = Relu(e) p = QuantizeLinear(x, s, o) h = DequantizeLinear(p, s, o) n = Sigmoid(h)
    }"""
    given = {"v": normal(4, 4, 1, 1), "s": np.array(0.1, np.float32), "o": np.array(0, np.int8)}
    before, after = model(text, **given), model(text, **given)
    assert dequantize(Rewriter(after.graph, {})) == (0, 2)
    wanted, found = run(before, x=IMAGES.x), run(after, x=IMAGES.x)
    assert all(np.abs(wanted[name] - found[name]).max() < 0.11 for name in "yz")
    assert not {"QuantizeLinear", "DequantizeLinear"} & set(operators(after))


def test_without_data_it_is_refused():
    subject = model(RELU, **WEIGHTS)
    quantize(subject, "xavier")
    before = to_proto(subject)
    with pytest.raises(CompressError, match="requantize needs data"):
        quantize(subject, "ort", None, requantize=True)
    assert to_proto(subject) == before


def test_what_is_said_of_a_network_in_int8():
    subject = model(RELU, **WEIGHTS)
    quantize(subject, "xavier")
    result = quantize(subject, "xavier")
    assert not result.changed
    (note,) = result.notes
    assert note.startswith("3 of 3 layers are in INT8 already") and "quantize:requantize=true" in note


def test_weights_that_are_moved_behind_their_scales_are_quantized_too():
    text = """g (float[N,4] x) => (float[N,5] y) { d = DequantizeLinear(k, s, o) t = Transpose(d) y = MatMul(x, t) }"""
    given = {"k": np.arange(20, dtype=np.int8).reshape(5, 4), "s": np.float32(0.1), "o": np.int8(0)}
    given = {name: np.asarray(value) for name, value in given.items()}
    images = Images(normal(40, 4))
    subject, again = model(text, **given), model(text, **given)
    assert not quantize(subject, "xavier", images).changed
    assert quantize(again, "xavier", images, requantize=True).metrics["quantized"] == 1
    assert error(subject, again, images.x) < 0.02


@pytest.mark.parametrize("requantize", [True, False])
def test_integer_operators_are_not_read_back(requantize: bool, tmp_path: Path):
    from onnxruntime.quantization import QuantFormat

    subject = by_onnxruntime(proto(RELU, **WEIGHTS), tmp_path, quant_format=QuantFormat.QOperator)
    result = Quantize(requantize=requantize).run(subject.graph, Context(data=IMAGES))
    assert any("layers compute in integers by operators that are not read back" in note for note in result.notes)
    assert any("QLinearConv" in note for note in result.notes)


def test_scales_per_block_are_not_read_back():
    text = (
        "g (float[N,8] x) => (float[N,4] y) { d = DequantizeLinear<axis = 0, block_size = 4>(k, s) y = MatMul(x, d) }"
    )
    given = {"k": np.ones((8, 4), np.int8), "s": np.ones((2, 4), np.float32)}
    result = Quantize(requantize=True).run(
        model(text, opset=21, ir=10, **given).graph, Context(data=Images(normal(8, 8)))
    )
    (decision,) = result.decisions
    assert decision.reason.startswith("its weight is not read back: the scales of ") and "per block" in decision.reason
    assert not result.changed


def test_no_cache_beside_pairs():
    subject = model(RELU, **WEIGHTS)
    quantize(subject, "xavier")
    with pytest.raises(CompressError, match="ignores the cache of a network with Q/DQ pairs"):
        quantize(subject, "xavier", form="cache")
    result = quantize(subject, "xavier", form="cache", requantize=True)
    assert result.metrics["tensors"] > 3 and "QuantizeLinear" not in operators(subject)


def test_a_whole_run(tmp_path: Path):
    first = compress(proto(RELU, **WEIGHTS), "quantize", data=IMAGES.x)
    second = compress(first.proto, "quantize:requantize=true", data=IMAGES.x, target="ort")
    assert error(model(RELU, **WEIGHTS), second.model) < 0.03
    (entry,) = (each for each in second.report["passes"] if each["name"] == "quantize")
    assert {each["action"] for each in entry["decisions"]} == {"quantized"}
