"""The networks of `peers.py`: with what images they are calibrated, and what a rewritten file is worth.

Three kinds. `real.py` of the assets gives the real ones calibration samples and judges files by their own task; the
CIFAR-10 networks lie in the assets' `models`; those of `architectures.py` have random weights and are not judged.

Every function that needs more than the standard library is to be called in a fresh process (`peers.apart`).
"""

from __future__ import annotations

import fcntl
import importlib.util
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

from accuracy import PREPROCESS, top1
from peer_tools import Peer

ROUNDS, FEWEST_ROUNDS, WARM_UP, TIMED_SECONDS = 300, 30, 10, 10.0
FEWER, SURE = 64, 0.3
DEVICE = "xavier"
VALUES = {"classes": "top1", "boxes": "map50", "mask": "miou"}
"""What `real.py` calls the figure of each task."""


class Kind(NamedTuple):
    """What is done with a kind of network.

    Attributes:
        prepare: (assets, name, network, images, samples) -> None writes the network and its images, both for all tools.
        judge: (assets, name, source, small, images) -> figures of a file; None: it is not judged.
        settings: of a tool.
    """

    prepare: Callable[[Path, str, Path, Path, int], None]
    judge: Callable[[Path, str, Path, Path, int], dict[str, Any]] | None
    settings: Callable[[Peer], tuple[str, ...]]


def kind_of(assets: Path, name: str) -> Kind:
    if (assets / "models" / f"{name}.onnx").exists():
        return CIFAR
    return REAL if name in real_networks(assets) else RANDOM


def real_networks(assets: Path) -> dict[str, Path]:
    """Name -> file of those that `real.py` knows; none without it."""
    tool = assets / "tools" / "real.py"
    if not tool.exists():
        return {}
    listed = subprocess.run([sys.executable, str(tool), "list"], check=True, capture_output=True, text=True)
    return {name: Path(file) for name, file in map(str.split, listed.stdout.splitlines())}


def prepare_cifar(assets: Path, name: str, network: Path, images: Path, samples: int) -> None:
    import numpy as np
    from onnx_compress.api import load_samples
    from onnx_compress.compiler.graph.io import load

    shutil.copyfile(assets / "models" / f"{name}.onnx", network)
    data = load_samples(load(network).graph, assets / "data" / "cifar10_train10k.npz", PREPROCESS, samples)
    np.save(images, np.concatenate([next(iter(feeds.values())) for feeds in data.batches(samples)]))


def prepare_real(assets: Path, name: str, network: Path, images: Path, samples: int) -> None:
    """As many samples as there are, at most; `FEWER` where outputs have more than classes."""
    import numpy as np

    shutil.copyfile(real_networks(assets)[name], network)
    tool, packed = assets / "tools" / "real.py", images.with_suffix(".npz")
    count = samples if load_tool(tool).NETS[name][3] == "classes" else min(samples, FEWER)
    subprocess.run([sys.executable, str(tool), "data", name, str(packed), "--n", str(count)], check=True)
    with np.load(packed) as arrays:
        np.save(images, next(iter(arrays.values())))
    packed.unlink()


def prepare_random(_assets: Path, name: str, network: Path, images: Path, _samples: int) -> None:
    """Random weights, and no images."""
    import numpy as np
    import onnx
    from architectures import build

    onnx.save(build(name), network)
    np.save(images, np.zeros(0, np.float32))


def judge_cifar(assets: Path, _name: str, source: Path, small: Path, images: int) -> dict[str, Any]:
    import onnx
    from onnx_compress.api import load_samples
    from onnx_compress.compiler.graph.io import load
    from onnx_compress.runtime.quality.comparison import Accuracy, Agreement
    from onnx_compress.runtime.quality.distances import RelativeError
    from onnx_compress.runtime.quality.walk import compared
    from onnx_compress.runtime.session import Session

    data = load_samples(load(source).graph, assets / "data" / "cifar10_test.npz", PREPROCESS, images)
    model = onnx.load(small)
    integer = any(node.op_type == "DequantizeLinear" for node in model.graph.node)
    figures = Agreement(), RelativeError(), Accuracy(data.labels)
    alike, distance, right = compared(Session(onnx.load(source)), Session(model), data, *figures)
    return {
        "images": data.samples,
        "top1": round(100 * right.value, 2),
        "top1_fused": top1(Session(model, fused=True), data) if integer else round(100 * right.value, 2),
        "agreement": round(100 * alike.value, 2),
        "output_error": round(distance.value, 4),
    }


def judge_real(assets: Path, name: str, source: Path, small: Path, images: int) -> dict[str, Any]:
    """By its task, as written and fused; agreement and error over the same pictures."""
    judge = RealJudge(assets / "tools" / "real.py", name, images, source.with_suffix(f".{images}.outputs.npy"))
    written, fused = (judge.figures(str(small), each) for each in (False, True))
    return written | {f"{key}_fused": value for key, value in fused.items() if key != "images"}


class RealJudge:
    """What `real.py` says of files, and what is measured beside it.

    Args:
        tool: the file of `real.py`.
        kept: where the outputs of the original are kept for the next file: (pictures, ...).
    """

    def __init__(self, tool: Path, name: str, images: int, kept: Path):
        self._real = real = load_tool(tool)
        self._name, self._images, self._task = name, images, real.NETS[name][3]
        self._run, real.run = real.run, self._run_once
        self._mean_ap, real.mean_ap = real.mean_ap, self._noted
        real.Pictures.image, real.Pictures = cache(real.Pictures.image), cache(real.Pictures)
        self._original: str = real.original(name)
        self._outputs: dict[str, Any] = {}
        self._before = self._outputs_of_original(kept)

    def figures(self, file: str, fused: bool) -> dict[str, Any]:
        """The task's own, `agreement` and `output_error`, with Q/DQ pairs as they are written or as INT8 kernels."""
        found = self._judged(file, fused)
        value, images = VALUES[self._task], found["images"]
        agreement = self._boxes_alike() if self._task == "boxes" else found["agreement"]
        error = relative_distance(self._before, self._outputs[file])
        return {value: found[value], "images": images, "agreement": agreement, "output_error": round(error, 4)}

    def _judged(self, file: str, fused: bool) -> dict[str, Any]:
        self._real.session = partial(session, fused=fused)
        return getattr(self._real, self._task)(self._name, file, self._images)

    def _outputs_of_original(self, kept: Path) -> Any:
        import numpy as np

        if not kept.exists():
            self._judged(self._original, fused=False)
            np.save(kept, np.stack(self._outputs[self._original]))
        return np.load(kept, mmap_mode="r")

    def _run_once(self, file: str, inputs: list[Any], batch: int) -> Iterator[Any]:
        """As `real.run`; the original does not run if its outputs are known."""
        known = file == self._original and hasattr(self, "_before")
        self._outputs[file] = self._before if known else list(self._run(file, inputs, batch))
        return iter(self._outputs[file])

    def _noted(self, found: Any, truth: Any) -> Any:
        """As `real.mean_ap`; what was found is kept."""
        self._found = found
        return self._mean_ap(found, truth)

    def _boxes_alike(self) -> float:
        """mAP50 with the boxes that the original is sure of for the truth."""
        return self._mean_ap(self._found, self._sure)[0]

    @cached_property
    def _sure(self) -> list[Any]:
        pictures = self._real.Pictures("coco_judge")
        boxes = [self._real.decode(self._name, y, pictures.image(i)) for i, y in enumerate(self._before)]
        return [(kinds[scores > SURE], corners[scores > SURE]) for corners, scores, kinds in boxes]


def load_tool(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def session(path: str, fused: bool) -> Any:
    """Of onnxruntime; threads wait without a loop."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.disable_quant_qdq", "0" if fused else "1")
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def relative_distance(first: Any, second: Any) -> float:
    """The norm of the differences of two lists of arrays, relative to that of the first."""
    import numpy as np

    apart = sum(float(np.square(b - a, dtype=np.float64).sum()) for a, b in zip(first, second, strict=True))
    return float(np.sqrt(apart / sum(float(np.square(a, dtype=np.float64).sum()) for a in first)))


def costs(source: Path, small: Path, images: Path, lock: Path | None) -> dict[str, Any]:
    """What a judged file takes: bytes, MACs, milliseconds here and by estimate on the device; refusals."""
    from onnx_compress.runtime.kernel_timing import processor

    before, after = static_costs(source), static_costs(small)
    times = timed(source, small, images, lock)
    known = before is not None and after is not None
    return {
        "bytes": small.stat().st_size,
        "macs": round(after["macs"] / before["macs"], 4) if known else None,
        **times,
        "machine": processor(),
        f"{DEVICE}_ms": milliseconds(after),
        f"{DEVICE}_ms_original": milliseconds(before),
        f"{DEVICE}_refuses": refusals(small),
    }


def static_costs(path: Path) -> Any:
    """What a report has of a file, None where Convs cannot be counted."""
    from onnx_compress.api import compress
    from onnx_compress.compiler.errors import CompressError

    try:
        sizes = compress(path, "cleanup", target=DEVICE, legalize=False).report["after"]
    except CompressError:
        return None
    return sizes if sizes["macs"] is not None else None


def refusals(path: Path) -> list[str]:
    """By which rules the device's engine would not take a file."""
    from onnx_compress.compiler.graph.io import parse
    from onnx_compress.compiler.lint import lint
    from onnx_compress.compiler.targets import find_target

    found = lint(parse(path), find_target(DEVICE), path.parent, [])
    return sorted({finding.rule for finding in found if finding.severity == "error"})


def milliseconds(sizes: Any) -> float | None:
    return None if sizes is None or sizes["latency"] is None else round(sizes["latency"]["ms"], 4)


def timed(source: Path, small: Path, images: Path, lock: Path | None) -> dict[str, Any]:
    """`in_turns`, on the first image."""
    import numpy as np
    import onnx

    models = onnx.load(source), onnx.load(small)
    feeds = {models[0].graph.input[0].name: np.load(images, mmap_mode="r")[:1]}
    with held(lock):
        return in_turns(*models, feeds)


@contextmanager
def held(lock: Path | None) -> Iterator[None]:
    """While a file is locked, if one is given: others who lock it wait."""
    if lock is None:
        yield
        return
    with lock.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def in_turns(first: Any, second: Any, feeds: dict[str, Any]) -> dict[str, Any]:
    """Milliseconds of the second model, and their ratio to the first; fewer rounds where they take long."""
    import numpy as np
    from onnx_compress.runtime.bench import paired_ratio
    from onnx_compress.runtime.session import Session

    sessions = [Session(model, 1, fused=True) for model in (first, second)]
    times = np.zeros((2, ROUNDS))
    begun = time.perf_counter()
    for turn in range(-WARM_UP, ROUNDS):
        if turn >= FEWEST_ROUNDS and time.perf_counter() - begun > TIMED_SECONDS:
            times = times[:, :turn]
            break
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


CIFAR = Kind(prepare_cifar, judge_cifar, lambda peer: peer.settings)
REAL = Kind(prepare_real, judge_real, lambda peer: peer.real)
RANDOM = Kind(prepare_random, None, Peer.from_weights)
