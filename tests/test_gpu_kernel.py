"""The benchmark of the GPU kernel, as far as a machine without a GPU shows: all but times and barriers.

Thread blocks are computed on the host by the kernel's own code (`runtime/tensorrt/plugin/emulated_block.h`), behind the
plugin's functions and behind a CUDA driver that launches what it is told.
"""

from __future__ import annotations

import ctypes
import importlib
import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import builders
import numpy as np
import pytest
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import to_proto
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.storage.templates import TemplateParts, write_plugin, write_stock

ROOT = Path(__file__).parents[1]
HERE, SOURCES = (folder / "runtime" / "tensorrt" / "plugin" for folder in (ROOT / "tests", ROOT))
KINDS = ("float32", "float16")
XAVIER = "sm_72"


@pytest.fixture(scope="module")
def modules() -> Iterator[tuple[ModuleType, ModuleType, ModuleType]]:
    """gpu_kernel, gpu_build, gpu_layers."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        yield tuple(map(importlib.import_module, ("gpu_kernel", "gpu_build", "gpu_layers")))


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A library with the plugin's functions and the driver's, for the host."""
    compiler = shutil.which("g++") or pytest.skip("needs g++")
    built = tmp_path_factory.mktemp("gpu") / "libhost.so"
    flags = ["-std=c++14", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{SOURCES}"]
    subprocess.run([compiler, *flags, "-o", built, HERE / "emulated.cpp", HERE / "driver.cpp"], check=True)
    if not hasattr(ctypes.CDLL(str(built)), "half_precision"):
        pytest.skip("needs a compiler with _Float16")
    return built


class Host:
    """The processor in the place of a GPU."""

    name, code = "host", XAVIER

    def __init__(self) -> None:
        self.torch = pytest.importorskip("torch")

    def tensor(self, array: np.ndarray) -> Any:
        return self.torch.from_numpy(array.copy())

    def stream(self) -> int:
        return 0

    def clock(self, call: Callable[[], Any], launches: int) -> Callable[[], float]:
        def run() -> float:
            begun = time.perf_counter()
            call()
            return 1e6 * (time.perf_counter() - begun)

        return run


def cubin(build: ModuleType) -> tuple[bytes, dict[tuple[str, int], bytes]]:
    """The last nvcc that knows sm_72 is not on PyPI, the last NVRTC is: nvidia-cuda-nvrtc-cu12, -runtime-, -cccl-."""
    return build.compiled_cubin(build.find_packages() or pytest.skip("needs NVRTC"), XAVIER)


@pytest.mark.parametrize("kind", KINDS)
def test_the_plugins_functions_pass_the_check(modules: Any, host: Path, kind: str) -> None:
    kernel, build, layers = modules
    line = kernel.check(Host(), build.Library(host), kind)
    assert line["checked"] == len(list(layers.checked())) and line["type"] == kind
    assert 0 < line["error"] < kernel.LIMITS[kind]


def test_what_nvrtc_compiles_is_launched_as_the_plugin_launches_it(modules: Any, host: Path) -> None:
    """Every type and number of templates; the driver refuses other threads and shared memory than the headers'."""
    kernel, build, layers = modules
    image, names = cubin(build)
    assert len(image) > 10_000 and len(set(names.values())) == 8
    module = build.Module(image, names, ctypes.CDLL(str(host)))
    assert {layers.launch_of(layer).templates for layer in layers.checked()} == {1, 2, 4, 8}
    for kind in KINDS:
        assert kernel.check(Host(), module, kind)["error"] < kernel.LIMITS[kind]


def test_nvcc_compiles_the_kernel_and_its_launches(modules: Any, tmp_path: Path) -> None:
    _, build, layers = modules
    nvcc = build.find_nvcc() or pytest.skip("needs nvcc")
    known = subprocess.run([nvcc, "--list-gpu-code"], check=True, capture_output=True, text=True).stdout.split()
    code = next((code for code in (XAVIER, "sm_87") if code in known), known[0])
    library = build.Library(build.compiled_library(nvcc, code, tmp_path))
    if not shutil.which("nvidia-smi"):
        with pytest.raises(RuntimeError, match=r"launch: CUDA error \d+"):
            library(next(layers.checked()), "float32", [0] * 6, 0)


def whole(layer: Any) -> list[np.ndarray]:
    """Whole numbers, of which float32 makes no errors; as many filters of every template as there can be."""
    rng = np.random.default_rng(1)
    drawn = [rng.integers(-4, 5, array.shape).astype(np.float32) for array in layer.inputs("float32")]
    drawn[3] = rng.permutation(np.arange(layer.filters) % layer.templates).astype(np.int32)
    return drawn


def executed(layer: Any, arrays: Sequence[np.ndarray], write: Callable[..., None]) -> np.ndarray:
    """What onnxruntime makes of the nodes that the pass `sbf` writes."""
    x, basis, transforms, choice, bias = arrays
    attributes = f"strides={list(layer.strides)}, pads={list(layer.pads)}, dilations={list(layer.dilations)}"
    sizes = f"float[{layer.samples},{layer.channels},{layer.size[0]},{layer.size[1]}] x"
    weight = np.zeros((layer.filters, layer.channels, *layer.kernel), np.float32)
    model = builders.model(f"g ({sizes}) => (float[a,b,c,d] y) {{ y = Conv<{attributes}>(x, w) }}", w=weight)
    (conv,) = find_convs(model.graph)
    grouped = basis.reshape(layer.templates, layer.groups, layer.channels // layer.groups, -1).swapaxes(0, 1)
    parts = TemplateParts(grouped, transforms.reshape(layer.filters, layer.groups, -1), choice)
    write(Rewriter(model.graph), conv, parts, bias)
    return builders.run(to_proto(model), x=x)["y"]


def test_the_reference_is_what_onnxruntime_executes(modules: Any) -> None:
    """To the last bit: the operator's body, and the three Convs of the stock form."""
    _, _, layers = modules
    for layer in layers.checked():
        arrays = whole(layer)
        wanted = layers.reference(layer, arrays)
        assert np.array_equal(executed(layer, arrays, write_plugin), wanted), layer
        assert np.array_equal(executed(layer, arrays, write_stock), wanted), layer


def test_a_line_per_figure(modules: Any, host: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, build, layers = modules
    small = [("tiny", layers.Layer(2, 8, 8, 2, (6, 6))), ("tiny", layers.Layer(1, 8, 8, 4, (6, 6)))]
    monkeypatch.setattr(kernel, "timed", lambda shares, batches: small)
    monkeypatch.setattr(kernel, "find_gpu", Host)
    monkeypatch.setattr(kernel, "build", lambda code, folder: build.Library(host))
    printed: list[str] = []
    monkeypatch.setattr("builtins.print", lambda line, **_: printed.append(line))
    kernel.main(["--types", "float32", "--rounds", "3"])
    checked, first, second = map(json.loads, printed)
    assert all(line["benchmark"] == "gpu-kernel" and line["device"] == "host" for line in (checked, first, second))
    assert [line["build"] for line in (checked, first)] == ["nvcc sm_72"] * 2
    assert (first["batch"], first["templates"], second["templates"]) == (2, 2, 4)
    assert first["macs"] == 2 / 8 + 1 / 8 and first["ratio"] == pytest.approx(
        first["us"][0] / min(first["us"][1:]), 0.1
    )
    assert first["rounds"] == 3 and first["launches"] == 20 and first["error"] < 1e-6


def test_the_networks_shapes_are_timed(modules: Any) -> None:
    _, _, layers = modules
    found = [layer for _, layer in layers.timed([0.25, 0.5], [1, 32])]
    sizes = {(layer.channels, layer.size, layer.samples, layer.templates) for layer in found}
    assert len(found) == len(sizes) == 16
    assert {(16, (32, 32), 1, 4), (64, (8, 8), 32, 32), (256, (56, 56), 1, 64)} <= sizes
    assert all(layer.output == layer.size for layer in found)


def test_a_dense_conv_beside_it_has_the_same_outputs(modules: Any, host: Path) -> None:
    kernel, build, layers = modules
    layer = layers.Layer(2, 20, 12, 5, (13, 11), strides=(2, 1), pads=(1, 0, 1, 0), groups=2)
    prepared = kernel.Prepared(Host(), build.Library(host), layer, "float32")
    prepared.launch()
    for call in prepared.dense():
        np.testing.assert_allclose(call().numpy(), prepared.y.numpy(), atol=1e-5)


def test_a_wrong_kernel_ends_it(modules: Any, host: Path) -> None:
    kernel, build, _ = modules
    right, calls = build.Library(host), iter(range(100))

    class Idle:
        def __call__(self, *arguments: Any) -> None:
            """Writes nothing."""

    class Racing:
        def __call__(self, layer: Any, kind: str, pointers: list[int], stream: int) -> None:
            right(layer, kind, pointers, stream)
            ctypes.c_float.from_address(pointers[-1]).value = next(calls)

    class Careless:
        def __call__(self, layer: Any, kind: str, pointers: list[int], stream: int) -> None:
            right(layer, kind, [*pointers[:4], pointers[1], pointers[5]], stream)

    for wrong, said in ((Idle(), "wrong by nan"), (Racing(), "two runs differ"), (Careless(), r"wrong by \d")):
        with pytest.raises(SystemExit, match=rf"gpu_kernel: {said}.* \(float32, Layer"):
            kernel.check(Host(), wrong, "float32")


def test_what_is_missing_is_said_in_a_line(modules: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel, build, _ = modules
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit, match=r"^gpu_kernel: needs a GPU, and PyTorch sees none$"):
        kernel.main([])
    monkeypatch.setattr(kernel, "find_gpu", Host)
    for name in ("find_nvcc", "find_packages"):
        monkeypatch.setattr(build, name, lambda: None)
    with pytest.raises(
        SystemExit, match=r"^gpu_kernel: needs nvcc .*, or NVRTC: pip install 'onnx-compress\[nvrtc\]'$"
    ):
        kernel.main([])
