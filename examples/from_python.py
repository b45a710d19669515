"""The main job from Python.

python examples/from_python.py models/resnet20_cifar10.onnx models/cifar10_sample.npz#train_images
"""

from __future__ import annotations

import sys

from onnx_compress import compress


def main(model: str, data: str) -> None:
    result = compress(model, "basis:macs=0.5,quantize", data=data, samples=512, preprocess="cifar10")
    result.save("compressed.onnx", overwrite=True)
    before, after = result.report["before"], result.report["after"]
    print(f"MACs {before['macs']:,} -> {after['macs']:,}")
    for record in result.records:
        for decision in record.result.decisions:
            print(record.name, decision.node, decision.action, decision.reason)


if __name__ == "__main__":
    main(*sys.argv[1:])
