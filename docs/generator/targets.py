"""What each target takes, from `compiler.targets`; and the presets of `--preprocess`."""

from __future__ import annotations

from onnx_compress.compiler.targets import TARGETS, Target
from onnx_compress.runtime.preprocess import PRESETS

from .markdown import code, escaped, table

INT8 = {"float-qdq": "FP32 → Q → DQ", "int8-dq": "INT8 → DQ", "cache": "calibration cache"}
PIXELS = {
    "imagenet": "shorter side to 256, central 224 x 224, mean and std of ImageNet",
    "cifar10": "mean and std of CIFAR-10",
    "unit": "divided by 255; taken, with a note, where nothing is given",
    "none": "pixels 0 to 255",
    "tf": "-1 to 1",
    "yolox": "pixels 0 to 255, blue first, fitted into the network's size, padded with 114 to the right and below",
    "yolov5": "divided by 255, fitted into the network's size, padded with 114 on all sides",
}
"""What a preset makes of them."""
HEADINGS = ("`--target`", "engine", "opset", "IR", "INT8 weights", "channels INT8 / FP16", "latency")


def targets() -> str:
    return table(HEADINGS, [_row(target) for target in TARGETS.values()])


def _row(target: Target) -> list[str]:
    multiples = f"{target.int8_multiple} / {target.half_multiple}"
    estimated = "estimated" if target.device else "none"
    engine = escaped(target.description)
    caps = [str(target.max_opset), str(target.max_ir)]
    return [code(target.name), engine, *caps, INT8[target.quantization], multiples, estimated]


def presets() -> str:
    rows = [[code(name), PIXELS[name], code(str(found))] for name, found in PRESETS.items()]
    return table(["`--preprocess`", "", "written out"], rows)
