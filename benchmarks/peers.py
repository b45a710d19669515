"""Beside the peers: same model, same data, same machine, one run. A JSON line per network, tool and setting.

    python benchmarks/peers.py --environments out/environments --create
    python benchmarks/peers.py --environments out/environments [--networks resnet20,resnet56] [--only nncf]
    python benchmarks/peers.py --environments out/environments --networks resnet50,vgg16

Every tool rewrites the network in a process of its own, in its own interpreter, from the same unlabelled training
images; the file it leaves is then judged here, in another process. `--create` makes a virtual environment per tool from
the versions in PEERS, which work with Python 3.11; `--python nncf=/path/to/python` takes another interpreter. With
`PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu` PyTorch comes without CUDA. A tool that fails has its reason
in `failed`.

`seconds` and `cpu_seconds` are those of the rewriting without the imports, `peak_mb` is the process's peak memory, with
them. `macs` is relative to the original, null where Convs have weights that cannot be seen. `top1` is with Q/DQ pairs
run as they are written, `top1_fused` with onnxruntime's INT8 kernels, which saturate on processors without VNNI (`vnni`
says which this is). `agreement` is the share of images for which the original network chooses the same class,
`output_error` the distance of all outputs to the original's, relative to their norm, both as written. `ms` is the
median of a batch of 1 on one thread with those kernels, `latency_ratio` that of the ratios to the original, the two
timed in turns, with its 95 % interval.

Networks are those of the assets, or those of `architectures.py` with random weights, which only tools and settings that
look at nothing but the weights rewrite, and whose files are not judged: for time and memory.

No tool takes gradient steps; Torch-Pruning, TensorLy, onnx-shrink-ray and the settings `without data` see the weights
alone. `macs=0.5` is met from below, to the step that the method has. Without data nncf and onnx-shrink-ray store the
weights in 8 bits, onnxruntime measures activations when the network runs, and nvidia-modelopt invents images.
onnxruntime's entropy calibration has as many bins as levels and finds the ranges of MinMax. Assets are those of
`accuracy.py`.
"""

from __future__ import annotations

import argparse
import datetime
import json
import multiprocessing
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from accuracy import ASSETS, PREPROCESS, top1

SHARE = 0.5
WITHOUT_DATA = "without data"
ROUNDS, WARM_UP = 300, 10
LONGEST_REASON = 300


def original(source: Path, target: Path, _images: Any, _setting: str) -> None:
    shutil.copyfile(source, target)


def ours(source: Path, target: Path, images: Any, setting: str) -> None:
    from onnx_compress.api import compress

    pipeline, _, without = setting.partition(" ")
    compress(source, pipeline, data=None if without else images, samples=None, target="ort").save(target, True)


def onnxruntime(source: Path, target: Path, images: Any, setting: str) -> None:
    """Static quantization as the documentation advises: S8S8 first, U8S8 with a reduced range for x86 without VNNI."""
    import onnx
    from onnxruntime.quantization import (
        CalibrationDataReader,
        CalibrationMethod,
        QuantFormat,
        QuantType,
        quantize_dynamic,
        quantize_static,
    )
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        def __init__(self, name: str):
            self.feeds = ({name: image[None]} for image in images)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.feeds, None)

    prepared = target.with_suffix(".prepared.onnx")
    quant_pre_process(str(source), str(prepared))
    if setting.endswith(WITHOUT_DATA):
        quantize_dynamic(str(prepared), str(target), per_channel=True)
        return
    quantize_static(
        str(prepared),
        str(target),
        Reader(onnx.load(source).graph.input[0].name),
        quant_format=QuantFormat.QDQ,
        activation_type=QuantType.QUInt8 if "u8s8" in setting else QuantType.QInt8,
        weight_type=QuantType.QInt8,
        per_channel=True,
        reduce_range="reduce_range" in setting,
        calibrate_method=CalibrationMethod.Entropy if "entropy" in setting else CalibrationMethod.MinMax,
    )


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


def tucker(source: Path, target: Path, _images: Any, _setting: str) -> None:
    """Tucker-2 of every Conv but the first, whose three channels leave nothing to factor; one share of all ranks."""
    import onnx

    model = onnx.load(source)
    values = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    convs = [node for node in model.graph.node if node.op_type == "Conv"]
    places = positions(model)
    sizes = [(values[node.input[1]].shape, places[node.input[0]], places[node.output[0]]) for node in convs]
    whole = sum(direct(*size) for size in sizes)
    low, high = 0.0, 1.0
    for _ in range(12):
        middle = (low + high) / 2
        kept = direct(*sizes[0]) + sum(factored(*size, ranks(size[0], middle)) for size in sizes[1:])
        low, high = (low, middle) if kept > SHARE * whole else (middle, high)
    for node, (shape, *_) in zip(convs[1:], sizes[1:], strict=True):
        factor(model.graph, node, values[node.input[1]], ranks(shape, low))
    onnx.save(model, target)


def positions(model: Any) -> dict[str, int]:
    """Tensor name -> height x width."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model, data_prop=True).graph
    dims = {value.name: value.type.tensor_type.shape.dim for value in (*graph.input, *graph.value_info)}
    return {name: sizes[2].dim_value * sizes[3].dim_value for name, sizes in dims.items() if len(sizes) == 4}


def ranks(shape: tuple[int, ...], share: float) -> list[int]:
    return [max(1, round(share * size)) for size in shape[:2]]


def direct(shape: tuple[int, ...], _before: int, after: int) -> int:
    return shape[0] * shape[1] * shape[2] * shape[3] * after


def factored(shape: tuple[int, ...], before: int, after: int, found: list[int]) -> int:
    filters, channels = found
    return shape[1] * channels * before + (channels * shape[2] * shape[3] + shape[0]) * filters * after


def factor(graph: Any, node: Any, weight: Any, found: list[int]) -> None:
    """1x1 to fewer channels, the core, 1x1 to all filters; the bias stays with the last."""
    import onnx
    from tensorly.decomposition import partial_tucker

    (core, (out, into)), _ = partial_tucker(weight, found, modes=[0, 1])
    x, y, bias = node.input[0], node.output[0], list(node.input[2:])
    names = [f"{y}_{part}" for part in ("in", "core", "out")]
    for name, value in zip(names, (into.T[:, :, None, None], core, out[:, :, None, None]), strict=True):
        graph.initializer.append(onnx.numpy_helper.from_array(value.astype("float32").copy(), name))
    middle = onnx.helper.make_node("Conv", [f"{y}_few", names[1]], [f"{y}_some"])
    middle.attribute.extend(node.attribute)
    first = onnx.helper.make_node("Conv", [x, names[0]], [f"{y}_few"])
    last = onnx.helper.make_node("Conv", [f"{y}_some", names[2], *bias], [y])
    place = list(graph.node).index(node)
    graph.initializer.remove(next(tensor for tensor in graph.initializer if tensor.name == node.input[1]))
    graph.node.remove(node)
    for new in (last, middle, first):
        graph.node.insert(place, new)


class Peer(NamedTuple):
    """A tool.

    Attributes:
        rewrite: (source, target, images, setting) -> None.
        modules: imported before the clock starts.
        pins: what its environment holds; without any it runs in this one.
        any_network: rewrites any network from its weights alone.
    """

    rewrite: Callable[[Path, Path, Any, str], None]
    modules: tuple[str, ...]
    settings: tuple[str, ...]
    pins: tuple[str, ...] = ()
    any_network: bool = False

    def settings_for(self, trained: bool) -> list[str]:
        return [entry for entry in self.settings if trained or self.any_network or entry.endswith(WITHOUT_DATA)]


PEERS = {
    "original": Peer(original, (), ("",)),
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
    ),
    "onnxruntime": Peer(
        onnxruntime,
        ("onnxruntime.quantization", "onnxruntime.quantization.shape_inference"),
        ("s8s8 minmax", "s8s8 entropy", "u8s8 minmax reduce_range", f"dynamic {WITHOUT_DATA}"),
        ("onnxruntime==1.32.0", "onnx==1.23.2", "sympy==1.14.0"),
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
    ),
    "nncf": Peer(
        nncf,
        ("nncf",),
        ("default", "fast_bias_correction=False", f"compress_weights int8_sym {WITHOUT_DATA}"),
        ("nncf==3.4.0", "onnx==1.21.0", "onnxruntime==1.32.0"),
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
        tucker,
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
        "seconds": round(time.perf_counter() - started, 2),
        "cpu_seconds": round(time.process_time() - used, 2),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def rewritten(python: str, limit: float, *arguments: str) -> dict[str, Any]:
    """What `work` answers in another interpreter, or why there is no answer."""
    try:
        done = subprocess.run(
            [python, __file__, "--worker", *arguments], capture_output=True, text=True, timeout=limit, check=False
        )
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {limit:g} s"}
    except OSError as error:
        return {"failed": str(error)}
    lines = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()
    return {"failed": lines[-1][:LONGEST_REASON]} if done.returncode else json.loads(done.stdout.splitlines()[-1])


def calibrate(assets: str, network: str, images: int, target: str) -> None:
    """The images as every tool gets them: float32 (N, C, H, W); runs in a fresh process."""
    import numpy as np
    from onnx_compress.api import load_samples
    from onnx_compress.compiler.graph.io import load

    graph = load(Path(assets) / "models" / f"{network}.onnx").graph
    data = load_samples(graph, Path(assets) / "data" / "cifar10_train10k.npz", PREPROCESS, images)
    np.save(target, np.concatenate([next(iter(feeds.values())) for feeds in data.batches(images)]))


def prepare(network: str, args: argparse.Namespace) -> bool:
    """The network and its images in the folder; whether it is one of the assets."""
    source, target = args.assets / "models" / f"{network}.onnx", args.folder / f"{network}.onnx"
    images = args.folder / f"{network}.npy"
    if source.exists():
        shutil.copyfile(source, target)
        apart(args.limit, calibrate, str(args.assets), network, args.samples, str(images))
    else:
        apart(args.limit, invent, network, str(target), str(images))
    return source.exists()


def invent(network: str, target: str, images: str) -> None:
    """A network with random weights, and no images; runs in a fresh process."""
    import numpy as np
    import onnx
    from architectures import build

    onnx.save(build(network), target)
    np.save(images, np.zeros(0, np.float32))


def judge(source: str, small: str, test: str, images: int) -> dict[str, Any]:
    """What a file is worth; runs in a fresh process."""
    import onnx
    from onnx_compress.api import load_samples
    from onnx_compress.compiler.graph.io import load
    from onnx_compress.runtime.kernel_timing import processor
    from onnx_compress.runtime.quality.comparison import Accuracy, Agreement
    from onnx_compress.runtime.quality.distances import RelativeError
    from onnx_compress.runtime.quality.walk import compared
    from onnx_compress.runtime.session import Session

    data = load_samples(load(source).graph, Path(test), PREPROCESS, images)
    model = onnx.load(small)
    integer = any(node.op_type == "DequantizeLinear" for node in model.graph.node)
    figures = Agreement(), RelativeError(), Accuracy(data.labels)
    alike, distance, right = compared(Session(onnx.load(source)), Session(model), data, *figures)
    fused = top1(Session(model, fused=True), data) if integer else round(100 * right.value, 2)
    whole, kept = macs(source), macs(small)
    return {
        "top1": round(100 * right.value, 2),
        "top1_fused": fused,
        "agreement": round(100 * alike.value, 2),
        "output_error": round(distance.value, 4),
        "bytes": Path(small).stat().st_size,
        "macs": None if whole is None or kept is None else round(kept / whole, 4),
        **in_turns(onnx.load(source), model, next(iter(data.batches(1)))),
        "machine": processor(),
    }


def macs(path: str) -> int | None:
    """Of all Convs; None where some cannot be counted."""
    from onnx_compress.api import compress
    from onnx_compress.compiler.costs.network_cost import graph_cost
    from onnx_compress.compiler.errors import CompressError
    from onnx_compress.compiler.graph.shapes import infer_shapes

    try:
        graph = compress(path, "cleanup", target="ort", legalize=False).graph
    except CompressError:
        return None
    return graph_cost(graph, infer_shapes(graph)).macs


def in_turns(first: Any, second: Any, feeds: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of the second model, and their ratio to the first."""
    import numpy as np
    from onnx_compress.runtime.bench import paired_ratio
    from onnx_compress.runtime.session import Session

    sessions = [Session(model, 1, fused=True) for model in (first, second)]
    times = np.zeros((2, ROUNDS))
    for turn in range(-WARM_UP, ROUNDS):
        for index in (0, 1) if turn % 2 else (1, 0):
            started = time.perf_counter()
            sessions[index].run(feeds)
            times[index, max(turn, 0)] = 1e3 * (time.perf_counter() - started)
    ratio, interval = paired_ratio(times[1], times[0], np.random.default_rng(0))
    return {
        "ms": round(float(np.median(times[1])), 3),
        "latency_ratio": round(ratio, 3),
        "latency_interval": [round(end, 3) for end in interval],
    }


def apart(limit: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """A call in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply_async(function, arguments).get(limit)


def measure(network: str, trained: bool, tool: str, setting: str, args: argparse.Namespace) -> dict[str, Any]:
    """One line."""
    stem = "-".join([network, tool, *"".join(c if c.isalnum() else " " for c in setting).split()])
    source, small, images = (args.folder / name for name in (f"{network}.onnx", f"{stem}.onnx", f"{network}.npy"))
    line: dict[str, Any] = {"benchmark": "peers", "network": network, "tool": tool, "setting": setting}
    line.update(rewritten(interpreter(tool, args), args.limit, tool, setting, *map(str, (source, small, images))))
    if not trained:
        line["bytes"] = small.stat().st_size if small.exists() else None
        return {**line, "date": str(datetime.date.today())}
    if "failed" not in line:
        try:
            test = str(args.assets / "data" / "cifar10_test.npz")
            line.update(apart(args.limit, judge, str(source), str(small), test, args.images))
        except Exception as error:
            line["failed"] = f"the file cannot be judged: {error!r}"[:LONGEST_REASON]
    return {**line, "vnni": vnni(), "samples": args.samples, "images": args.images, "date": str(datetime.date.today())}


def vnni() -> bool | None:
    """Whether the processor adds INT8 products in 32 bits; None where it does not say."""
    try:
        return "vnni" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return None


def interpreter(tool: str, args: argparse.Namespace) -> str:
    given = dict(one.split("=", 1) for one in args.python)
    if tool in given or not PEERS[tool].pins:
        return given.get(tool, sys.executable)
    return str(args.environments / tool / "bin" / "python")


def create(folder: Path, tools: list[str]) -> Iterator[str]:
    """An environment per tool that has none yet; says what could not be installed."""
    for tool in tools:
        place, pins = folder / tool, PEERS[tool].pins
        if not pins or place.exists():
            continue
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        install = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", *pins]
        if subprocess.run(install, check=False).returncode:
            shutil.rmtree(place)
            yield f"{tool}: could not be installed"


def main() -> None:
    if sys.argv[1:2] == ["--worker"]:
        tool, setting, *paths = sys.argv[2:]
        print(f"\n{json.dumps(work(tool, setting, *map(Path, paths)))}", flush=True)
        return
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--networks", default="resnet20,resnet56")
    parser.add_argument("--only", action="append", choices=PEERS, help="a tool to measure (default: all)")
    parser.add_argument("--samples", type=int, default=512, help="unlabelled training images for every tool")
    parser.add_argument("--images", type=int, default=10000, help="test images")
    parser.add_argument("--limit", type=float, default=1800, help="seconds for the rewriting, and for the judging")
    parser.add_argument("--folder", type=Path, default=Path("out/peers"), help="where the rewritten networks go")
    parser.add_argument("--environments", type=Path, default=Path("out/environments"))
    parser.add_argument("--create", action="store_true", help="make the environments, and measure nothing")
    parser.add_argument("--python", action="append", default=[], metavar="TOOL=PATH", help="another interpreter")
    args = parser.parse_args()
    tools = args.only or list(PEERS)
    if args.create:
        sys.exit("\n".join(create(args.environments, tools)) or None)
    args.folder.mkdir(parents=True, exist_ok=True)
    for network in args.networks.split(","):
        trained = prepare(network, args)
        for tool in tools:
            for setting in PEERS[tool].settings_for(trained):
                print(json.dumps(measure(network, trained, tool, setting, args)), flush=True)


if __name__ == "__main__":
    main()
