"""A PyTorch network as an ONNX file, with inputs to fit it on: writes from_pytorch.onnx and from_pytorch.npz.

python examples/from_pytorch.py
onnx-compress from_pytorch.onnx --data from_pytorch.npz -p basis:macs=0.6,quantize
"""

import numpy as np
import torch
from torch import nn

model = nn.Sequential(  # in its place: your model, with its weights loaded
    nn.Conv2d(3, 32, 3, padding=1),
    nn.BatchNorm2d(32),
    nn.ReLU(),
    nn.Conv2d(32, 64, 3, stride=2, padding=1),
    nn.BatchNorm2d(64),
    nn.ReLU(),
    nn.AdaptiveAvgPool2d(1),
    nn.Flatten(),
    nn.Linear(64, 10),
)
inputs = torch.randn(64, 3, 32, 32)  # in its place: batches of your loader, concatenated

torch.onnx.export(
    model.eval(),
    (torch.zeros(1, 3, 32, 32),),
    "from_pytorch.onnx",
    input_names=["input"],
    output_names=["logits"],
    dynamic_axes={"input": {0: "batch"}, "logits": {0: "batch"}},
    opset_version=17,
    dynamo=False,
)
np.savez("from_pytorch.npz", input=inputs.numpy())
