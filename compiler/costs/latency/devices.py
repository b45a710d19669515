"""Devices and their power modes, as data.

Jetson AGX Xavier: 8 SMs of 64 CUDA cores and 8 tensor cores (64 fused multiply-adds per clock each), two SMs a TPC; a
256-bit LPDDR4x bus. The clocks of the modes are those that `nvpmodel` sets (jetsonhacks.com, 2018-10-07; documentation
of waggle-sensor/summer2020); peaks and bandwidths follow from them:

    FP32 = 64 SMs 2 f      FP16 = 8 * 64 SMs 2 f      INT8 = 2 FP16      bandwidth = 32 B * 2 f_EMC
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import UsageError
from .precision import Precision

FMA_PER_SM: dict[Precision, int] = {"fp32": 64, "fp16": 8 * 64, "int8": 2 * 8 * 64}


@dataclass(frozen=True)
class Mode:
    """A power mode: GPU clock and memory clock in MHz, and how many TPCs are on."""

    gpu_mhz: int
    tpcs: int
    emc_mhz: int

    @property
    def multiprocessors(self) -> int:
        return 2 * self.tpcs

    @property
    def bandwidth(self) -> float:
        """Bytes per millisecond."""
        return 32 * 2 * self.emc_mhz * 1e3

    def peak(self, precision: Precision) -> float:
        """Operations (2 per multiply-accumulate) per millisecond."""
        return FMA_PER_SM[precision] * self.multiprocessors * 2 * self.gpu_mhz * 1e3


@dataclass(frozen=True)
class Device:
    """A device with its power modes.

    Attributes:
        modes: by the name that nvpmodel gives them, the fastest first.
        multiples: what its kernels pad channels to, by precision.
        narrow_multiples: the same for kernels on the CUDA cores, a word of four bytes.
        cuda_share: peak of the CUDA cores, as a share of the tensor cores' (FP16 in pairs, INT8 by dot products of 4).
    """

    name: str
    modes: Mapping[str, Mode]
    multiples: Mapping[Precision, int]
    narrow_multiples: Mapping[Precision, int]
    cuda_share: Mapping[Precision, float]

    @property
    def fastest(self) -> Mode:
        return next(iter(self.modes.values()))

    def mode(self, name: str) -> Mode:
        """The power mode of that name; `UsageError` with the known ones otherwise."""
        if name not in self.modes:
            raise UsageError(f"unknown power mode '{name}'", self.name, f"one of {', '.join(self.modes)}")
        return self.modes[name]


DEVICES: dict[str, Device] = {
    "xavier": Device(
        name="xavier",
        modes={
            "MAXN": Mode(gpu_mhz=1377, tpcs=4, emc_mhz=2133),
            "30W": Mode(gpu_mhz=900, tpcs=4, emc_mhz=1600),
            "15W": Mode(gpu_mhz=670, tpcs=4, emc_mhz=1333),
            "10W": Mode(gpu_mhz=520, tpcs=2, emc_mhz=1066),
        },
        multiples={"fp32": 1, "fp16": 8, "int8": 32},
        narrow_multiples={"fp32": 1, "fp16": 2, "int8": 4},
        cuda_share={"fp32": 1.0, "fp16": 0.25, "int8": 0.25},
    )
}
