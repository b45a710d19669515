"""Devices and their power modes, as data.

Jetson AGX Xavier: 8 SMs of 64 CUDA cores and 8 tensor cores (64 fused multiply-adds per clock each), two SMs a TPC; a
256-bit LPDDR4x bus. The clocks of the modes are those that `nvpmodel` sets (jetsonhacks.com, 2018-10-07; documentation
of waggle-sensor/summer2020); peaks and bandwidths follow from them:

    FP32 = 64 SMs 2 f      FP16 = 8 * 64 SMs 2 f      INT8 = 2 FP16      bandwidth = 32 B * 2 f_EMC

Jetson AGX Orin 64 GB: 16 SMs of 128 CUDA cores and 4 tensor cores (256 fused multiply-adds in FP16 per clock each), two
SMs a TPC; a 256-bit LPDDR5 bus. 5.3 TFLOPS in FP32 on the CUDA cores, 85 TOPS in dense INT8, 204.8 GB/s; 4 MB of L2
cache, eight times that of the Xavier. FP32 is TF32 here, at half the rate of FP16: trtexec takes it unless it is told
`--noTF32`. Dot products of 4 and FP16 run on half as many lanes as FP32 does (forums.developer.nvidia.com/t/302018).

    TF32 = FP16 / 2      FP16 = 4 * 256 SMs 2 f      INT8 = 2 FP16      bandwidth = 32 B * 2 f_EMC

Its modes are those of nvpmodel_p3701_0000.conf as JetPack 6 has it (LineageOS/android_device_nvidia_concord at
0a7ce0b); MAXN sets no limit: 1300.5 and 3199 MHz. JetPack 5 has 828.75, 624.75 and 420.75 MHz instead, by the clocks
that can be set (mlcommons/inference_results_v2.0), and in 15W two TPCs, by the TOPS of the modes (171, 109, 41, 14
sparse; NVIDIA/Deep-Learning-Accelerator-SW at 1da860c).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ...errors import UsageError
from .precision import Precision


@dataclass(frozen=True)
class Mode:
    """A power mode: GPU clock and memory clock in MHz, and how many TPCs are on."""

    gpu_mhz: float
    tpcs: int
    emc_mhz: int

    @property
    def multiprocessors(self) -> int:
        return 2 * self.tpcs

    @property
    def bandwidth(self) -> float:
        """Bytes per millisecond."""
        return 32 * 2 * self.emc_mhz * 1e3


@dataclass(frozen=True)
class Device:
    """A device with its power modes.

    Attributes:
        modes: by the name that nvpmodel gives them, the fastest first.
        fma_per_sm: fused multiply-adds of a multiprocessor per clock, on tensor cores where they take the precision.
        multiples: what its kernels pad channels to, by precision.
        narrow_multiples: the same for kernels on the CUDA cores, a word of four bytes.
        cuda_share: peak of the CUDA cores, as a share of the tensor cores' (FP16 in pairs, INT8 by dot products of 4).
    """

    name: str
    modes: Mapping[str, Mode]
    fma_per_sm: Mapping[Precision, int]
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

    def peak(self, mode: Mode, precision: Precision) -> float:
        """Operations (2 per multiply-accumulate) per millisecond."""
        return self.fma_per_sm[precision] * mode.multiprocessors * 2 * mode.gpu_mhz * 1e3


DEVICES: dict[str, Device] = {
    "xavier": Device(
        name="xavier",
        modes={
            "MAXN": Mode(gpu_mhz=1377, tpcs=4, emc_mhz=2133),
            "30W": Mode(gpu_mhz=900, tpcs=4, emc_mhz=1600),
            "15W": Mode(gpu_mhz=670, tpcs=4, emc_mhz=1333),
            "10W": Mode(gpu_mhz=520, tpcs=2, emc_mhz=1066),
        },
        fma_per_sm={"fp32": 64, "fp16": 8 * 64, "int8": 2 * 8 * 64},
        multiples={"fp32": 1, "fp16": 8, "int8": 32},
        narrow_multiples={"fp32": 1, "fp16": 2, "int8": 4},
        cuda_share={"fp32": 1.0, "fp16": 0.25, "int8": 0.25},
    ),
    "orin": Device(
        name="orin",
        modes={
            "MAXN": Mode(gpu_mhz=1300.5, tpcs=8, emc_mhz=3199),
            "50W": Mode(gpu_mhz=816, tpcs=8, emc_mhz=3199),
            "30W": Mode(gpu_mhz=612, tpcs=4, emc_mhz=3199),
            "15W": Mode(gpu_mhz=408, tpcs=3, emc_mhz=2133),
        },
        fma_per_sm={"fp32": 4 * 128, "fp16": 4 * 256, "int8": 2 * 4 * 256},
        multiples={"fp32": 4, "fp16": 8, "int8": 32},
        narrow_multiples={"fp32": 1, "fp16": 2, "int8": 4},
        cuda_share={"fp32": 0.25, "fp16": 0.125, "int8": 0.125},
    ),
}
