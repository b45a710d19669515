"""Estimates of whole graphs."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from builders import model, normal
from onnx_compress.compiler.costs.latency import Latency, PrecisionRequest, conv_ms, estimate
from onnx_compress.compiler.costs.latency.constants import CONSTANTS
from onnx_compress.compiler.costs.unknown import UnknownShape
from onnx_compress.compiler.costs.workload import ConvWorkload
from onnx_compress.compiler.errors import UsageError
from onnx_compress.compiler.graph.io import from_proto
from onnx_compress.compiler.graph.shapes import infer_shapes, static_shapes
from onnx_compress.compiler.targets import TARGETS, XAVIER, Target

BENCHMARKS = Path(__file__).parents[4] / "benchmarks"
NAMED = ("resnet18", "resnet34", "resnet50", "vgg16", "squeezenet1_0", "squeezenet1_1", "alexnet")
ORIN = TARGETS["orin"]
ORIN_NAMED = ("resnet18", "resnet34", "resnet50", "mobilenet_v3_small", "mobilenet_v3_large", "yolox_s")


@pytest.fixture(scope="module", autouse=True)
def benchmarks() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield


@pytest.fixture(scope="module")
def fit() -> ModuleType:
    return importlib.import_module("fit_latency")


def network(name: str, **options: bool) -> gs.Graph:
    return from_proto(importlib.import_module("architectures").build(name, weights="none", **options)).graph


def latency(
    graph: gs.Graph, mode: str = "MAXN", precision: PrecisionRequest = "auto", target: Target = XAVIER
) -> Latency:
    return estimate(graph, infer_shapes(graph), target, mode, precision)


def layer(op: str, shape: tuple[int, ...], inputs: str = "float[1,16,8,8] x") -> Latency:
    return latency(model(f"g ({inputs}) => (float y) {{ y = {op}(x, w) }}", w=normal(*shape)).graph)


def milliseconds(fit: ModuleType, name: str, target: Target, precision: PrecisionRequest = "fp16") -> float:
    graph = from_proto(fit.network(name)).graph
    return estimate(graph, static_shapes(graph), target, "MAXN", precision).ms


@pytest.mark.parametrize(("target", "named"), [(XAVIER, NAMED), (ORIN, ORIN_NAMED)], ids=["xavier", "orin"])
def test_published_networks_rank_as_published(fit: ModuleType, target: Target, named: tuple[str, ...]):
    published = fit.PUBLISHED[target.name].milliseconds
    estimates = {name: milliseconds(fit, name, target) for name in named}
    assert sorted(named, key=estimates.__getitem__) == sorted(named, key=published.__getitem__)
    for name, ms in estimates.items():
        assert ms == pytest.approx(published[name], rel=0.1)


def test_published_ratios(fit: ModuleType):
    """Of networks that are in no fit, or of another table: in the right order, and within a sixth."""
    for name, whole, published in fit.PUBLISHED["xavier"].ratios:
        ratio = milliseconds(fit, name, XAVIER) / milliseconds(fit, whole, XAVIER)
        assert (ratio < 1) == (published < 1)
        assert ratio == pytest.approx(published, rel=0.17)
        assert 0.4 < (1 - ratio) / (1 - published) < 1.15


@pytest.mark.slow
def test_published_ratios_on_the_orin(fit: ModuleType):
    for name, whole, published in fit.PUBLISHED["orin"].ratios:
        ratio = milliseconds(fit, name, ORIN) / milliseconds(fit, whole, ORIN)
        assert (ratio < 1) == (published < 1)
        assert ratio == pytest.approx(published, rel=0.12)


@pytest.mark.slow
@pytest.mark.parametrize(("device", "alone", "together"), [("xavier", 0.25, 0.4), ("orin", 0.1, 0.13)])
def test_errors_of_networks_that_the_fit_leaves_out(fit: ModuleType, device: str, alone: float, together: float):
    table = fit.PUBLISHED[device]
    how = fit.fitting(table)
    published = table.milliseconds
    assert sorted(sum(table.families, ())) == sorted(published)
    errors = how.left_out(published, fit.alone(published))
    assert max(map(abs, errors.values())) < alone
    assert fit.rms(errors.values()) == pytest.approx(CONSTANTS[device].error, abs=1e-3)
    assert max(map(abs, how.left_out(published, table.families).values())) < together


@pytest.mark.slow
@pytest.mark.parametrize("device", ["xavier", "orin"])
def test_the_constants_are_those_of_the_fit(fit: ModuleType, device: str):
    table, kept = fit.PUBLISHED[device], CONSTANTS[device]
    how = fit.fitting(table)
    found = how.fit(table.milliseconds)
    for name in fit.START:
        assert getattr(found, name) == pytest.approx(getattr(kept, name), rel=1e-3)
    checks = [(how.estimate(fit.kernels(name, "int8"), kept), ms) for name, use, ms in table.checks if use == "int8"]
    assert fit.rms(ms / published - 1 for ms, published in checks) == pytest.approx(kept.int8_error, abs=1e-3)
    for name, precision, mhz, ratio in table.clocks:
        works = fit.kernels(name, precision)
        assert how.estimate(works, kept, mhz) / how.estimate(works, kept) == pytest.approx(ratio, rel=0.03)


def test_the_orin_is_faster(fit: ModuleType):
    for name in ("resnet18", "mobilenet_v2", "mnasnet0_5"):
        graph = network(name)
        for precision in ("int8", "fp16", "fp32"):
            assert latency(graph, precision=precision, target=ORIN).ms < latency(graph, precision=precision).ms


@pytest.mark.parametrize("name", ["resnet18", "vgg16", "squeezenet1_1", "mobilenet_v1"])
def test_precisions_and_modes(name: str):
    graph = network(name)
    for target in (XAVIER, ORIN):
        times = [latency(graph, precision=precision, target=target).ms for precision in ("int8", "fp16", "fp32")]
        assert times == sorted(times)
    for target, names in ((XAVIER, ("MAXN", "30W", "15W", "10W")), (ORIN, ("MAXN", "50W", "30W", "15W"))):
        modes = [latency(graph, mode, target=target).ms for mode in names]
        assert modes == sorted(modes) and len(set(modes)) == 4


def test_folding_batch_norm_changes_no_time():
    with_norm, without = network("resnet18"), network("resnet18", batchnorm=False)
    assert latency(with_norm).ms == pytest.approx(latency(without).ms, rel=0.01)


def test_conv_ms_is_what_the_estimate_says():
    source = model("g (float[2,16,8,8] x) => (float y) { y = Conv<group = 2>(x, w) }", w=normal(8, 8, 3, 3))
    (kernel,) = latency(source.graph).kernels
    assert kernel.ms == conv_ms("xavier", "MAXN", "fp16", ConvWorkload(16, 8, (3, 3), 2, 64, 36, batch=2))
    assert kernel.bytes == 2 * (2 * 16 * 64 + 2 * 8 * 36 + 8 * 8 * 9)
    assert kernel.flops == 2 * 2 * 36 * 16 * 8 * 9


def test_a_fused_kernel_reads_its_residual():
    source = model(
        "g (float[1,16,8,8] x, float[1,16,8,8] r) => (float y) { a = Conv(x, w) b = Add(a, r) y = Relu(b) }",
        w=normal(16, 16, 1, 1),
    )
    (kernel,) = latency(source.graph).kernels
    assert kernel.bytes == 2 * (3 * 16 * 64 + 256)
    assert kernel.nodes == tuple(node.name for node in source.graph.nodes)
    assert kernel.name == source.graph.nodes[0].name


@pytest.mark.parametrize(
    ("op", "shape", "inputs", "flops"),
    [
        ("Gemm", (16, 8), "float[3,16] x", 2 * 3 * 16 * 8),
        ("Gemm<transA = 1>", (16, 8), "float[16,3] x", 2 * 3 * 16 * 8),
        ("MatMul", (16, 8), "float[2,5,16] x", 2 * 10 * 16 * 8),
        ("ConvTranspose", (16, 8, 2, 2), "float[1,16,8,8] x", 2 * 64 * 16 * 8 * 4),
    ],
)
def test_flops_of_other_layers(op: str, shape: tuple[int, ...], inputs: str, flops: int):
    assert layer(op, shape, inputs).kernels[0].flops == flops


def test_copies_read_and_write():
    graph = model("g (float[1,8,4,4] x) => (float y) { a = Relu(x) y = Concat<axis = 1>(a, x) }").graph
    assert [kernel.bytes for kernel in latency(graph).kernels] == [2 * 2 * 128, 2 * 2 * 128]


def test_a_shape_that_is_not_known_is_named():
    graph = model("g (float[1,4] x) => (float y) { a = NonZero(x) b = Identity(a) y = Cast<to=1>(b) }").graph
    with pytest.raises(UnknownShape, match="the shape of 'a' behind NonZero 'NonZero_0' is not known"):
        latency(graph)


def test_the_error_is_that_of_the_precision():
    constants = CONSTANTS["xavier"]
    weights = {"w": normal(4, 4, 1, 1), "s": np.array(0.1, np.float32), "z": np.array(0, np.int8)}
    body = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z) u = QuantizeLinear(w, s, z) "
    body += "v = DequantizeLinear(u, s, z) y = Conv(d, v)"
    graph = model(f"g (float[1,4,8,8] x) => (float y) {{ {body} }}", **weights).graph
    assert latency(graph).error == constants.int8_error
    assert latency(graph, precision="fp16").error == constants.error


def test_a_target_without_a_device():
    graph = model("g (float[1,4] x) => (float y) { y = Relu(x) }").graph
    with pytest.raises(UsageError, match="no latency model for target 'ort'"):
        estimate(graph, infer_shapes(graph), TARGETS["ort"])
