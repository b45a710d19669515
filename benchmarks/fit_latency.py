"""Fits the latency model of a device to published latencies: a JSON line per network and for each result.

    python benchmarks/fit_latency.py [--table xavier|orin|xavier-4.6] [--latency]

The networks, their times and where they come from are in `published_latencies`. Constants are fitted by least squares
of log(estimate / published); `--latency` fits the times with the wait for the device. A line has

    in_sample        the estimate of the fit to all networks
    leave_one_out    the estimate of the fit to the others

Then, of the fit to all: the networks that are in no fit (`check`); times of one network over those of another, in which
the clocks cancel (`ratio`); times at another clock (`clock`). `family` lines have the errors of networks of one
structure that were left out together. Last come the fit without the `serial` term, and the constants, which are kept in
`compiler/costs/latency/constants.py`.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

import architectures
import detectors
import mobile_networks
import numpy as np
import onnx
from onnx_compress.compiler.costs.latency.constants import CONSTANTS, Constants
from onnx_compress.compiler.costs.latency.devices import DEVICES, Device
from onnx_compress.compiler.costs.latency.kernel_time import Speed
from onnx_compress.compiler.costs.latency.kernel_work import KernelWork, kernel_work
from onnx_compress.compiler.costs.latency.precision import PrecisionRequest
from onnx_compress.compiler.graph.io import from_proto
from onnx_compress.compiler.graph.shapes import static_shapes
from published_latencies import PUBLISHED, Published
from scipy.optimize import least_squares

START = {"efficiency": 0.7, "bandwidth": 0.75, "overhead": 15.0, "serial": 20.0}
LOW = {"efficiency": 0.05, "bandwidth": 0.05, "overhead": 1.0, "serial": 0.0}
HIGH = {"efficiency": 1.0, "bandwidth": 1.0, "overhead": 60.0, "serial": 1000.0}
Works = list[KernelWork]


def network(name: str) -> onnx.ModelProto:
    """Of any of the modules, without weights."""
    if name in mobile_networks.MOBILE_NETWORKS:
        return mobile_networks.build(name, weights="none")
    if name in detectors.DETECTORS:
        return detectors.build(name, weights="none")
    return architectures.build(name, weights="none")


@cache
def kernels(name: str, precision: PrecisionRequest) -> Works:
    graph = from_proto(network(name)).graph
    return kernel_work(graph, static_shapes(graph), precision)


@dataclass(frozen=True)
class Fitting:
    """How the constants of a device are found: those that are `fitted`, beside the others of `base`."""

    device: Device
    base: Constants
    fitted: Sequence[str]

    def estimate(self, works: Works, constants: Constants, gpu_mhz: float | None = None) -> float:
        mode = self.device.fastest
        prices = Speed(self.device, mode if gpu_mhz is None else replace(mode, gpu_mhz=gpu_mhz), constants)
        return sum(prices.kernel_ms(work.precision, work.products, work.bytes) for work in works)

    def fit(self, published: Mapping[str, float]) -> Constants:
        """The constants with the least squares of log(estimate / published)."""

        def constants(theta: np.ndarray) -> Constants:
            return replace(self.base, **dict(zip(self.fitted, map(float, theta), strict=True)))

        def residuals(theta: np.ndarray) -> list[float]:
            now = constants(theta)
            return [np.log(self.estimate(kernels(name, "fp16"), now) / ms) for name, ms in published.items()]

        start, low, high = (np.array([values[name] for name in self.fitted]) for values in (START, LOW, HIGH))
        return constants(least_squares(residuals, start, bounds=(low, high), x_scale=start).x)

    def left_out(self, published: Mapping[str, float], families: Iterable[Sequence[str]]) -> dict[str, float]:
        """Relative error of every network under the fit to those of the other families."""
        errors: dict[str, float] = {}
        for family in families:
            found = self.fit({name: ms for name, ms in published.items() if name not in family})
            for name in family:
                errors[name] = self.estimate(kernels(name, "fp16"), found) / published[name] - 1
        return errors


def fitting(table: Published) -> Fitting:
    """With the constants of the device that the table is of."""
    return Fitting(DEVICES[table.device], CONSTANTS[table.device], table.fitted)


def alone(published: Mapping[str, float]) -> list[tuple[str]]:
    """Each network as a family of its own."""
    return [(name,) for name in published]


def rms(errors: Iterable[float]) -> float:
    return float(np.sqrt(np.mean(np.square(list(errors)))))


def show(**figures: Any) -> None:
    print(json.dumps({k: round(v, 4) if isinstance(v, float) else v for k, v in figures.items()}))


def show_checks(how: Fitting, constants: Constants, table: Published) -> None:
    for name, precision, ms in table.checks:
        found = how.estimate(kernels(name, precision), constants)
        show(check=name, precision=precision, published_ms=ms, estimate_ms=found, error=found / ms - 1)
    for name, whole, ratio in table.ratios:
        ms, other = (how.estimate(kernels(each, "fp16"), constants) for each in (name, whole))
        show(ratio=f"{name}/{whole}", published=ratio, estimated=ms / other)
    for name, precision, mhz, ratio in table.clocks:
        works = kernels(name, precision)
        slower = how.estimate(works, constants, mhz) / how.estimate(works, constants)
        show(clock=name, precision=precision, mhz=mhz, published=ratio, estimated=slower)


def show_left_out(name: str, errors: Mapping[str, float]) -> None:
    show(left_out=name, rms=rms(errors.values()), max=max(map(abs, errors.values())))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--table", choices=list(PUBLISHED), default="xavier")
    parser.add_argument("--latency", action="store_true", help="fit the times with the wait for the device")
    args = parser.parse_args()
    table = PUBLISHED[args.table]
    how = fitting(table)
    if args.latency and not table.waiting:
        parser.error(f"the table {args.table} has no times with the wait for the device")
    published = table.waiting if args.latency else table.milliseconds
    constants, errors = how.fit(published), how.left_out(published, alone(published))
    for name, ms in published.items():
        fitted, held = how.estimate(kernels(name, "fp16"), constants), ms * (1 + errors[name])
        show(network=name, published_ms=ms, in_sample_ms=fitted, in_sample_error=fitted / ms - 1,
             leave_one_out_ms=held, leave_one_out_error=errors[name])  # fmt: skip
    show_checks(how, constants, table)
    families = how.left_out(published, table.families)
    for family in table.families:
        show(family=", ".join(family), errors=[round(families[name], 4) for name in family])
    plain = replace(how, base=replace(how.base, serial=0.0), fitted=[name for name in how.fitted if name != "serial"])
    show_left_out("each, without serial", plain.left_out(published, alone(published)))
    show_left_out("each", errors)
    show_left_out("each family", families)
    int8 = {
        n: how.estimate(kernels(n, "int8"), constants) / ms - 1 for n, wanted, ms in table.checks if wanted == "int8"
    }
    show(int8_rms=rms(int8.values()))
    show(constants={name: round(float(getattr(constants, name)), 4) for name in START})


if __name__ == "__main__":
    main()
