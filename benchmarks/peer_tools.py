"""The tools of `peers.py`: how each rewrites a network, with which settings, and what its environment holds.

    <the tool's interpreter> benchmarks/peer_tools.py TOOL SETTING NETWORK.onnx REWRITTEN.onnx IMAGES.npy

prints one JSON line. It is started by `peers.py` and imports nothing of the project but for the project's own row.

Settings are the tools' own words. `tensorrt` of onnxruntime is what its documentation asks for that engine: symmetric
activations, pairs at the weights, biases left in float; histograms are collected in strides of `STRIDE` images, as the
activations of all of them are kept otherwise. A network older than opset 13, in which no pair can have a scale per
channel, is converted first.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
import time
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from math import gcd
from pathlib import Path
from typing import Any, NamedTuple

SHARE = 0.5
STRIDE = 16
PER_CHANNEL_OPSET = 13
WITHOUT_DATA = "without data"
TENSORRT = {
    "ActivationSymmetric": True,
    "WeightSymmetric": True,
    "AddQDQPairToWeight": True,
    "QuantizeBias": False,
    "DedicatedQDQPair": True,
}


def original(source: Path, target: Path, _images: Any, _setting: str) -> None:
    shutil.copyfile(source, target)


def ours(source: Path, target: Path, images: Any, setting: str) -> None:
    from onnx_compress.api import compress

    pipeline, *words = setting.removesuffix(WITHOUT_DATA).split()
    data = None if setting.endswith(WITHOUT_DATA) else images
    compress(source, pipeline, data=data, samples=None, target=words[0] if words else "ort").save(target, True)


def onnxruntime(source: Path, target: Path, images: Any, setting: str) -> None:
    """Static quantization as the documentation advises: S8S8 first, U8S8 with a reduced range for x86 without VNNI."""
    from onnxruntime.quantization import CalibrationMethod, QuantFormat, QuantType, quantize_dynamic, quantize_static

    recent, prepared = (target.with_suffix(f".{step}.onnx") for step in ("recent", "prepared"))
    prepare(str(raise_opset(source, recent)), str(prepared))
    if setting.endswith(WITHOUT_DATA):
        quantize_dynamic(str(prepared), str(target), per_channel=True)
        return
    kind, method, *_ = setting.split()
    methods = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
    engine = kind == "tensorrt"
    stride = {} if method == "minmax" else {"CalibStridedMinMax": gcd(STRIDE, len(images))}
    quantize_static(
        str(prepared),
        str(target),
        reader(prepared, images),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8 if kind == "u8s8" else QuantType.QInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range="reduce_range" in setting,
        calibrate_method=CalibrationMethod[methods[method]],
        extra_options={**TENSORRT, **stride} if engine else {},
    )


def prepare(source: str, target: str) -> None:
    """As the documentation has it, without symbolic shapes where they cannot be inferred."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    try:
        quant_pre_process(source, target)
    except Exception:
        quant_pre_process(source, target, skip_symbolic_shape=True)


def raise_opset(source: Path, target: Path) -> Path:
    """A file whose pairs may have scales per channel."""
    import onnx

    model = onnx.load(source)
    if all(entry.version >= PER_CHANNEL_OPSET for entry in model.opset_import if not entry.domain):
        return source
    onnx.save(onnx.version_converter.convert_version(model, PER_CHANNEL_OPSET), target)
    return target


def reader(network: Path, images: Any) -> Any:
    """Gives the images one by one."""
    import onnx
    from onnxruntime.quantization import CalibrationDataReader

    name = onnx.load(network).graph.input[0].name

    class Reader(CalibrationDataReader):
        def __init__(self) -> None:
            self.set_range(0, len(images))

        def __len__(self) -> int:
            return len(images)

        def set_range(self, start_index: int, end_index: int) -> None:
            self.feeds = ({name: image[None]} for image in images[start_index:end_index])

        def get_next(self) -> dict[str, Any] | None:
            return next(self.feeds, None)

    return Reader()


def modelopt(source: Path, target: Path, images: Any, setting: str) -> None:
    from modelopt.onnx.quantization import quantize

    method, precision, *without = setting.split()
    quantize(
        str(source),
        calibration_data=None if without else images,
        calibration_method=method,
        calibration_eps=["cpu"],
        high_precision_dtype=precision,
        output_path=str(target),
    )


def nncf(source: Path, target: Path, images: Any, setting: str) -> None:
    import nncf
    import onnx

    model = onnx.load(source)
    if setting.endswith(WITHOUT_DATA):
        onnx.save(nncf.compress_weights(model, mode=nncf.CompressWeightsMode.INT8_SYM), target)
        return
    name = model.graph.input[0].name
    data = nncf.Dataset([{name: image[None]} for image in images])
    fast = setting == "default"
    onnx.save(nncf.quantize(model, data, subset_size=len(images), fast_bias_correction=fast), target)


def shrink_ray(source: Path, target: Path, _images: Any, setting: str) -> None:
    import onnx
    from onnx_shrink_ray.shrink import quantize_weights

    finer = {} if setting == "default" else {"min_elements": 1024, "per_channel": True}
    onnx.save(quantize_weights(onnx.load(source), **finer), target)


def torch_pruning(source: Path, target: Path, _images: Any, _setting: str) -> None:
    import torch
    from torch_pruning_rows import load, to_share

    torch.onnx.export(
        to_share(load(source), SHARE),
        (torch.zeros(1, 3, 32, 32),),
        str(target),
        input_names=["input"],
        output_names=["output"],
        dynamic_axes={"input": {0: "N"}, "output": {0: "N"}},
        dynamo=False,
    )


def tensorly(source: Path, target: Path, _images: Any, _setting: str) -> None:
    from tucker import tucker

    tucker(source, target, SHARE)


class Peer(NamedTuple):
    """A tool.

    Attributes:
        rewrite: (source, target, images, setting) -> None.
        modules: imported before the clock starts.
        pins: what its environment holds; without any it runs in this one.
        any_network: rewrites any network from its weights alone.
        real: settings for the real networks.
    """

    rewrite: Callable[[Path, Path, Any, str], None]
    modules: tuple[str, ...]
    settings: tuple[str, ...]
    pins: tuple[str, ...] = ()
    any_network: bool = False
    real: tuple[str, ...] = ()

    def from_weights(self) -> tuple[str, ...]:
        """Settings that look at nothing but the weights."""
        return tuple(entry for entry in self.settings if self.any_network or entry.endswith(WITHOUT_DATA))


PEERS = {
    "original": Peer(original, (), ("",), real=("",)),
    "onnx-compress": Peer(
        ours,
        ("onnx_compress.api", "onnx.reference.ops", "onnxruntime"),
        (
            "quantize",
            "quantize without data",
            "codebook:entries=256 without data",
            "basis:macs=0.5",
            "basis:macs=0.5,quantize",
            "basis:macs=0.5 without data",
        ),
        real=("quantize ort", "quantize xavier"),
    ),
    "onnxruntime": Peer(
        onnxruntime,
        ("onnxruntime.quantization", "onnxruntime.quantization.shape_inference"),
        ("s8s8 minmax", "s8s8 entropy", "u8s8 minmax reduce_range", f"dynamic {WITHOUT_DATA}"),
        ("onnxruntime==1.32.0", "onnx==1.23.2", "sympy==1.14.0"),
        real=("tensorrt minmax", "u8s8 minmax", "tensorrt entropy", "tensorrt percentile"),
    ),
    "nvidia-modelopt": Peer(
        modelopt,
        ("modelopt.onnx.quantization",),
        ("entropy fp32", "max fp32", "entropy fp16", f"max fp32 {WITHOUT_DATA}"),
        (
            "nvidia-modelopt==0.47.0",
            "torch==2.13.0",
            "onnx==1.21.0",
            "onnx-graphsurgeon==0.6.1",
            "onnxconverter-common==1.16.0",
            "onnxruntime==1.24.4",
            "onnxscript==0.7.2",
            "onnxslim==0.1.98",
            "polygraphy==0.53.6",
            "lief==1.0.0",
            "cppimport==26.4.17",
            "ml_dtypes==0.6.0",
        ),
        real=("max fp32", "entropy fp32"),
    ),
    "nncf": Peer(
        nncf,
        ("nncf",),
        ("default", "fast_bias_correction=False", f"compress_weights int8_sym {WITHOUT_DATA}"),
        ("nncf==3.4.0", "onnx==1.21.0", "onnxruntime==1.32.0"),
        real=("default", "fast_bias_correction=False"),
    ),
    "onnx-shrink-ray": Peer(
        shrink_ray,
        ("onnx_shrink_ray.shrink",),
        ("default", "min_elements=1024 per_channel"),
        ("onnx-shrink-ray==0.0.11", "onnx==1.23.2", "onnx-graphsurgeon==0.6.1", "onnxruntime==1.32.0"),
        any_network=True,
    ),
    "torch-pruning": Peer(
        torch_pruning,
        ("torch_pruning", "torch.onnx"),
        (f"magnitude macs={SHARE}",),
        ("torch-pruning==1.6.1", "torch==2.13.0", "onnx==1.21.0"),
    ),
    "tensorly": Peer(
        tensorly,
        ("tensorly.decomposition",),
        (f"partial_tucker macs={SHARE}",),
        ("tensorly==0.10.0", "onnx==1.23.2"),
        any_network=True,
    ),
}


def work(tool: str, setting: str, source: Path, target: Path, images: Path) -> dict[str, Any]:
    """Rewrite one network here, in the tool's interpreter."""
    import numpy as np

    peer, given = PEERS[tool], np.load(images)
    for module in peer.modules:
        import_module(module)
    started, used = time.perf_counter(), time.process_time()
    peer.rewrite(source, target, given, setting)
    return {
        "version": version(tool) if tool != "original" else None,
        "samples": len(given),
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(time.process_time() - used, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


if __name__ == "__main__":
    print(f"\n{json.dumps(work(*sys.argv[1:3], *map(Path, sys.argv[3:])))}", flush=True)
