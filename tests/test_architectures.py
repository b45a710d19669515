"""The benchmark networks have the parameters and MACs that were published for them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from math import prod
from pathlib import Path
from types import ModuleType

import onnx
import pytest
from builders import normal, run
from onnx_compress.compiler.graph.io import from_proto
from onnx_compress.compiler.graph.shapes import infer_shapes

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
PUBLISHED = {  # parameters; GMACs (torchvision's model table; MobileNet: arXiv:1704.04861 and Keras)
    "alexnet": (61_100_840, 0.71),
    "squeezenet1_0": (1_248_424, 0.82),
    "squeezenet1_1": (1_235_496, 0.35),
    "resnet18": (11_689_512, 1.81),
    "resnet34": (21_797_672, 3.66),
    "resnet50": (25_557_032, 4.09),
    "resnet101": (44_549_160, 7.80),
    "resnet152": (60_192_808, 11.51),
    "vgg11": (132_863_336, 7.61),
    "vgg13": (133_047_848, 11.31),
    "vgg16": (138_357_544, 15.47),
    "vgg19": (143_667_240, 19.63),
    "densenet121": (7_978_856, 2.83),
    "densenet169": (14_149_480, 3.36),
    "mobilenet_v1": (4_231_976, 0.569),
    "mobilenet_v2": (3_504_872, 0.301),
    "mnasnet0_5": (2_218_512, 0.104),
    "mnasnet0_75": (3_170_208, 0.215),
    "mnasnet1_0": (4_383_312, 0.314),
    "mnasnet1_3": (6_282_256, 0.526),
}


ROUNDED = {  # millions of parameters; GMACs (the papers; MLPerf inference: bytes of the model, operations)
    "mobilenet_v3_small": (2.54, 0.056),
    "mobilenet_v3_large": (5.48, 0.219),
    "mixnet_s": (4.1, 0.256),
    "mixnet_m": (5.0, 0.360),
    "mixnet_l": (7.3, 0.565),
    "yolox_s": (9.0, 13.4),
    "yolox_m": (25.3, 36.9),
    "yolox_l": (54.2, 77.8),
    "ssd_resnet34": (20.0, 216.5),
    "retinanet_resnext50": (37.0, None),
}


@pytest.fixture(scope="module")
def architectures() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("architectures")


@pytest.fixture(scope="module")
def others(architectures: ModuleType) -> dict[str, ModuleType]:
    """The module of each network of the other two."""
    mobile, detectors = map(importlib.import_module, ("mobile_networks", "detectors"))
    return dict.fromkeys(mobile.MOBILE_NETWORKS, mobile) | dict.fromkeys(detectors.DETECTORS, detectors)


def parameters(proto: onnx.ModelProto) -> int:
    """What is trained: all weights but the running mean and variance of BatchNormalization."""
    trained = [t.dims for t in proto.graph.initializer if not t.name.endswith((".mean", ".var"))]
    declared = [[d.dim_value for d in t.type.tensor_type.shape.dim] for t in proto.graph.input[1:]]
    return sum(prod(dims) for dims in [*trained, *declared])


def macs(proto: onnx.ModelProto) -> int:
    shapes = infer_shapes(from_proto(proto).graph)
    layers = [node for node in proto.graph.node if node.op_type in ("Conv", "Gemm")]
    return sum(prod(shapes[node.output[0]]) * prod(shapes[node.input[1]][1:]) for node in layers)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_figures(architectures: ModuleType, name: str):
    proto = architectures.build(name, weights="none")
    trained, gmacs = PUBLISHED[name]
    assert parameters(proto) == trained
    assert macs(proto) / 1e9 == pytest.approx(gmacs, abs=0.005)


def test_every_architecture_is_checked(architectures: ModuleType):
    assert set(PUBLISHED) == set(architectures.ARCHITECTURES)


@pytest.mark.parametrize("name", ROUNDED)
def test_published_figures_of_mobile_networks_and_detectors(others: dict[str, ModuleType], name: str):
    proto = others[name].build(name, weights="none")
    millions, gmacs = ROUNDED[name]
    assert parameters(proto) / 1e6 == pytest.approx(millions, rel=0.01)
    assert gmacs is None or macs(proto) / 1e9 == pytest.approx(gmacs, rel=0.07)


def test_every_mobile_network_and_detector_is_checked(others: dict[str, ModuleType]):
    assert set(ROUNDED) == set(others)


@pytest.mark.parametrize("name", ["mobilenet_v3_small", "mixnet_s", "yolox_s"])
def test_mobile_networks_and_detectors_are_valid(others: dict[str, ModuleType], name: str):
    onnx.checker.check_model(others[name].build(name), full_check=True)


def test_random_weights_run_and_keep_the_signal(architectures: ModuleType):
    proto = architectures.build("squeezenet1_1")
    onnx.checker.check_model(proto, full_check=True)
    assert parameters(proto) == PUBLISHED["squeezenet1_1"][0]
    logits = run(proto, input=normal(2, 3, 224, 224))["logits"]
    assert logits.shape == (2, 1000)
    assert 1e-3 < logits.std() < 1e3


def test_without_batchnorm_the_same_layers_remain(architectures: ModuleType):
    plain, folded = (architectures.build("resnet18", "none", batchnorm=kept) for kept in (True, False))
    assert macs(plain) == macs(folded)
    assert "BatchNormalization" not in {node.op_type for node in folded.graph.node}
