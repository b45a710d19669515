"""Train the sample network, a ResNet-20 for CIFAR-10 (He et al., 2016, section 4.2), and export it to ONNX.

Projection shortcuts; random crop and flip; SGD with Nesterov momentum on a triangular learning rate. The first epochs
run at 24 x 24 pixels: the network is fully convolutional, and a step there costs half of one at 32 x 32.
An interrupted run continues from its checkpoint.

    pip install torch==2.13.0 onnx pillow
    python models/fetch_cifar10.py --out cifar10.npz
    python models/train_resnet20.py --data cifar10.npz --out models/resnet20_cifar10.onnx

Input of the exported model: `input` (N, 3, 32, 32) float32, (RGB / 255 - MEAN) / STD; output: `logits` (N, 10).
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

MEAN, STD = (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
BATCH, PEAK_RATE, WARM_UP, WEIGHT_DECAY = 128, 0.2, 0.2, 5e-4
SMALL, FULL = 24, 32


class BasicBlock(nn.Module):
    def __init__(self, channels: int, filters: int, stride: int):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, filters, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(filters)
        self.conv2 = nn.Conv2d(filters, filters, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(filters)
        self.shortcut = nn.Sequential()
        if stride > 1:
            self.shortcut = nn.Sequential(nn.Conv2d(channels, filters, 1, stride, bias=False), nn.BatchNorm2d(filters))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class ResNet20(nn.Module):
    def __init__(self, classes: int = 10):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.layer1 = self._stage(16, 16, 1)
        self.layer2 = self._stage(16, 32, 2)
        self.layer3 = self._stage(32, 64, 2)
        self.fc = nn.Linear(64, classes)

    @staticmethod
    def _stage(channels: int, filters: int, stride: int) -> nn.Sequential:
        first = BasicBlock(channels, filters, stride)
        return nn.Sequential(first, BasicBlock(filters, filters, 1), BasicBlock(filters, filters, 1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(F.adaptive_avg_pool2d(x, 1).flatten(1))


def normalise(images: np.ndarray) -> torch.Tensor:
    """uint8 (N, 32, 32, 3) -> float32 (N, 3, 32, 32)."""
    x = (images.astype(np.float32) / 255 - np.float32(MEAN)) / np.float32(STD)
    return torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))


def augment(x: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """A random crop of each image padded by 4, and a flip of every other one."""
    count, _, height, width = x.shape
    padded = F.pad(x, (4, 4, 4, 4))
    top, left = torch.randint(0, 9, (2, count, 1), generator=generator)
    rows, columns = top + torch.arange(height), left + torch.arange(width)
    crops = padded.permute(0, 2, 3, 1)[torch.arange(count)[:, None, None], rows[:, :, None], columns[:, None, :]]
    flip = torch.rand(count, generator=generator) < 0.5
    crops[flip] = crops[flip].flip(2)
    return crops.permute(0, 3, 1, 2)


def rate(progress: float) -> float:
    """Triangular schedule: up to PEAK_RATE at WARM_UP of the steps, then down to 0."""
    return PEAK_RATE * min(progress / WARM_UP, (1 - progress) / (1 - WARM_UP))


def accuracy(model: nn.Module, x: torch.Tensor, labels: torch.Tensor) -> float:
    model.eval()
    with torch.no_grad():
        hits = sum(int((model(a).argmax(1) == b).sum()) for a, b in zip(x.split(500), labels.split(500), strict=True))
    return 100 * hits / len(labels)


def train(
    model: nn.Module, data: dict[str, torch.Tensor], small: int, epochs: int, seed: int, checkpoint: Path
) -> None:
    decayed = [p for p in model.parameters() if p.ndim > 1]
    plain = [p for p in model.parameters() if p.ndim == 1]
    groups = [{"params": decayed, "weight_decay": WEIGHT_DECAY}, {"params": plain}]
    optimizer = torch.optim.SGD(groups, lr=PEAK_RATE, momentum=0.9, nesterov=True)
    first = 0
    if checkpoint.exists():
        state = torch.load(checkpoint)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        first = state["epoch"]
    steps = len(data["x"]) // BATCH
    for epoch in range(first, epochs):
        started, losses = time.time(), []
        generator = torch.Generator().manual_seed(seed * 1000 + epoch)
        order = torch.randperm(len(data["x"]), generator=generator)
        model.train()
        for step in range(steps):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            x = augment(data["x"][chosen], generator)
            if epoch < small:
                x = F.interpolate(x, size=(SMALL, SMALL), mode="bilinear", antialias=True)
            for group in optimizer.param_groups:
                group["lr"] = rate((epoch * steps + step + 1) / (epochs * steps))
            loss = F.cross_entropy(model(x.contiguous(memory_format=torch.channels_last)), data["labels"][chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
        state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}
        torch.save(state, checkpoint)
        scored = accuracy(model, data["test_x"], data["test_labels"])
        print(
            f"epoch {epoch + 1}/{epochs} loss {np.mean(losses):.4f} test {scored:.2f} % {time.time() - started:.0f} s",
            flush=True,
        )


def export(model: nn.Module, path: Path) -> None:
    """Opset 17, dynamic batch, BatchNormalization kept (TrainingMode.PRESERVE leaves it unfused)."""
    torch.onnx.export(
        model.eval(),
        (torch.zeros(1, 3, FULL, FULL),),
        str(path),
        input_names=["input"],
        output_names=["logits"],
        dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=17,
        training=torch.onnx.TrainingMode.PRESERVE,
        do_constant_folding=False,
        dynamo=False,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("models/resnet20_cifar10.onnx"))
    parser.add_argument("--small-epochs", type=int, default=14, help="epochs at 24 x 24 pixels")
    parser.add_argument("--epochs", type=int, default=36, help="epochs in all")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()

    torch.manual_seed(args.seed)
    arrays = np.load(args.data)
    data = {
        "x": normalise(arrays["train_images"]),
        "labels": torch.from_numpy(arrays["train_labels"].astype(np.int64)),
        "test_x": normalise(arrays["test_images"]),
        "test_labels": torch.from_numpy(arrays["test_labels"].astype(np.int64)),
    }
    model = ResNet20().to(memory_format=torch.channels_last)
    train(model, data, args.small_epochs, args.epochs, args.seed, args.out.with_suffix(".checkpoint.pt"))
    export(model, args.out)
    print(f"{args.out}: {accuracy(model, data['test_x'], data['test_labels']):.2f} % top-1 on the 10,000 test images")


if __name__ == "__main__":
    main()
