"""NVIDIA's own parser and builder take what every pass writes, for every kind of target."""

from __future__ import annotations

from pathlib import Path

import builders
import onnx
import pytest
from onnx_compress import compress
from onnx_compress.compiler.lint import lint
from onnx_compress.compiler.pipeline.registry import BUILTIN
from onnx_compress.compiler.targets import TARGETS as ALL_TARGETS
from onnx_compress.runtime.tensorrt.rtx import EngineCheck, available, check_engine

pytestmark = pytest.mark.skipif(not available(), reason="TensorRT for RTX is not installed")

NETWORK = Path(__file__).resolve().parents[1] / "models" / "resnet20_cifar10.onnx"
TRAINING = f"{NETWORK.with_name('cifar10_sample.npz')}#train_images"
TARGETS = ("xavier", "trt10")
PASSES = [name for name in BUILTIN if name != "finetune"]  # it writes no node
UNTIMED = ("fast", "trt10")  # it needs a cost model
CASES = [(name, target) for name in PASSES for target in TARGETS if (name, target) != UNTIMED]
ASSETS = Path(__file__).resolve().parents[2] / "shared"
PIPED = "prune:macs=0.7,basis:macs=0.45,quantize"
OPTIONS = {
    "basis": "basis:rank=0.6",
    "depth": "depth:blocks=1",
    "prune": "prune:macs=0.8",
    "sbf": "sbf:macs=0.8",
    "sparse-lowrank": "sparse-lowrank:macs=0.6:form=channels",
}


def network() -> onnx.ModelProto:
    """(N, 3, 16, 16) -> (N, 10): a residual block, a depthwise and a strided Conv, pools, a Concat, a classifier."""
    text = """g (float[N,3,16,16] x) => (float[N,10] y) {
        ["stem"] a = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w0)
        b = BatchNormalization(a, scale, shift, mean, variance)
        c = Relu(b)
        ["first"] d = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(c, w1, b1)
        e = Relu(d)
        ["second"] f = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(e, w2, b2)
        g = Add(f, c)
        h = Relu(g)
        i = MaxPool<kernel_shape=[2,2], strides=[2,2]>(h)
        ["depthwise"] j = Conv<kernel_shape=[3,3], pads=[1,1,1,1], group=16>(i, w3)
        k = Clip(j, low, high)
        ["strided"] l = Conv<kernel_shape=[3,3], strides=[2,2], pads=[1,1,1,1]>(k, w4, b4)
        m = AveragePool<kernel_shape=[2,2], strides=[2,2]>(k)
        n = Concat<axis=1>(l, m)
        o = GlobalAveragePool(n)
        p = Flatten(o)
        y = Gemm<transB=1>(p, v, u)
    }"""
    weights = {name: 0.1 * builders.normal(16, 16, 3, 3, seed=i) for i, name in enumerate(("w1", "w2", "w4"))}
    weights |= {
        name: builders.normal(16, seed=i) for i, name in enumerate(("b1", "b2", "b4", "scale", "shift", "mean"))
    }
    weights |= {"w0": builders.normal(16, 3, 3, 3), "w3": builders.normal(16, 1, 3, 3)}
    weights |= {"variance": builders.normal(16) ** 2 + 1, "v": builders.normal(10, 32), "u": builders.normal(10)}
    return builders.proto(text, low=builders.normal() * 0, high=builders.normal() * 0 + 6, **weights)


def checked(path: Path) -> EngineCheck:
    found = check_engine(path)
    assert found.parsed and found.built, found.messages
    assert [line for line in found.messages if not line.startswith("warning: ")] == []
    return found


@pytest.mark.parametrize(("name", "target"), CASES)
def test_every_pass(name: str, target: str, tmp_path: Path):
    path = tmp_path / "m.onnx"
    compress(network(), OPTIONS.get(name, name), data=builders.normal(8, 3, 16, 16), target=target, output=path)
    checked(path)


def test_convs_of_one_input_as_one(tmp_path: Path):
    """With a Split that gives parts back, in INT8."""
    text = """g (float[N,8,9,9] x) => (float[N,4,9,9] a, float[N,6,9,9] b) {
        c = Conv<kernel_shape=[1,1]>(x, w1) d = Relu(c) e = Conv<kernel_shape=[3,3], pads=[1,1,1,1]>(x, w3) f = Relu(e)
        a = Conv<kernel_shape=[1,1]>(d, w4) b = Conv<kernel_shape=[1,1]>(f, w6)
    }"""
    shapes = {"w1": (8, 8, 1, 1), "w3": (16, 8, 3, 3), "w4": (4, 8, 1, 1), "w6": (6, 16, 1, 1)}
    net = builders.proto(text, **{name: builders.normal(*shape) for name, shape in shapes.items()})
    path = tmp_path / "m.onnx"
    compress(net, "horizontal-fusion,quantize", data=builders.normal(8, 8, 9, 9), output=path)
    operators = [node.op_type for node in onnx.load(path).graph.node]
    assert (operators.count("Conv"), operators.count("Split")) == (2, 1)
    checked(path)


@pytest.mark.parametrize("target", TARGETS)
def test_factors_and_quantizers_of_the_shipped_network(target: str, tmp_path: Path):
    path = tmp_path / "m.onnx"
    pipeline = "basis:rank=0.5,quantize"
    compress(NETWORK, pipeline, data=TRAINING, preprocess="cifar10", samples=2, target=target, output=path)
    checked(path)


def piped(network: Path, data: str, samples: int, output: Path) -> None:
    """Three passes in a row keep to their budgets, and the target's lint and NVIDIA's builder take the result."""
    done = compress(network, PIPED, data=data, preprocess="cifar10", samples=samples, target="xavier", output=output)
    errors = [finding for finding in lint(done.proto, ALL_TARGETS["xavier"]) if finding.severity == "error"]
    assert errors == []
    assert done.report["after"]["macs"] <= 0.45 * done.report["before"]["macs"]
    removed = next(record.result for record in done.records if record.name == "prune")
    assert removed.metrics["macs_kept"] <= 0.7 and removed.metrics["units_removed"] > 0
    checked(output)


def test_pruned_factorized_and_quantized(tmp_path: Path):
    piped(NETWORK, TRAINING, 8, tmp_path / "m.onnx")


@pytest.mark.slow
@pytest.mark.skipif(not ASSETS.is_dir(), reason="the networks of others are not here")
def test_a_deep_network_pruned_factorized_and_quantized(tmp_path: Path):
    data = ASSETS / "data" / "cifar10_train10k.npz"
    piped(ASSETS / "models" / "resnet56.onnx", str(data), 128, tmp_path / "m.onnx")


def test_the_shipped_network():
    checked(NETWORK)


@pytest.mark.slow
@pytest.mark.skipif(not ASSETS.is_dir(), reason="the networks of others are not here")
@pytest.mark.parametrize("target", ALL_TARGETS)
@pytest.mark.parametrize(
    "pipeline", [*PASSES, "basis:rank=0.5,quantize", "sparse-lowrank:macs=0.5,quantize", "sbf:macs=0.65,quantize"]
)
@pytest.mark.parametrize("path", sorted(ASSETS.glob("models/*.onnx")), ids=lambda path: path.stem)
def test_cifar_networks(path: Path, pipeline: str, target: str, tmp_path: Path):
    output, data = tmp_path / "m.onnx", ASSETS / "data" / "cifar10_train10k.npz"
    spec = OPTIONS.get(pipeline, pipeline)
    compress(path, spec, data=data, preprocess="cifar10", samples=32, target=target, output=output)
    checked(output)
