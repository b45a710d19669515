"""Beside the peers: same model, same data, same machine, one run. A JSON line per network, tool and setting.

    python benchmarks/peers.py --environments out/environments --create
    python benchmarks/peers.py --environments out/environments [--networks resnet20,resnet56] [--only nncf]
    python benchmarks/peers.py --environments out/environments --networks squeezenet,efficientnet,yolox
    python benchmarks/peers.py --environments out/environments --networks resnet50,vgg16

Every tool rewrites the network in a process of its own, in its own interpreter, from the same unlabelled images; the
file it leaves is then judged here, in another process. `--create` makes a virtual environment per tool from the
versions in `peer_tools.PEERS`, which work with Python 3.11; `--python nncf=/path/to/python` takes another interpreter.
With `PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu` PyTorch comes without CUDA. A tool that fails has its
reason in `failed`.

`seconds` and `cpu_seconds` are those of the rewriting without the imports, `peak_mb` is the process's peak memory, with
them. `macs` is relative to the original, null where Convs have weights that cannot be seen. `agreement` is the share of
images, or of their pixels, for which the original network chooses the same class, of detectors the mAP50 with the boxes
that the original is sure of for the truth; `output_error` the distance of all outputs to the original's, relative to
their norm. Both are, like the figure of the task (`top1`, `map50`, `miou`), with Q/DQ pairs run as they are written;
with `_fused` behind the name they are with onnxruntime's INT8 kernels, which saturate on processors without VNNI
(`vnni` says which this is). `ms` is the median of a batch of 1 on one thread with those kernels, `latency_ratio` that
of the ratios to the original, the two timed in turns, with its 95 % interval. `xavier_ms` is the project's estimate for
the file as it is, null where none can be made; `xavier_refuses` has the rules by which `check` says that TensorRT 8
would not take the file, or would read it otherwise.

Networks are those of the assets: CIFAR-10 ResNets, and with `tools/real.py` networks with pictures of their own (512
for classifiers, 64 for detectors and segmenters). Others are those of `architectures.py` with random weights, which
only tools and settings that look at nothing but the weights rewrite, and whose files are not judged: for time and
memory.

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
import re
import resource
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any

import peer_tools
from accuracy import ASSETS
from peer_networks import Kind, costs, kind_of
from peer_tools import PEERS

LONGEST_REASON = 300


def rewritten(python: str, limit: float, memory: float | None, *arguments: str) -> dict[str, Any]:
    """What a tool answers in its interpreter, or why there is no answer; what else it writes goes away."""
    command = [python, peer_tools.__file__, *arguments]
    limited = partial(limit_memory, memory) if memory else None
    try:
        with tempfile.TemporaryDirectory() as folder:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=limit, check=False, preexec_fn=limited, cwd=folder
            )
    except subprocess.TimeoutExpired:
        return {"failed": f"more than {limit:g} s"}
    except OSError as error:
        return {"failed": str(error)}
    lines = (done.stderr.strip() or f"exit code {done.returncode}").splitlines()
    return {"failed": lines[-1][:LONGEST_REASON]} if done.returncode else json.loads(done.stdout.splitlines()[-1])


def limit_memory(gigabytes: float) -> None:
    most = int(gigabytes * 2**30)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def apart(limit: float, function: Callable[..., Any], *arguments: Any) -> Any:
    """A call in a fresh process."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply_async(function, arguments).get(limit)


def measure(network: str, kind: Kind, tool: str, setting: str, args: argparse.Namespace) -> dict[str, Any]:
    """One line."""
    stem = "-".join([network, tool, *"".join(c if c.isalnum() else " " for c in setting).split()])
    source, small, images = (args.folder / name for name in (f"{network}.onnx", f"{stem}.onnx", f"{network}.npy"))
    line: dict[str, Any] = {"benchmark": "peers", "network": network, "tool": tool, "setting": setting}
    paths = (str(path.absolute()) for path in (source, small, images))
    line.update(rewritten(interpreter(tool, args), args.limit, args.memory, tool, setting, *paths))
    if kind.judge is None:
        line["bytes"] = small.stat().st_size if small.exists() else None
        return {**line, "date": str(datetime.date.today())}
    if "failed" not in line:
        try:
            line.update(apart(args.limit, kind.judge, args.assets, network, source, small, args.images))
            line.update(apart(args.limit, costs, source, small, images, args.lock))
        except Exception as error:
            line["failed"] = f"the file cannot be judged: {error!r}"[:LONGEST_REASON]
    return {**line, "vnni": vnni(), "date": str(datetime.date.today())}


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
    return str(args.environments.absolute() / tool / "bin" / "python")


def create(folder: Path, tools: list[str]) -> Iterator[str]:
    """An environment per tool that has none yet; says what could not be installed."""
    for tool in tools:
        place, pins = folder / tool, PEERS[tool].pins
        if not pins or place.exists():
            continue
        install = [str(place / "bin" / "python"), "-m", "pip", "install", "--quiet", *pins]
        with ExitStack() as undo:
            undo.callback(shutil.rmtree, place, ignore_errors=True)
            subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
            if not subprocess.run(install, check=False).returncode:
                undo.pop_all()
                continue
        yield f"{tool}: could not be installed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--assets", type=Path, default=ASSETS)
    parser.add_argument("--networks", default="resnet20,resnet56")
    parser.add_argument("--only", action="append", choices=PEERS, help="a tool to measure (default: all)")
    parser.add_argument("--settings", help="regular expression: only settings that it finds")
    parser.add_argument("--samples", type=int, default=512, help="unlabelled training images for every tool")
    parser.add_argument("--images", type=int, default=10000, help="test images")
    parser.add_argument("--limit", type=float, default=1800, help="seconds for the rewriting, and for the judging")
    parser.add_argument("--memory", type=float, help="GB that a tool may take")
    parser.add_argument("--lock", type=Path, help="a file that is locked while milliseconds are taken")
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
        kind = kind_of(args.assets, network)
        paths = args.folder / f"{network}.onnx", args.folder / f"{network}.npy"
        apart(args.limit, kind.prepare, args.assets, network, *paths, args.samples)
        for tool in tools:
            for setting in filter(re.compile(args.settings or "").search, kind.settings(PEERS[tool])):
                print(json.dumps(measure(network, kind, tool, setting, args)), flush=True)


if __name__ == "__main__":
    main()
