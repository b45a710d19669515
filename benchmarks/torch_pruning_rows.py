"""A CIFAR ResNet pruned by Torch-Pruning: one JSON line, run by `prune --torch-pruning` in an interpreter with torch.

    python benchmarks/torch_pruning_rows.py resnet56 0.6 ../shared

The network is built in PyTorch from the weights of the ONNX file (BatchNormalization is folded there), and pruned by
group magnitude (L2) with its default settings to the share of MACs of its Convs; filters inside the blocks are pruned,
as Torch-Pruning does not follow option-A shortcuts. No fine-tuning.
"""

from __future__ import annotations

import copy
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path

import numpy as np
import onnx
import torch
import torch.nn.functional as F
import torch_pruning as tp
from onnx import numpy_helper
from torch import nn

MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class Block(nn.Module):
    def __init__(self, channels: int, filters: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1)
        self.added, self.stride = (filters - channels) // 2, stride

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.conv2(F.relu(self.conv1(x)))
        if self.stride > 1:
            x = F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, self.added, self.added))
        return F.relu(x + y)


class ResNet(nn.Module):
    def __init__(self, depth: int):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1)
        sizes = [(width, 1 + (index == 0 and width > 16)) for width in (16, 32, 64) for index in range(depth)]
        blocks, channels = [], 16
        for filters, stride in sizes:
            blocks.append(Block(channels, filters, stride))
            channels = filters
        self.blocks, self.linear = nn.Sequential(*blocks), nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.linear(self.blocks(F.relu(self.conv1(x))).mean((2, 3)))


def convs(model: nn.Module) -> list[nn.Conv2d]:
    return [module for module in model.modules() if isinstance(module, nn.Conv2d)]


def load(path: Path) -> ResNet:
    """The weights in the order of the Convs, then the Gemm."""
    graph = onnx.load(str(path)).graph
    values = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    layers = [node for node in graph.node if node.op_type == "Conv"]
    model = ResNet((len(layers) - 1) // 6)
    for module, node in zip(convs(model), layers, strict=True):
        module.weight.data, module.bias.data = values[node.input[1]], values[node.input[2]]
    (gemm,) = [node for node in graph.node if node.op_type == "Gemm"]
    model.linear.weight.data, model.linear.bias.data = values[gemm.input[1]], values[gemm.input[2]]
    return model.eval()


def macs(model: nn.Module) -> int:
    """Of the Convs, for one image."""
    total, hooks = [0], []

    def count(module: nn.Module, _: object, y: torch.Tensor) -> None:
        total[0] += module.weight.numel() * y.shape[2] * y.shape[3]

    hooks = [module.register_forward_hook(count) for module in convs(model)]
    with torch.no_grad():
        model(torch.zeros(1, 3, 32, 32))
    for hook in hooks:
        hook.remove()
    return total[0]


def pruned(model: ResNet, ratio: float) -> ResNet:
    model = copy.deepcopy(model)
    outside = [model.conv1, model.linear, *(block.conv2 for block in model.blocks)]
    tp.pruner.MagnitudePruner(
        model,
        torch.zeros(1, 3, 32, 32),
        importance=tp.importance.GroupMagnitudeImportance(p=2),
        pruning_ratio=ratio,
        ignored_layers=outside,
    ).step()
    return model


def to_share(model: ResNet, share: float) -> ResNet:
    """The smallest ratio that reaches the share of MACs, by bisection."""
    whole, low, high = macs(model), 0.0, 0.99
    for _ in range(8):
        middle = (low + high) / 2
        low, high = (middle, high) if macs(pruned(model, middle)) > share * whole else (low, middle)
    return pruned(model, high)


def top1(model: nn.Module, path: Path) -> float:
    with np.load(path) as data:
        images, labels = data["images"], data["labels"]
    hits = 0
    for start in range(0, len(images), 200):
        x = torch.from_numpy(images[start : start + 200]).permute(0, 3, 1, 2) / 255
        x = (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
        with torch.no_grad():
            hits += int((model(x).argmax(1).numpy() == labels[start : start + 200]).sum())
    return 100 * hits / len(images)


def main() -> None:
    network, share, assets = sys.argv[1], float(sys.argv[2]), Path(sys.argv[3])
    model = load(assets / "models" / f"{network}.onnx")
    started = time.perf_counter()
    small = to_share(model, share)
    seconds = time.perf_counter() - started
    test = assets / "data" / "cifar10_test.npz"
    figures = {"macs": round(macs(small) / macs(model), 4), "top1": round(top1(small, test), 2)}
    line = {
        "benchmark": "prune",
        "network": network,
        "pipeline": f"Torch-Pruning {version('torch-pruning')}",
        **figures,
    }
    print(json.dumps({**line, "original": round(top1(model, test), 2), "seconds": round(seconds, 1)}))


if __name__ == "__main__":
    main()
