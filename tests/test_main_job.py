"""The main job on the shipped network: half the MACs, INT8, few images, no labels."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from onnx_compress import compress
from onnx_compress.api import load_samples
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.io import load
from onnx_compress.compiler.pipeline.data import Data
from onnx_compress.runtime.quality.comparison import Accuracy
from onnx_compress.runtime.quality.walk import compared
from onnx_compress.runtime.session import Session, graph_session

ROOT = Path(__file__).resolve().parents[1]
NETWORK = ROOT / "models" / "resnet20_cifar10.onnx"
SAMPLE = ROOT / "models" / "cifar10_sample.npz"
TRAINING = f"{SAMPLE}#train_images"
SHARED = ROOT.parent / "shared"


def top1(path: Path) -> float:
    test = load_samples(load(path).graph, SAMPLE, "cifar10")
    return right(graph_session(load(path).graph), test)


def right(session: Session, test: Data) -> float:
    assert test.labels is not None
    return compared(session, session, test, Accuracy(test.labels))[0].value


def test_the_shipped_network_is_as_good_as_its_readme_says() -> None:
    assert top1(NETWORK) > 0.90


@pytest.fixture(scope="module")
def compressed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("out") / "small.onnx"
    result = compress(NETWORK, "basis:macs=0.5,quantize", data=TRAINING, preprocess="cifar10", samples=256, output=path)
    before, after = result.report["before"], result.report["after"]
    assert 0.47 < after["macs"] / before["macs"] <= 0.5
    return path


def test_half_the_macs_and_int8_cost_less_than_three_points(compressed: Path) -> None:
    assert top1(compressed) > top1(NETWORK) - 0.03


def test_every_conv_is_fed_by_quantizers(compressed: Path) -> None:
    model = load(compressed)
    check_graph(model)
    convs = [node for node in model.graph.nodes if node.op == "Conv"]
    assert len(convs) > 30
    assert all(tensor.inputs[0].op == "DequantizeLinear" for node in convs for tensor in node.inputs[:2])
    assert {tensor.name for tensor in model.graph.inputs} == {"input"}
    assert {tensor.name for tensor in model.graph.outputs} == {"logits"}
    assert model.graph.opset == 17


def test_the_same_seed_gives_the_same_bytes(tmp_path: Path) -> None:
    contents = []
    for name in ("a.onnx", "b.onnx"):
        pipeline = "basis:macs=0.5,quantize"
        compress(NETWORK, pipeline, data=TRAINING, preprocess="cifar10", samples=64, output=tmp_path / name, seed=3)
        contents.append((tmp_path / name).read_bytes())
    assert contents[0] == contents[1]


def test_without_data_the_default_pipeline_keeps_the_accuracy(tmp_path: Path) -> None:
    path = tmp_path / "small.onnx"
    result = compress(NETWORK, output=path)
    before, after = result.report["before"]["latency"], result.report["after"]["latency"]
    assert before is not None and after is not None and after["ms"] <= before["ms"]
    assert top1(path) > top1(NETWORK) - 0.005


@pytest.mark.slow
def test_make_demo_works_from_a_fresh_clone(tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", str(ROOT), str(clone)], check=True)
    done = subprocess.run(["make", "demo", f"PYTHON={sys.executable}"], cwd=clone, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (clone / "out" / "resnet20_cifar10.compressed.onnx").is_file()
    assert done.stdout.count("top-1") >= 2


@pytest.mark.slow
@pytest.mark.skipif(not SHARED.is_dir(), reason="the third-party networks are not here")
@pytest.mark.parametrize(
    ("network", "pipeline", "floor"),
    [
        ("resnet20", "basis:macs=0.5", 86.5),
        ("resnet56", "basis:macs=0.36", 86.6),
        ("resnet20", "quantize", 91.55),
        ("resnet20_bn_op17", "basis:macs=0.5,quantize", 86.2),
    ],
)
def test_third_party_networks_stay_above_the_floor(network: str, pipeline: str, floor: float) -> None:
    preprocess = "mean=0.485,0.456,0.406:std=0.229,0.224,0.225"
    data = SHARED / "data" / "cifar10_train10k.npz"
    result = compress(SHARED / "models" / f"{network}.onnx", pipeline, data=data, preprocess=preprocess, samples=512)
    test = load_samples(result.graph, SHARED / "data" / "cifar10_test.npz", preprocess)
    assert 100 * right(Session(result.proto), test) >= floor
