"""The main job from Python, on the sample network, or another one with images of its size.

python examples/from_python.py [MODEL DATA]
"""

from __future__ import annotations

import sys
from pathlib import Path

from onnx_compress import compress

MODELS = Path(__file__).parent.parent / "models"


def main(
    model: str = str(MODELS / "resnet20_cifar10.onnx"), data: str = f"{MODELS / 'cifar10_sample.npz'}#train_images"
) -> None:
    result = compress(model, "basis:macs=0.5,quantize", data=data, samples=512, preprocess="cifar10")
    result.save("compressed.onnx", overwrite=True)
    before, after = result.report["before"], result.report["after"]
    print(f"MACs {before['macs']:,} -> {after['macs']:,}")
    for record in result.records:
        for decision in record.result.decisions:
            print(record.name, decision.node, decision.action, decision.reason)


if __name__ == "__main__":
    main(*sys.argv[1:])
