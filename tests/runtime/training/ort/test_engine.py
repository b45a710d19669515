"""The ort engine: what passes through, what goes wrong and how it is said."""

from __future__ import annotations

import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from builders import normal, proto, run
from onnx_compress.compiler.errors import CompressError
from onnx_compress.runtime.training.engine import Program
from onnx_compress.runtime.training.ort.engine import OrtEngine, OrtTrainer
from onnx_compress.runtime.training.ort.process import worded
from ort_environment import ort_engine

LINEAR = "g (float[3,2] w, float[4,3] x, int64[4] k) => (float loss) { %s loss = ReduceSum<keepdims=0>(z) }"
SUM = LINEAR % "y = MatMul(x, w) i = Cast<to=1>(k) c = Reshape(i, column) z = Mul(y, c)"
COLUMN = np.array([4, 1])


def program(body: str = SUM, **constants: np.ndarray) -> Program:
    constants = constants or {"column": COLUMN}
    return Program(proto(body, **constants), {"w": normal(3, 2)})


def feeds(seed: int) -> dict[str, np.ndarray]:
    return {"x": normal(4, 3, seed=seed), "k": np.array([1, 0, 2, -1])}


def test_every_step_is_of_its_own_parameters_and_batch():
    with ort_engine().open(program()) as trainer:
        first = trainer.gradients({"w": normal(3, 2)}, feeds(1))
        second = trainer.gradients({"w": normal(3, 2, seed=5)}, feeds(2))
    for (loss, gradients), weight, batch in ((first, normal(3, 2), feeds(1)), (second, normal(3, 2, seed=5), feeds(2))):
        scaled = batch["x"] * batch["k"][:, None]
        assert loss == pytest.approx(float((scaled @ weight).sum()), rel=1e-4)
        np.testing.assert_allclose(gradients["w"], np.repeat(scaled.sum(0)[:, None], 2, 1), rtol=1e-5)


def test_a_parameter_that_is_not_read_has_the_gradient_zero():
    text = "g (float[3] w, float[3] v) => (float loss) { loss = ReduceSum<keepdims=0>(w) }"
    parameters = {"w": normal(3), "v": normal(3)}
    with ort_engine().open(Program(proto(text), parameters)) as trainer:
        gradients = trainer.gradients(parameters, {})[1]
    assert gradients["w"].tolist() == [1, 1, 1] and gradients["v"].tolist() == [0, 0, 0]


def test_arrays_are_copies_of_the_same_type():
    engine = ort_engine()
    with engine.open(program()) as trainer:
        values = {"w": normal(3, 2)}
        arrays = trainer.arrays(values)
        arrays["w"] += 1
        back = trainer.numpy(arrays)
        arrays["w"] += 1
    assert np.array_equal(values["w"], normal(3, 2)) and np.array_equal(back["w"], normal(3, 2) + 1)


def test_an_array_of_another_shape():
    with ort_engine().open(program()) as trainer, pytest.raises(CompressError, match=r"x: expected \(4, 3\)"):
        trainer.gradients({"w": normal(3, 2)}, {"x": normal(5, 3), "k": np.zeros(4, np.int64)})


def test_a_batch_that_is_not_whole():
    with ort_engine().open(program()) as trainer, pytest.raises(CompressError, match="k: the batch does not have it"):
        trainer.gradients({"w": normal(3, 2)}, {"x": normal(4, 3)})


def pair(scale: np.ndarray, zero: np.ndarray) -> Program:
    body = "q = QuantizeLinear<axis=1>(x, s, o) y = DequantizeLinear<axis=1>(q, s, o) e = Mul(y, y)"
    text = f"g (float[2,3,4] x) => (float loss) {{ {body} loss = ReduceSum<keepdims=0>(e) }}"
    return Program(proto(text, s=scale, o=zero), {"x": 2 * normal(2, 3, 4)})


@pytest.mark.parametrize(
    ("scale", "zero"),
    [
        (np.float32(0.02), np.int8(0)),
        (np.float32(0.01), np.uint8(100)),
        (np.array([0.1, 0.02, 0.005], np.float32), np.zeros(3, np.int8)),
    ],
    ids=["per tensor", "zero point", "per channel"],
)
def test_pairs_round_forward_and_are_straight_backward(scale: np.ndarray, zero: np.ndarray):
    """The gradient of the sum of y squared is 2 y inside the range and 0 outside."""
    made = pair(np.asarray(scale), np.asarray(zero))
    x, codes = made.parameters["x"], np.iinfo(zero.dtype)
    step, offset = (np.reshape(value, (1, -1, 1)).astype(np.float32) for value in (scale, zero))
    low, high = (codes.min - offset) * step, (codes.max - offset) * step
    with ort_engine().open(made) as trainer:
        loss, gradients = trainer.gradients(made.parameters, {})
    assert loss == pytest.approx(float(run(made.model, x=x)["loss"]), rel=1e-5)
    rounded = (np.clip(np.rint(x / step) + offset, codes.min, codes.max) - offset) * step
    inside = (x >= low) & (x <= high)
    assert 0 < inside.sum() < x.size
    np.testing.assert_allclose(gradients["x"], np.where(inside, 2 * rounded, 0), rtol=1e-5, atol=1e-6)


def test_an_int8_layer_is_computed_in_floats():
    """Of the sum of a product with codes that would saturate in 16 bits, every term counts."""
    left = "q = QuantizeLinear(x, s, o) y = DequantizeLinear(q, s, o)"
    body = f"{left} p = QuantizeLinear(w, s, n) v = DequantizeLinear(p, s, n)"
    text = (
        f"g (float[1,8] x, float[8,1] w) => (float loss) {{ {body} z = MatMul(y, v) loss = ReduceSum<keepdims=0>(z) }}"
    )
    model = proto(text, s=np.array(1, np.float32), o=np.array(0, np.uint8), n=np.array(0, np.int8))
    parameters = {"w": np.full((8, 1), 127, np.float32)}
    with ort_engine().open(Program(model, parameters)) as trainer:
        assert trainer.gradients(parameters, {"x": np.full((1, 8), 255, np.float32)})[0] == 8 * 127 * 255


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("y = MatMul(x, w) z = Round(y)", "Round_1: onnxruntime-training has no gradient of Round (engine=torch)"),
        ("y = MatMul(x, w) z = my.Thing(y)", "stage 'gradients': onnxruntime-training failed: "),
        ("i = Cast<to=7>(w) f = Cast<to=1>(i) z = MatMul(x, f)", "w: the loss has no slope along it (engine=torch)"),
        (
            "y = MatMul(x, w) z, m = Dropout(y, half, yes)",
            "Dropout_1: onnxruntime-training has no gradient of this Dropout",
        ),
    ],
)
def test_what_cannot_be_differentiated(body: str, said: str):
    constants = {"half": np.array(0.5, np.float32), "yes": np.array(True)}
    model = proto(LINEAR % body, domains=', "my" : 1', **constants)
    with (
        pytest.raises(CompressError, match="engine=torch") as caught,
        ort_engine().open(Program(model, {"w": normal(3, 2)})),
    ):
        pass
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_model_that_is_too_new():
    made = proto("g (float[2] w) => (float loss) { loss = ReduceSum<keepdims=0>(w) }", opset=23, ir=10)
    with pytest.raises(CompressError, match="opset 23 is newer than 21"), ort_engine().open(Program(made, {})):
        pass


def worker_of(trainer: OrtTrainer) -> int:
    return trainer._process._process.pid


@pytest.mark.skipif(sys.platform == "win32", reason="signals")
@pytest.mark.parametrize(
    ("sent", "said"), [("SIGFPE", "crashed (SIGFPE)"), ("SIGKILL", "was killed; too little memory?")]
)
def test_a_worker_that_dies(sent: str, said: str):
    with ort_engine().open(program()) as trainer:
        trainer.gradients({"w": normal(3, 2)}, feeds(1))
        os.kill(worker_of(trainer), getattr(signal, sent))
        with pytest.raises(CompressError) as caught:
            trainer.gradients({"w": normal(3, 2)}, feeds(1))
    assert str(caught.value) == f"stage 'step': onnxruntime-training {said} (a smaller batch, or engine=torch)"


def test_no_worker_is_left():
    with ort_engine().open(program()) as trainer:
        process = trainer._process._process
    assert process.poll() == 0


def fake(folder: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> OrtEngine:
    """An engine whose worker is another script."""
    worker = folder / "worker.py"
    worker.write_text(script)
    monkeypatch.setattr(f"{worded.__module__}.WORKER", worker)
    return OrtEngine(python=Path(sys.executable))


def test_a_worker_that_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    engine = replace(fake(tmp_path, "import time; time.sleep(60)", monkeypatch), start=0.2)
    with pytest.raises(CompressError, match=r"stage 'start': .* was stopped after 0.2 s"), engine.open(program()):
        pass


def test_a_worker_that_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    engine = fake(tmp_path, "import sys; sys.exit('no such library')", monkeypatch)
    with pytest.raises(CompressError, match=r"ended: no such library \("), engine.open(program()):
        pass


def test_an_interpreter_that_is_none(tmp_path: Path):
    with (
        pytest.raises(CompressError, match="nowhere: cannot be run"),
        OrtEngine(python=tmp_path / "nowhere").open(program()),
    ):
        pass


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "[ONNXRuntimeError] : 9 : NOT_IMPLEMENTED : Could not find an implementation for FooGrad(1) node with name "
            "'up/Foo_Grad/FooGrad_0'",
            "up/Foo: onnxruntime-training has no gradient of Foo (engine=torch)",
        ),
        (
            "GetGradientDefsImpl() const GradientBuilder is not implemented for CUDA Pow's input exponent.",
            "onnxruntime-training has no gradient of Pow's input exponent (engine=torch)",
        ),
        ("one\ntwo", "stage 'load': onnxruntime-training failed: one two (engine=torch)"),
    ],
)
def test_what_the_library_says(text: str, said: str):
    assert str(worded(text, "load")) == said
