"""The engines agree: loss and gradients of one step."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from builders import normal
from onnx_compress.runtime.training.engine import Program
from onnx_compress.runtime.training.engines import find_engine
from programs import block, classifier, program
from training_stand_ins import installed

MODELS = Path(__file__).parents[3].parent / "shared" / "models"

for name in ("torch", "ort"):
    if not installed(name):
        pytest.skip(f"the engine {name} is not installed", allow_module_level=True)


def step(engine: str, program: Program, feeds: dict[str, np.ndarray]) -> tuple[float, dict[str, np.ndarray]]:
    with find_engine(engine).open(program) as trainer:
        loss, gradients = trainer.gradients(trainer.arrays(program.parameters), feeds)
        return loss, trainer.numpy(gradients)


def agree(program: Program, feeds: dict[str, np.ndarray]) -> None:
    """Gradients to a thousandth of the largest entry of their tensor."""
    loss, gradients = step("torch", program, feeds)
    expected, others = step("ort", program, feeds)
    assert loss == pytest.approx(expected, rel=1e-3)
    assert gradients.keys() == others.keys() == program.parameters.keys()
    for name, value in gradients.items():
        np.testing.assert_allclose(value, others[name], rtol=1e-3, atol=1e-3 * np.abs(others[name]).max(), err_msg=name)


MIXED = """
g (float[2,3,9,8] x, float[4,3,3,3] w, float[4] b, float[4] a) => (float loss) {
    s = Constant <value_floats = [0.01, 0.02, 0.005, 0.015]> ()
    z = Constant <value = int8[4] {0, 3, -2, 0}> ()
    q = QuantizeLinear <axis = 0> (w, s, z)
    v = DequantizeLinear <axis = 0> (q, s, z)
    y = Conv <auto_pad = "SAME_UPPER", strides = [2, 1]> (x, v, b)
    k = InstanceNormalization (y, a, b)
    h = HardSwish (k)
    m = MaxPool <kernel_shape = [3, 3], pads = [1, 1, 0, 1], strides = [2, 1]> (h)
    n = Constant <value_floats = [1.0, 1.0, 2.0, 2.0]> ()
    r = Resize <mode = "linear", coordinate_transformation_mode = "half_pixel"> (m, , n)
    p = Constant <value_ints = [0, 0, 1, 2, 0, 0, 1, 0]> ()
    e = Pad <mode = "edge"> (r, p)
    c = AveragePool <kernel_shape = [3, 3], ceil_mode = 1, strides = [2, 2]> (e)
    o = Softmax <axis = 1> (c)
    l = Log (o)
    f = ReduceMean <axes = [2, 3], keepdims = 0> (l)
    loss = ReduceMean <keepdims = 0> (f)
}"""


def test_less_common_operators():
    """Quantizers among them: some weights lie beyond the range."""
    parameters = {"w": normal(4, 3, 3, 3), "b": normal(4, seed=1), "a": normal(4, seed=2)}
    agree(program(MIXED, **parameters), {"x": normal(2, 3, 9, 8, seed=3)})


def test_a_residual_block():
    agree(*block())


@pytest.mark.skipif(not MODELS.exists(), reason="the sample networks are not here")
def test_resnet20():
    agree(*classifier(MODELS / "resnet20.onnx", batch=4))
