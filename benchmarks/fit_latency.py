"""Fits the latency model to published latencies: a JSON line per network and for each result.

    python benchmarks/fit_latency.py [--latency]

The table is torch2trt's benchmarks/JETSON_XAVIER.md (NVIDIA-AI-IOT/torch2trt at 4680129): FP16, batch 1, 224 x 224;
MAXN is assumed. `published_ms` is 1000 / throughput, the time on the device; `--latency` takes the latency column,
which adds 0.2 to 0.35 ms of waiting for the device. Four constants are fitted to 12 networks, by least squares of
log(estimate / published). A line has

    in_sample        the estimate of the fit to all networks
    leave_one_out    the estimate of the fit to the others

Then checks on networks that are in no fit: DenseNet-121 of the same table (the rule that a Concat is one copy was
chosen with it in view); MobileNet-v2 and MnasNet at four widths, of the table that took its place
(docs/benchmarks/jetson_xavier.md at d1e7d4c, measured alike: the other networks within 8 % of the first table but for
DenseNet-121, which takes twice as long there); and INT8 results of MLPerf inference (v1.1 ResNet-50 at p50, single
stream; v0.5 MobileNet-v1). `ratio` lines are times of one network over those of another, in which the clocks of the
device cancel: MnasNet's widths show what narrower layers save, and the ResNets are those of a third table
(Nota-NetsPresso/netspresso-trainer at 5c32131, docs/benchmarks/device_matrix/tensorrt.md: Jetson Xavier, JetPack 4.6,
FP16, the power mode not named; ResNet-18, 34 and 50 take 20, 21 and 8 % less there than in the second).

Last come the fit without the `serial` term, and the constants, which are kept in `compiler/costs/latency/constants.py`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from architectures import build
from onnx_compress.compiler.costs.latency.constants import CONSTANTS, Constants
from onnx_compress.compiler.costs.latency.devices import DEVICES
from onnx_compress.compiler.costs.latency.kernel_time import Speed
from onnx_compress.compiler.costs.latency.kernel_work import KernelWork, kernel_work
from onnx_compress.compiler.costs.latency.precision import PrecisionRequest
from onnx_compress.compiler.graph.io import from_proto
from onnx_compress.compiler.graph.shapes import static_shapes
from scipy.optimize import least_squares

DEVICE = DEVICES["xavier"]
PUBLISHED = {  # throughput per second, latency in ms
    "alexnet": (580, 1.93),
    "squeezenet1_0": (890, 1.37),
    "squeezenet1_1": (1390, 0.95),
    "resnet18": (712, 1.64),
    "resnet34": (393, 2.79),
    "resnet50": (312, 3.48),
    "resnet101": (170, 6.22),
    "resnet152": (121, 8.58),
    "vgg11": (201, 5.16),
    "vgg13": (166, 6.27),
    "vgg16": (139, 7.46),
    "vgg19": (121, 8.52),
}
CHECKS: list[tuple[str, PrecisionRequest, float]] = [
    ("densenet121", "fp16", 1000 / 168),
    ("mobilenet_v2", "fp16", 1000 / 723),
    ("mnasnet0_5", "fp16", 1000 / 883),
    ("mnasnet0_75", "fp16", 1000 / 751),
    ("mnasnet1_0", "fp16", 1000 / 667),
    ("mnasnet1_3", "fp16", 1000 / 573),
    ("resnet50", "int8", 1.817),
    ("mobilenet_v1", "int8", 0.572),
]
RATIOS: list[tuple[str, str, float]] = [
    ("mnasnet0_5", "mnasnet1_0", 667 / 883),
    ("mnasnet0_75", "mnasnet1_0", 667 / 751),
    ("mnasnet1_3", "mnasnet1_0", 667 / 573),
    ("resnet34", "resnet18", 1.99773 / 1.10724),
    ("resnet50", "resnet18", 2.83026 / 1.10724),
]
FIELDS = ("efficiency", "bandwidth", "overhead", "serial")
START, LOW, HIGH = (0.7, 0.75, 15.0, 20.0), (0.05, 0.05, 1.0, 0.0), (1.0, 1.0, 60.0, 1000.0)
Works = list[KernelWork]
Figures = dict[str, float]


def kernels(name: str, precision: PrecisionRequest) -> Works:
    graph = from_proto(build(name, weights="none")).graph
    return kernel_work(graph, static_shapes(graph), precision)


def estimate(works: Works, constants: Constants) -> float:
    prices = Speed(DEVICE, DEVICE.fastest, constants)
    return sum(prices.kernel_ms(work.precision, work.products, work.bytes) for work in works)


def fit(networks: dict[str, Works], published: Figures, fields: Iterable[str] = FIELDS) -> Constants:
    """The constants with the least squares of log(estimate / published); fields that are left out are 0."""
    base = replace(CONSTANTS["xavier"], **dict.fromkeys(FIELDS, 0.0))
    chosen = [FIELDS.index(field) for field in fields]

    def constants(theta: np.ndarray) -> Constants:
        return replace(base, **{FIELDS[index]: float(value) for index, value in zip(chosen, theta, strict=True)})

    def residuals(theta: np.ndarray) -> list[float]:
        now = constants(theta)
        return [np.log(estimate(works, now) / published[name]) for name, works in networks.items()]

    start, low, high = (np.array(values)[chosen] for values in (START, LOW, HIGH))
    return constants(least_squares(residuals, start, bounds=(low, high), x_scale=start).x)


def left_out(networks: dict[str, Works], published: Figures, fields: Iterable[str] = FIELDS) -> dict[str, float]:
    """Relative error of every network under the fit to the others."""
    errors: dict[str, float] = {}
    for name, works in networks.items():
        others = {other: kept for other, kept in networks.items() if other != name}
        errors[name] = estimate(works, fit(others, published, fields)) / published[name] - 1
    return errors


def rms(errors: Iterable[float]) -> float:
    return float(np.sqrt(np.mean(np.square(list(errors)))))


def show(**figures: Any) -> None:
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--latency", action="store_true", help="fit the latency column, not 1000 / throughput")
    waits = parser.parse_args().latency
    published = {name: ms if waits else 1000 / fps for name, (fps, ms) in PUBLISHED.items()}
    networks = {name: kernels(name, "fp16") for name in published}
    constants, errors = fit(networks, published), left_out(networks, published)
    for name, ms in published.items():
        fitted, held = estimate(networks[name], constants), ms * (1 + errors[name])
        show(network=name, published_ms=ms, in_sample_ms=fitted, in_sample_error=fitted / ms - 1,
             leave_one_out_ms=held, leave_one_out_error=errors[name])  # fmt: skip
    checks = {(name, wanted): estimate(kernels(name, wanted), constants) / ms - 1 for name, wanted, ms in CHECKS}
    for name, precision, ms in CHECKS:
        error = checks[name, precision]
        show(check=name, precision=precision, published_ms=ms, estimate_ms=ms * (1 + error), error=error)
    for name, whole, ratio in RATIOS:
        ms, other = (estimate(kernels(each, "fp16"), constants) for each in (name, whole))
        show(ratio=f"{name}/{whole}", published=ratio, estimated=ms / other)
    plain = left_out(networks, published, [field for field in FIELDS if field != "serial"])
    show(without="serial", leave_one_out_rms=rms(plain.values()), leave_one_out_max=max(map(abs, plain.values())))
    show(leave_one_out_rms=rms(errors.values()), leave_one_out_max=max(map(abs, errors.values())),
         int8_rms=rms(error for (_, wanted), error in checks.items() if wanted == "int8"))  # fmt: skip
    show(constants={field: round(getattr(constants, field), 4) for field in FIELDS})


if __name__ == "__main__":
    main()
