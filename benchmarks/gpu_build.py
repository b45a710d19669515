"""The kernel of `runtime/tensorrt/plugin` for a GPU, for `gpu_kernel.py`: by nvcc, or by NVRTC and the driver.

nvcc     a library with the plugin's own launching code (sbc_forward_float, sbc_forward_half)
NVRTC    a cubin with all kernels, launched from here (`gpu_layers.launch_of`); packages of the extra `nvrtc`
"""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from itertools import product
from pathlib import Path
from typing import Any, Protocol

from gpu_layers import Layer, Shape, launch_of, shape_of

SOURCES = Path(__file__).parents[1] / "runtime" / "tensorrt" / "plugin"
SOURCE = SOURCES / "spatial_basis_conv.cu"
CTYPES = {"float32": "float", "float16": "__half"}
COUNTS = (1, 2, 4, 8)
POINTERS = ("x", "basis", "transforms", "choice", "bias", "y")
Variant = tuple[str, int]
"""Type of the values, templates of a block."""


class Kernel(Protocol):
    name: str

    def __call__(self, layer: Layer, kind: str, pointers: Sequence[int], stream: int) -> None:
        """Queue one launch; `pointers` of the device as in `POINTERS`."""
        ...


class NotBuilt(RuntimeError):
    """No compiler, or it refused."""


def build(code: str, folder: Path) -> Kernel:
    """The kernel for GPUs of `code`, as sm_72; what is built lies in `folder`."""
    nvcc, packages = find_nvcc(), find_packages()
    if nvcc is not None:
        return Library(compiled_library(nvcc, code, folder))
    if packages is not None:
        return Module(*compiled_cubin(packages, code), ctypes.CDLL("libcuda.so.1"))
    raise NotBuilt("needs nvcc (on the PATH or in $CUDA_HOME/bin), or NVRTC: pip install 'onnx-compress[nvrtc]'")


def find_nvcc() -> str | None:
    homes = [os.environ.get("CUDA_HOME"), os.environ.get("CUDA_PATH"), "/usr/local/cuda"]
    places = [str(Path(home) / "bin") for home in homes if home]
    return shutil.which("nvcc") or shutil.which("nvcc", path=os.pathsep.join(places))


def compiled_library(nvcc: str, code: str, folder: Path) -> Path:
    """With the flags of the plugin's Makefile."""
    built = folder / "libspatial_basis_conv.so"
    flags = ["-std=c++14", "-O3", f"-arch={code}", "-Xcompiler", "-fPIC,-Wall", "-shared"]
    done = subprocess.run([nvcc, *flags, "-o", str(built), str(SOURCE)], capture_output=True, text=True)
    if done.returncode:
        raise NotBuilt(f"nvcc failed: {_line(done.stderr)}")
    return built


class Library:
    """What nvcc built, or anything that exports the same functions."""

    name = "nvcc"

    def __init__(self, path: Path):
        loaded = ctypes.CDLL(str(path))
        self._functions = {"float32": loaded.sbc_forward_float, "float16": loaded.sbc_forward_half}
        for function in self._functions.values():
            function.argtypes = [ctypes.POINTER(Shape), *[ctypes.c_void_p] * 7]

    def __call__(self, layer: Layer, kind: str, pointers: Sequence[int], stream: int) -> None:
        _succeed(self._functions[kind](ctypes.byref(shape_of(layer)), *pointers, stream), "launch")


class Problem(ctypes.Structure):
    """`Problem` of spatial_basis_block.h, the kernels' only parameter."""

    _fields_ = (("shape", Shape), *((name, ctypes.c_void_p) for name in POINTERS))


class Module:
    """A cubin, and the driver that loads it into the context that is current."""

    name = "nvrtc"

    def __init__(self, cubin: bytes, names: Mapping[Variant, bytes], driver: Any):
        self._driver, module = driver, ctypes.c_void_p()
        driver.cuLaunchKernel.argtypes = [
            *(ctypes.c_void_p, *[ctypes.c_uint] * 7),
            *(ctypes.c_void_p, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p),
        ]
        _succeed(driver.cuModuleLoadData(ctypes.byref(module), cubin), "cuModuleLoadData")
        self._functions: dict[Variant, ctypes.c_void_p] = {}
        for variant, name in names.items():
            found = self._functions[variant] = ctypes.c_void_p()
            _succeed(driver.cuModuleGetFunction(ctypes.byref(found), module, name), "cuModuleGetFunction")

    def __call__(self, layer: Layer, kind: str, pointers: Sequence[int], stream: int) -> None:
        launch, problem = launch_of(layer), Problem(shape_of(layer), *pointers)
        function = self._functions[kind, launch.templates]
        given = (ctypes.c_void_p * 1)(ctypes.addressof(problem))
        sizes = (*launch.grid, *launch.block, launch.shared)
        _succeed(self._driver.cuLaunchKernel(function, *sizes, stream, given, None), "cuLaunchKernel")


def find_packages() -> Path | None:
    """The folder `nvidia` that has NVRTC."""
    spec = find_spec("nvidia")
    places = [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []
    return next((place for place in places if any(place.glob(LIBRARY))), None)


LIBRARY = "*/lib/libnvrtc.so.*"


def compiled_cubin(packages: Path, code: str) -> tuple[bytes, dict[Variant, bytes]]:
    """All kernels in machine code of `code`, and their names there."""
    rtc, program = ctypes.CDLL(str(max(packages.glob(LIBRARY)))), ctypes.c_void_p()
    made = rtc.nvrtcCreateProgram(ctypes.byref(program), SOURCE.read_bytes(), b"kernel.cu", 0, None, None)
    _succeed(made, "nvrtcCreateProgram")
    spelled = {(kind, n): f"sbc::forward<{CTYPES[kind]}, {n}>".encode() for kind, n in product(CTYPES, COUNTS)}
    for name in spelled.values():
        _succeed(rtc.nvrtcAddNameExpression(program, name), "nvrtcAddNameExpression")
    flags = [f"--gpu-architecture={code}", "--std=c++14", "-default-device", *_includes(packages)]
    given = (ctypes.c_char_p * len(flags))(*(flag.encode() for flag in flags))
    if rtc.nvrtcCompileProgram(program, len(flags), given):
        raise NotBuilt(f"NVRTC failed: {_line(_fetched(rtc, 'ProgramLog', program).decode())}")
    names = {variant: _lowered(rtc, program, name) for variant, name in spelled.items()}
    return _fetched(rtc, "CUBIN", program), names


def _includes(packages: Path) -> Iterator[str]:
    for folder in (SOURCES, *packages.glob("*/include"), *packages.glob("*/include/cccl")):
        yield f"-I{folder}"


def _lowered(rtc: Any, program: ctypes.c_void_p, name: bytes) -> bytes:
    found = ctypes.c_char_p()
    _succeed(rtc.nvrtcGetLoweredName(program, name, ctypes.byref(found)), "nvrtcGetLoweredName")
    assert found.value is not None
    return found.value


def _fetched(rtc: Any, what: str, program: ctypes.c_void_p) -> bytes:
    size = ctypes.c_size_t()
    _succeed(getattr(rtc, f"nvrtcGet{what}Size")(program, ctypes.byref(size)), f"nvrtcGet{what}Size")
    held = ctypes.create_string_buffer(size.value)
    _succeed(getattr(rtc, f"nvrtcGet{what}")(program, held), f"nvrtcGet{what}")
    return held.raw


def _succeed(status: int, what: str) -> None:
    if status:
        raise RuntimeError(f"{what}: CUDA error {status}")


def _line(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip())[:300]
