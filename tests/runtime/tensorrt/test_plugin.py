"""The SpatialBasisConv plugin: what a thread block computes, run on the host behind the plugin, against numpy.

The wrapper is compiled against a stand-in for TensorRT's headers (`plugin/NvInfer.h`), the kernel itself with a thread
of the host for each of its own (`plugin/threads.cpp`). What nvcc and NVRTC make of it is tested with its benchmark, in
`test_gpu_kernel.py`. Nothing here runs on a GPU.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import builders
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_operators import spatial_basis_conv

HERE = Path(__file__).parent / "plugin"
SOURCES = Path(__file__).parents[3] / "runtime" / "tensorrt" / "plugin"
POINTER = np.ctypeslib.ndpointer(np.int32, flags="C")
FLOATS = np.ctypeslib.ndpointer(np.float32, flags="C")


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """The plugin over the emulated kernel."""
    compiler = shutil.which("g++") or pytest.skip("needs g++")
    built = tmp_path_factory.mktemp("plugin") / "libplugin.so"
    flags = ["-std=c++14", "-O1", "-Wall", "-Wextra", "-Werror", "-shared", "-fPIC", f"-I{HERE}", f"-I{SOURCES}"]
    files = [HERE / "drive.cpp", HERE / "emulated.cpp", SOURCES / "spatial_basis_plugin.cpp"]
    subprocess.run([compiler, *flags, "-o", str(built), *map(str, files)], check=True)
    loaded = ctypes.CDLL(str(built))
    arrays = [POINTER] * 6
    loaded.drive.argtypes = [ctypes.c_int, *arrays, ctypes.POINTER(ctypes.c_void_p), FLOATS, POINTER]
    for name in ("creator_name", "creator_namespace"):
        getattr(loaded, name).restype = ctypes.c_char_p
    return loaded


@dataclass(frozen=True)
class Layer:
    """A SpatialBasisConv of random values: shapes of X and B, how many groups and filters, attributes."""

    x: tuple[int, ...]
    basis: tuple[int, ...]
    groups: int
    filters: int
    strides: tuple[int, ...]
    pads: tuple[int, ...]
    dilations: tuple[int, ...]

    def inputs(self) -> list[np.ndarray]:
        templates, _, *kernel = self.basis
        choice = np.random.default_rng(3).integers(0, templates, self.filters).astype(np.int32)
        transforms = builders.normal(self.filters, self.groups, *kernel, seed=2)
        bias = builders.normal(self.filters, seed=4)
        return [builders.normal(*self.x), builders.normal(*self.basis, seed=1), transforms, choice, bias]

    def reference(self) -> np.ndarray:
        return spatial_basis_conv(
            *self.inputs(),
            strides=self.strides,
            pads=self.pads,
            dilations=self.dilations,
            kernel_shape=self.basis[2:],
        )

    def driven(self, library: ctypes.CDLL) -> np.ndarray:
        inputs, wanted = self.inputs(), self.reference().shape
        y, sizes = np.full(wanted, np.nan, np.float32), np.zeros(8, np.int32)
        pointers = (ctypes.c_void_p * 5)(*(array.ctypes.data for array in inputs))
        given = (self.basis[2:], self.strides, self.pads, self.dilations)
        attributes = [np.array(values, np.int32) for values in given]
        ranks = np.array([array.ndim for array in inputs], np.int32)
        dims = np.array([size for array in inputs for size in array.shape], np.int32)
        assert library.drive(len(self.strides), *attributes, ranks, dims, pointers, y, sizes) == 0
        assert tuple(sizes[: y.ndim]) == wanted
        return y


@st.composite
def layers(draw: st.DrawFn) -> Layer:
    rank, groups = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    each = lambda low, high, count=rank: tuple(draw(st.integers(low, high)) for _ in range(count))  # noqa: E731
    kernel, dilations, channels = each(1, 3), each(1, 2), draw(st.integers(1, 20))
    spatial = each(5, 9)
    basis = (draw(st.integers(1, 9)), groups * channels, *kernel)
    sizes = (draw(st.integers(1, 2)), groups * channels, *spatial)
    return Layer(sizes, basis, groups, draw(st.integers(1, 12)), each(1, 3), each(0, 2, 2 * rank), dilations)


def close(got: np.ndarray, wanted: np.ndarray) -> bool:
    return float(np.abs(got - wanted).max()) < 1e-4 * max(float(np.abs(wanted).max()), 1.0)


@settings(max_examples=40, deadline=None)
@given(layers())
def test_the_block_computes_what_the_reference_says(library: ctypes.CDLL, layer: Layer) -> None:
    assert close(layer.driven(library), layer.reference())


@pytest.mark.parametrize(
    "layer",
    [
        Layer((1, 40, 13, 11), (9, 40, 3, 3), 1, 20, (1, 1), (1, 1, 1, 1), (1, 1)),  # several tiles, chunks and stages
        Layer((1, 12, 6, 6), (3, 12, 3, 3), 3, 7, (1, 1), (1, 1, 1, 1), (1, 1)),  # more rows than warps
        Layer((1, 3, 12, 12), (8, 3, 7, 7), 1, 9, (2, 2), (3, 3, 3, 3), (1, 1)),  # fewer templates per block
    ],
)
def test_sizes_beyond_one_tile_and_one_block(library: ctypes.CDLL, layer: Layer) -> None:
    assert close(layer.driven(library), layer.reference())


def test_the_creator_answers_to_the_node(library: ctypes.CDLL) -> None:
    from onnx_compress.compiler.graph.storage.operators import PLUGIN, SPATIAL_BASIS_CONV

    assert library.creator_name().decode() == SPATIAL_BASIS_CONV
    assert library.creator_namespace().decode() == PLUGIN["plugin_namespace"]


@pytest.fixture(scope="module")
def threads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernel as a program that ThreadSanitizer watches."""
    compiler, built = shutil.which("g++") or pytest.skip("needs g++"), tmp_path_factory.mktemp("threads") / "threads"
    flags = ["-std=c++14", "-O1", "-Wall", "-Wextra", "-Werror", "-fsanitize=thread", f"-I{HERE}", f"-I{SOURCES}"]
    done = subprocess.run([compiler, *flags, "-o", built, HERE / "threads.cpp", "-pthread"], capture_output=True)
    if b"cannot find" in done.stderr:
        pytest.skip("needs libtsan")
    assert done.returncode == 0, done.stderr.decode()
    return built


def watched(threads: Path, *left_out: int) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TSAN_OPTIONS": "halt_on_error=1"}
    done = subprocess.run([threads, *map(str, left_out)], env=environment, capture_output=True, text=True)
    if "FATAL: ThreadSanitizer" in done.stderr:
        pytest.skip("ThreadSanitizer does not run here")
    return done


def test_no_two_threads_of_a_block_race(threads: Path) -> None:
    done = watched(threads)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("barrier", range((SOURCES / "spatial_basis_conv.cu").read_text().count("__syncthreads();")))
def test_without_one_of_its_barriers_they_do(threads: Path, barrier: int) -> None:
    assert "data race" in watched(threads, barrier).stderr
