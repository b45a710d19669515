"""The kernel of SpatialBasisConv on a GPU, checked and timed beside cuDNN's dense Conv: a JSON line per figure.

    python benchmarks/gpu_kernel.py [--types float32,float16] [--batches 1,32] [--shares 0.25,0.5] [--rounds 30]

Needs a GPU, PyTorch with CUDA, and nvcc or the packages of the extra `nvrtc` (`gpu_build.py`); this package itself need
not be installed. Where one is missing it says so, and ends with exit code 1.

First a line per type: the greatest error of the layers of `gpu_layers.checked`, relative to the largest output, against
numpy in float64. An error beyond `LIMITS`, an output that was not written, or two runs that differ in a bit (a race)
end everything with exit code 1.

Then a line per layer, batch and share of templates: `us` are microseconds of the kernel, of cuDNN's Conv with the same
weights in NCHW, and in NHWC. They are medians of --rounds runs in turns, each of a CUDA graph of `launches` launches
between two events, so that neither the host's part of a launch nor Python counts. cuDNN chooses its algorithm by trying
them (`cudnn.benchmark`), and computes FP32 in FP32 (no TF32), as a Xavier does. `ratio` is the kernel's time to the
faster of the two others, `macs` what it would be if MACs decided. Operands stay in the L2 cache where they fit.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from gpu_build import Kernel, NotBuilt, build
from gpu_layers import Layer, checked, dense_weight, reference, timed

LIMITS = {"float32": 1e-5, "float16": 1e-3}
WARM_UPS, MOST_LAUNCHES, MACS_OF_A_RUN = 3, 20, 4e9


class Gpu:
    """PyTorch's first GPU."""

    def __init__(self, torch: Any):
        self.torch, self.device = torch, "cuda"
        self.name: str = torch.cuda.get_device_name()
        self.code = "sm_{}{}".format(*torch.cuda.get_device_capability())
        torch.backends.cudnn.benchmark = True
        torch.backends.cudnn.allow_tf32 = False

    def tensor(self, array: np.ndarray) -> Any:
        return self.torch.from_numpy(array).to(self.device)

    def stream(self) -> int:
        """The handle of the current one."""
        return self.torch.cuda.current_stream().cuda_stream

    def clock(self, call: Callable[[], Any], launches: int) -> Callable[[], float]:
        """A function that has `call` computed `launches` times, and gives the microseconds of one."""
        cuda = self.torch.cuda
        cuda.synchronize()
        with cuda.stream(cuda.Stream()):
            for _ in range(WARM_UPS):
                call()
        cuda.synchronize()
        graph, begin, end = cuda.CUDAGraph(), cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)
        with cuda.graph(graph):
            for _ in range(launches):
                call()

        def run() -> float:
            begin.record()
            graph.replay()
            end.record()
            end.synchronize()
            return 1e3 * begin.elapsed_time(end) / launches

        return run


def find_gpu() -> Gpu:
    try:
        import torch
    except ImportError:
        raise SystemExit("gpu_kernel: needs PyTorch with CUDA, and there is no PyTorch") from None
    if not torch.cuda.is_available():
        raise SystemExit("gpu_kernel: needs a GPU, and PyTorch sees none")
    return Gpu(torch)


class Prepared:
    """A layer on the GPU, ready to be computed by the kernel; outputs are NaN until it has."""

    def __init__(self, gpu: Gpu, kernel: Kernel, layer: Layer, kind: str):
        self.layer, self.kind, self.arrays = layer, kind, layer.inputs(kind)
        self._gpu, self._kernel = gpu, kernel
        self.tensors = [gpu.tensor(array) for array in self.arrays]
        self.y = gpu.tensor(np.full((layer.samples, layer.filters, *layer.output), np.nan, kind))
        self._pointers = [tensor.data_ptr() for tensor in (*self.tensors, self.y)]

    def launch(self) -> None:
        self._kernel(self.layer, self.kind, self._pointers, self._gpu.stream())

    def computed(self) -> np.ndarray:
        self.launch()
        return np.array(self.y.cpu().numpy())

    def error(self) -> float:
        """Of the first and the last sample, relative to the largest output; ends the program where it is too great."""
        first = self.computed()
        if not np.array_equal(first, self.computed(), equal_nan=True):
            raise SystemExit(f"gpu_kernel: two runs differ ({self.kind}, {self.layer})")
        ends = [0, self.layer.samples - 1]
        wanted = reference(self.layer, [self.arrays[0][ends], *self.arrays[1:]])
        error = float(np.abs(first[ends] - wanted).max() / np.abs(wanted).max())
        if not (error <= LIMITS[self.kind] and np.isfinite(first).all()):
            raise SystemExit(f"gpu_kernel: wrong by {error:.2g} ({self.kind}, {self.layer})")
        return error

    def dense(self) -> Iterator[Callable[[], Any]]:
        """cuDNN's Conv with the same weights: NCHW, NHWC."""
        torch, layer = self._gpu.torch, self.layer
        x, bias = self.tensors[0], self.tensors[-1]
        weight = self._gpu.tensor(dense_weight(layer, self.arrays).astype(self.kind))
        for order in (torch.contiguous_format, torch.channels_last):
            moved = (part.contiguous(memory_format=order) for part in (x, weight))
            yield partial(torch.nn.functional.conv2d, *moved, bias, layer.strides, layer.pads[:2], layer.dilations)


def check(gpu: Gpu, kernel: Kernel, kind: str) -> dict[str, Any]:
    errors = [Prepared(gpu, kernel, layer, kind).error() for layer in checked()]
    return {"benchmark": "gpu-kernel", "type": kind, "checked": len(errors), "error": max(errors)}


def measure(gpu: Gpu, kernel: Kernel, network: str, layer: Layer, kind: str, rounds: int) -> dict[str, Any]:
    prepared = Prepared(gpu, kernel, layer, kind)
    error = prepared.error()
    launches = int(np.clip(MACS_OF_A_RUN / layer.macs, 1, MOST_LAUNCHES))
    runs = [gpu.clock(call, launches) for call in (prepared.launch, *prepared.dense())]
    times = np.median([[run() for run in runs] for _ in range(rounds)], axis=0)
    return {
        "benchmark": "gpu-kernel",
        "network": network,
        "type": kind,
        "batch": layer.samples,
        "channels": layer.channels,
        "size": layer.size[0],
        "templates": layer.templates,
        "macs": round(layer.ratio, 4),
        "ratio": round(float(times[0] / times[1:].min()), 4),
        "us": [round(float(value), 2) for value in times],
        "launches": launches,
        "rounds": rounds,
        "error": error,
    }


def lines(gpu: Gpu, kernel: Kernel, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    machine = {"device": gpu.name, "build": f"{kernel.name} {gpu.code}"}
    kinds: Sequence[str] = args.types.split(",")
    batches, shares = list(map(int, args.batches.split(","))), list(map(float, args.shares.split(",")))
    with gpu.torch.inference_mode():
        for kind in kinds:
            yield {**check(gpu, kernel, kind), **machine}
        for kind in kinds:
            for network, layer in timed(shares, batches):
                yield {**measure(gpu, kernel, network, layer, kind, args.rounds), **machine}


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--types", default=",".join(LIMITS))
    parser.add_argument("--batches", default="1,32")
    parser.add_argument("--shares", default="0.25,0.5", help="templates per filter")
    parser.add_argument("--rounds", type=int, default=30)
    args = parser.parse_args(arguments)
    gpu = find_gpu()
    with tempfile.TemporaryDirectory() as folder:
        try:
            kernel = build(gpu.code, Path(folder))
        except (NotBuilt, OSError) as error:
            sys.exit(f"gpu_kernel: {error}")
        for line in lines(gpu, kernel, args):
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
