"""The engine torch: gradients, what is refused, and whole networks."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import normal, proto, run
from onnx_compress import CompressError
from onnx_compress.runtime.training.engine import Program
from onnx_compress.runtime.training.engines import find_engine
from programs import block, classifier, program
from third_party import NETWORKS, Network

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from onnx_compress.runtime.training.torch_engine import TorchEngine  # noqa: E402
from onnx_compress.runtime.training.torch_program import TorchProgram  # noqa: E402

MODELS = Path(__file__).parents[3].parent / "shared" / "models"


def gradients(tried: Program, **feeds: np.ndarray) -> tuple[float, dict[str, np.ndarray]]:
    with TorchEngine(device="cpu", threads=1).open(tried) as trainer:
        loss, grads = trainer.gradients(trainer.arrays(tried.parameters), feeds)
        return loss, trainer.numpy(grads)


def loss_at(tried: Program, feeds: Mapping[str, np.ndarray], parameters: Mapping[str, np.ndarray]) -> float:
    return float(run(tried.model, **feeds, **parameters)["loss"])


def test_the_loss_is_onnxruntimes_and_gradients_are_slopes():
    tried, feeds = block()
    loss, grads = gradients(tried, **feeds)
    assert loss == pytest.approx(loss_at(tried, feeds, tried.parameters), rel=1e-5)
    for seed, (name, value) in enumerate(tried.parameters.items()):
        direction = normal(*value.shape, seed=seed) * np.float32(0.003)
        up, down = ({**tried.parameters, name: value + sign * direction} for sign in (1, -1))
        slope = (loss_at(tried, feeds, up) - loss_at(tried, feeds, down)) / 2
        assert np.vdot(grads[name], direction) == pytest.approx(slope, rel=0.03, abs=3e-6)


SMOOTH = (
    "y = Mish (w)",
    "y = Gelu (w)",
    "y = LpNormalization <axis = 1> (w)",
    "y = LRN <size = 3, alpha = 0.2> (w)",
    "y = AveragePool <kernel_shape = [3, 3], pads = [0, 1, 1, 1], strides = [2, 2], ceil_mode = 1> (w)",
    's = Constant <value_floats = [1.0, 1.0, 1.7, 0.6]> () y = Resize <mode = "linear"> (w, , s)',
    "i = Constant <value = int64[2,2] {0, -1, 2, 3}> () y = Gather <axis = 2> (w, i)",
    "s = Constant <value_ints = [-1]> () e = Constant <value_ints = [-9]> () a = Constant <value_ints = [2]> ()"
    " y = Slice (w, s, e, a, s)",
    "p = Constant <value_ints = [1, 1, 0, 2, 0, 0, 3, 0]> () y = Pad <mode = \"reflect\"> (w, p)",
    "y = Einsum <equation = \"nchw,nchv->nwv\"> (w, w)",
    "y = ReduceLogSumExp (w)",
    "k = Constant <value_int = 1> () y = CumSum <exclusive = 1, reverse = 1> (w, k)",
    "s = Constant <value_ints = [0, 2]> () e = Constant <value_ints = [1, 4]> () a = Constant <value_ints = [2, 3]> ()"
    " k = Slice (w, s, e, a) t = Transpose <perm = [1, 0, 2, 3]> (k)"
    " y = ConvTranspose <strides = [2, 1], output_padding = [1, 0]> (w, t)",
)  # fmt: skip


@pytest.mark.parametrize("nodes", SMOOTH)
def test_gradients_of_operators(nodes: str):
    """In double precision, by torch.autograd.gradcheck."""
    model = proto(f"g (double[2,3,4,5] w) => (y) {{ {nodes} }}", opset=20)
    w = torch.tensor(normal(2, 3, 4, 5), dtype=torch.float64, requires_grad=True)
    compiled = TorchProgram(model, {"w": w.detach()})
    assert torch.autograd.gradcheck(lambda value: compiled.run([value])[0], (w,))


QUANTIZED = """
g (float[6] w, float s) => (float loss) {
    z = Constant <value = int8 {3}> ()
    q = QuantizeLinear (w, s, z)
    y = DequantizeLinear (q, s, z)
    c = Constant <value_floats = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]> ()
    t = Mul (y, c)
    loss = ReduceSum <keepdims = 0> (t)
}"""


def test_quantizers_pass_the_gradient_inside_the_range_and_stop_it_outside():
    w, s = np.float32([0.24, -0.31, 12.34, 12.6, -13.06, -13.2]), np.float32(0.1)
    loss, grads = gradients(program(QUANTIZED, w=w, s=s))
    assert loss == pytest.approx(0.2 - 0.6 + 3 * 12.3 + 4 * 12.4 - 5 * 13.1 - 6 * 13.1, rel=1e-5)
    np.testing.assert_array_equal(grads["w"], [1, 2, 3, 0, 5, 0])
    steps = np.array([2 - 2.4, -3 + 3.1, 123 - 123.4, 124, -131 + 130.6, -131])
    assert grads["s"] == pytest.approx(steps @ np.arange(1, 7), rel=1e-4)


def test_a_parameter_of_two_nodes_gets_the_sum():
    nodes = "a = Mul (w, x) b = Mul (a, w) loss = ReduceSum <keepdims = 0> (b)"
    tried = f"g (float[2] w, float[2] x) => (float loss) {{ {nodes} }}"
    loss, grads = gradients(program(tried, w=np.float32([1, 2])), x=np.float32([3, 5]))
    assert loss == 23
    np.testing.assert_array_equal(grads["w"], [6, 20])


def test_a_parameter_that_the_loss_does_not_need_gets_zeros():
    unused = (
        "g (float[2] w, float[2] v, float[2] x) => (float loss) { a = Mul (w, x) loss = ReduceSum <keepdims = 0> (a) }"
    )
    _, grads = gradients(program(unused, w=np.float32([1, 2]), v=np.float32([1, 2])), x=np.float32([3, 5]))
    np.testing.assert_array_equal(grads["v"], [0, 0])
    constant = "g (float[2] v, float[2] x) => (float loss) { loss = ReduceSum <keepdims = 0> (x) }"
    loss, grads = gradients(program(constant, v=np.float32([1, 2])), x=np.float32([3, 5]))
    assert loss == 8
    np.testing.assert_array_equal(grads["v"], [0, 0])


def test_arrays_and_gradients_leave_the_parameters_as_they_are():
    tried, feeds = block()
    with find_engine("torch").open(tried) as trainer:
        parameters = trainer.arrays(tried.parameters)
        trainer.gradients(parameters, feeds)
        for name, value in trainer.numpy(parameters).items():
            np.testing.assert_array_equal(value, tried.parameters[name])
            assert value.flags.c_contiguous


REFUSED = (
    ("a, b, c = LSTM <hidden_size = 2> (x, x, x) loss = ReduceSum (a)", "LSTM a: operator LSTM is not in"),
    ("y = BatchNormalization <training_mode = 1> (x, v, v, v, v) loss = ReduceSum (y)", "statistics of the batch"),
    ("y, i = MaxPool <kernel_shape = [1]> (x) f = Cast <to = 1> (i) loss = ReduceSum (f)", "its output 2 is not supp"),
    ("i = Cast <to = 7> (v) y = Reshape (x, i) loss = ReduceSum (y)", "input i is computed from the data"),
    ('s = Constant <value_floats = [1.0, 1.0, 2.0]> () y = Resize <mode = "cubic"> (x, , s) loss = Abs (y)', "cubic"),
)  # fmt: skip


@pytest.mark.parametrize(("nodes", "message"), REFUSED)
def test_refusals(nodes: str, message: str):
    tried = program(f"g (float[2,3,4] x, float[3] v) => (float loss) {{ {nodes} }}", v=np.ones(3, np.float32))
    with pytest.raises(CompressError, match=message):
        gradients(tried)


def test_batches_of_another_shape_are_refused():
    tried, feeds = block()
    with pytest.raises(CompressError, match=r"x is \(3, 3, 8, 8\), expected \(4, 3, 8, 8\)"):
        gradients(tried, **{**feeds, "x": feeds["x"][:3]})
    with pytest.raises(CompressError, match="the batch lacks target"):
        gradients(tried, x=feeds["x"])


def forward_equal(model: onnx.ModelProto, **feeds: np.ndarray) -> None:
    """Relative to the largest value, or to 1 where all are smaller."""
    compiled = TorchProgram(model, {name: torch.zeros_like(torch.tensor(value)) for name, value in feeds.items()})
    results = compiled.run([torch.tensor(value) for value in feeds.values()])
    for result, expected in zip(results, run(model, **feeds).values(), strict=True):
        np.testing.assert_allclose(result.numpy(), expected, rtol=0, atol=1e-4 * max(1, np.abs(expected).max()))


@pytest.mark.skipif(not MODELS.exists(), reason="the sample networks are not here")
@pytest.mark.parametrize("file", ["resnet20.onnx", "resnet20_bn_op17.onnx"])
def test_sample_networks(file: str):
    forward_equal(onnx.load(MODELS / file), input=normal(2, 3, 32, 32))


@pytest.mark.skipif(not MODELS.exists(), reason="the sample networks are not here")
def test_shapes_are_computed_once():
    tried, _ = classifier(MODELS / "resnet20.onnx", batch=2)
    inputs = {**tried.parameters, **{name: np.zeros((2, 3, 32, 32), np.float32) for name in tried.feeds[:1]}}
    inputs["target"] = np.zeros((2, 10), np.float32)
    compiled = TorchProgram(tried.model, {name: torch.tensor(value) for name, value in inputs.items()})
    operators = {step.node.op_type for step in compiled.steps}
    assert not operators & {"Shape", "Gather", "Concat", "Cast", "ConstantOfShape", "Unsqueeze", "Constant"}


SIZES = {
    "320n.onnx": (1, 3, 320, 320),
    "ch_PP-OCRv4_det_infer.onnx": (1, 3, 160, 160),
    "ch_ppocr_mobile_v2.0_cls_infer.onnx": (1, 3, 48, 192),
    "layout_cdla.onnx": (1, 3, 800, 608),
    "kaldi_conv.onnx": (1, 16000),
    "nemo128_conv.onnx": (1, 16000),
    "resample_8_16.onnx": (1, 16000),
    "whisper128_conv.onnx": (1, 16000),
}
RECURRENT = "silero-vad"


def inputs_of(network: Network, model: onnx.ModelProto) -> dict[str, np.ndarray]:
    rng, stored = np.random.default_rng(0), {tensor.name for tensor in model.graph.initializer}
    feeds: dict[str, np.ndarray] = {}
    for value in model.graph.input:
        kind = value.type.tensor_type
        dims = [max(dim.dim_value, 1) for dim in kind.shape.dim]
        if kind.elem_type == onnx.TensorProto.FLOAT and value.name not in stored:
            shape = network.shapes.get(value.name) or SIZES.get(network.file, dims)
            feeds[value.name] = rng.uniform(-1, 1, shape).astype(np.float32)
        elif value.name not in stored:
            dtype = onnx.helper.tensor_dtype_to_np_dtype(kind.elem_type)
            feeds[value.name] = np.full(dims, 16000 if value.name == "waveforms_lens" else 7, dtype)
    return feeds


@pytest.mark.slow
@pytest.mark.parametrize("network", [entry for entry in NETWORKS if entry.package != RECURRENT], ids=lambda n: n.file)
def test_networks_that_others_made(network: Network):
    model = onnx.load(network.path())
    forward_equal(model, **inputs_of(network, model))


@pytest.mark.parametrize("network", [entry for entry in NETWORKS if entry.package == RECURRENT], ids=lambda n: n.file)
def test_recurrent_networks_are_refused(network: Network):
    model = onnx.load(network.path())
    with pytest.raises(CompressError, match=r"operator (If|LSTM) is not in the engine torch"):
        inputs = {
            name: np.zeros((1, 576), np.float32) if name == "input" else v
            for name, v in inputs_of(network, model).items()
        }
        TorchProgram(model, {name: torch.tensor(value) for name, value in inputs.items()})
