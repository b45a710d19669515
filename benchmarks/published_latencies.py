"""Latencies that others measured and published: what `fit_latency.py` fits to and checks against.

`xavier`: Jetson AGX Xavier. The table is torch2trt's benchmarks/JETSON_XAVIER.md (NVIDIA-AI-IOT/torch2trt at 4680129):
FP16, batch 1, 224 x 224; MAXN is assumed. The time is 1000 / throughput; the latency column adds 0.2 to 0.35 ms of
waiting for the device. Checks: DenseNet-121 of the same table (the rule that a Concat is one copy was chosen with it in
view); MobileNet-v2 and MnasNet at four widths, of the table that took its place (docs/benchmarks/jetson_xavier.md at
d1e7d4c, measured alike: the other networks within 8 % of the first table but for DenseNet-121, which takes twice as
long there); and INT8 results of MLPerf inference (v1.1 ResNet-50 at p50, single stream; v0.5 MobileNet-v1). Ratios:
MnasNet's widths show what narrower layers save, and the ResNets are those of a third table
(Nota-NetsPresso/netspresso-trainer at 5c32131, docs/benchmarks/device_matrix/tensorrt.md: Jetson Xavier, JetPack 4.6,
FP16, the power mode not named; ResNet-18, 34 and 50 take 20, 21 and 8 % less there than in the second).

`orin`: Jetson AGX Orin. The table is that third one: JetPack 5.0.1, FP16, batch 1, computation alone, 224 x 224 but for
YOLOX (640 x 640). The power mode is not named; MAXN is assumed, since at the clocks of 50W the fit of all four
constants takes the whole peak and the whole bandwidth. The networks there tell 3 or 4 classes apart, here 1000 or 80.
Checks: MixNet of the same table; and INT8 results of MLPerf inference, single stream at p50, closed division, NVIDIA's
Orin_TRT: ResNet-50 and RetinaNet of v3.1 (JetPack 5.1.1, TensorRT 8.5.2; mlcommons/inference_results_v3.1 at eaf622a)
and SSD-ResNet-34 of v2.0 (mlcommons/inference_results_v2.0 at e1f8956); the detectors with the suppression of boxes,
which is not estimated. ResNet-50 takes 0.691 ms in v2.0 and 0.642 in v2.1. Clocks: Orin_TRT_MaxQ of v2.0, which has a
slower clock of the GPU (closed/NVIDIA/configs) and the same one of the memory.

`xavier-4.6`: the same networks on a Jetson AGX Xavier, of the same table: JetPack 4.6. No constants come from it.

Found for the Orin and left out: of the same repository EfficientFormer (attention), PIDNet, an Orin Nano (in which mode
is not said) and networks compressed to half (without their sizes); YOLO11 of docs.ultralytics.com (with work of the
host), EfficientViT (with copies), NanoSAM, YOLOv7 on a DRIVE Orin, trtutils (with copies), whatever has no precision or
was measured in batches.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from onnx_compress.compiler.costs.latency.precision import PrecisionRequest


@dataclass(frozen=True)
class Published:
    """What was published for a device.

    Attributes:
        device: the name of its peaks and clocks in `compiler.costs.latency`.
        milliseconds: of the networks that are fitted to, FP16.
        families: networks of one structure, all of them together; each is also left out of the fit as a whole.
        fitted: the constants that are fitted to them. The others stay as they are.
        waiting: the same with the wait for the device, where that was measured.
        checks: networks in no fit, with precision and milliseconds.
        ratios: time of a network over that of another, where clocks and tables cancel.
        clocks: time at a clock of the GPU in MHz over that at the full clock.
    """

    device: str
    milliseconds: Mapping[str, float]
    families: Sequence[Sequence[str]]
    fitted: Sequence[str]
    waiting: Mapping[str, float] = field(default_factory=dict[str, float])
    checks: Sequence[tuple[str, PrecisionRequest, float]] = ()
    ratios: Sequence[tuple[str, str, float]] = ()
    clocks: Sequence[tuple[str, PrecisionRequest, float, float]] = ()


MNASNET: list[tuple[str, str, float]] = [
    ("mnasnet0_5", "mnasnet1_0", 667 / 883),
    ("mnasnet0_75", "mnasnet1_0", 667 / 751),
    ("mnasnet1_3", "mnasnet1_0", 667 / 573),
]
STRUCTURES = (
    ("resnet18", "resnet34", "resnet50"),
    ("mobilenet_v3_small", "mobilenet_v3_large"),
    ("yolox_s", "yolox_m", "yolox_l"),
)
XAVIER_TABLE = {  # throughput per second, latency in ms
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
PUBLISHED = {
    "xavier": Published(
        device="xavier",
        milliseconds={name: 1000 / throughput for name, (throughput, _) in XAVIER_TABLE.items()},
        waiting={name: ms for name, (_, ms) in XAVIER_TABLE.items()},
        families=(
            ("alexnet",),
            ("squeezenet1_0", "squeezenet1_1"),
            ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152"),
            ("vgg11", "vgg13", "vgg16", "vgg19"),
        ),
        fitted=("efficiency", "bandwidth", "overhead", "serial"),
        checks=(
            ("densenet121", "fp16", 1000 / 168),
            ("mobilenet_v2", "fp16", 1000 / 723),
            ("mnasnet0_5", "fp16", 1000 / 883),
            ("mnasnet0_75", "fp16", 1000 / 751),
            ("mnasnet1_0", "fp16", 1000 / 667),
            ("mnasnet1_3", "fp16", 1000 / 573),
            ("resnet50", "int8", 1.817),
            ("mobilenet_v1", "int8", 0.572),
        ),
        ratios=(
            *MNASNET,
            ("resnet34", "resnet18", 1.99773 / 1.10724),
            ("resnet50", "resnet18", 2.83026 / 1.10724),
        ),
    ),
    "orin": Published(
        device="orin",
        milliseconds={
            "resnet18": 0.520046,
            "resnet34": 0.87017,
            "resnet50": 1.1421,
            "mobilenet_v3_small": 0.721624,
            "mobilenet_v3_large": 0.919789,
            "yolox_s": 3.18338,
            "yolox_m": 6.2141,
            "yolox_l": 9.27001,
        },
        families=STRUCTURES,
        fitted=("bandwidth", "overhead", "serial"),
        checks=(
            ("mixnet_s", "fp16", 2.1774),
            ("mixnet_m", "fp16", 2.83159),
            ("mixnet_l", "fp16", 3.30286),
            ("resnet50", "int8", 0.636227),
            ("ssd_resnet34", "int8", 8.00466),
            ("retinanet_resnext50", "int8", 11.560481),
        ),
        ratios=(
            ("resnet34", "resnet18", 0.87017 / 0.520046),
            ("resnet50", "resnet18", 1.1421 / 0.520046),
            ("mobilenet_v3_small", "mobilenet_v3_large", 0.721624 / 0.919789),
            ("mixnet_s", "mixnet_l", 2.1774 / 3.30286),
            ("mixnet_m", "mixnet_l", 2.83159 / 3.30286),
            ("yolox_s", "yolox_m", 3.18338 / 6.2141),
            ("yolox_l", "yolox_m", 9.27001 / 6.2141),
        ),
        clocks=(
            ("resnet50", "int8", 930.75, 0.909226 / 0.691434),
            ("ssd_resnet34", "int8", 828.75, 12.113427 / 8.00466),
        ),
    ),
    "xavier-4.6": Published(
        device="xavier",
        milliseconds={
            "resnet18": 1.10724,
            "resnet34": 1.99773,
            "resnet50": 2.83026,
            "mobilenet_v3_small": 1.00566,
            "mobilenet_v3_large": 1.50451,
            "yolox_s": 8.83621,
            "yolox_m": 19.1866,
            "yolox_l": 30.6859,
        },
        families=STRUCTURES,
        fitted=("efficiency", "bandwidth", "overhead", "serial"),
        checks=(
            ("mixnet_s", "fp16", 3.68271),
            ("mixnet_m", "fp16", 4.87919),
            ("mixnet_l", "fp16", 5.89479),
            ("resnet50", "int8", 1.817),
            ("mobilenet_v1", "int8", 0.572),
        ),
        ratios=MNASNET,
    ),
}
