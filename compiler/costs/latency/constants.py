"""What was fitted, as data: `python benchmarks/fit_latency.py` prints these figures and how well they hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Constants:
    """The constants of `compiler.costs.latency.kernel_time`, for the device's fastest mode.

    Attributes:
        efficiency: share of the peak that a kernel with many tiles reaches.
        bandwidth: share of the memory's bandwidth that a kernel reaches.
        overhead: microseconds of a layer's kernel that neither work nor traffic explain.
        serial: nanoseconds that a tile needs for one element of depth in FP16, however few tiles there are.
        small_overhead: microseconds of any other kernel; not fitted. The published times of tiny kernels on the device
            (softmax 4.4 to 8.6, reformatting 3.8 to 8.5, mean 5.5; forums.developer.nvidia.com/t/77379).
        error: root mean square of the relative errors of the FP16 networks, each left out of the fit.
        int8_error: the same for the INT8 networks, which no constant was fitted to.
    """

    efficiency: float
    bandwidth: float
    overhead: float
    serial: float
    small_overhead: float
    error: float
    int8_error: float


CONSTANTS: dict[str, Constants] = {
    "xavier": Constants(
        efficiency=0.7066,
        bandwidth=0.7199,
        overhead=19.0492,
        serial=19.6065,
        small_overhead=5.5,
        error=0.0796,
        int8_error=0.1847,
    ),
    "orin": Constants(
        efficiency=0.7066,
        bandwidth=0.9853,
        overhead=6.8461,
        serial=7.1828,
        small_overhead=5.5,
        error=0.0566,
        int8_error=0.1875,
    ),
}
