"""Random networks of branches, fused wherever that leaves fewer Convs: what they compute stays."""

from __future__ import annotations

from random import Random

import builders
import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.compiler.costs.workload import ConvWorkload
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.shapes import Shapes
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.passes.merging.search import FusionSearch

ACTIVATIONS = (
    "{1} = Relu({0})",
    "{1} = LeakyRelu<alpha=0.1>({0})",
    "{1}s = Sigmoid({0}) {1} = Mul({1}s, {0})",
    "{1}a = Add({0}, three) {1}c = Clip({1}a, zero, six) {1}m = Mul({0}, {1}c) {1} = Div({1}m, six)",
)


class FewConvs:
    """A model of time by which a network takes as long as it has Convs."""

    def conv(self, workload: ConvWorkload) -> float:
        return 1.0

    def graph(self, graph: gs.Graph, shapes: Shapes) -> float:
        return float(sum(1 for _ in find_convs(graph)))


class Branches:
    """A network that grows: Convs on one of the last tensors, activations, and what joins them."""

    def __init__(self, seed: int):
        self.random, self.lines, self.weights = Random(seed), list[str](), dict[str, np.ndarray]()
        self.tensors, self.read = [("x", 4)], set[str]()

    def name(self) -> str:
        return f"t{len(self.lines)}"

    def conv(self, base: str, channels: int, depthwise: bool) -> tuple[str, int]:
        name, random = self.name(), self.random
        size, dilation = random.choice([1, 1, 3, 3, 5]), random.choice([1, 1, 2])
        filters, pad = channels if depthwise else random.randint(1, 6), dilation * (size - 1) // 2
        shape = filters, 1 if depthwise else channels, size, size
        self.weights[f"w{name}"] = builders.normal(*shape, seed=len(self.lines)) / 3
        attributes = f"pads={[pad] * 4}, dilations={[dilation] * 2}, group={channels if depthwise else 1}"
        self.lines.append(f"{name} = Conv<{attributes}>({base}, w{name})")
        return name, filters

    def activated(self, tensor: str, activation: str) -> str:
        if self.random.random() < 0.2:
            return tensor
        name = self.name()
        self.lines.append(activation.format(tensor, name))
        return name

    def branch(self) -> None:
        random, activation = self.random, self.random.choice(ACTIVATIONS)
        base, channels = random.choice(self.tensors[-4:])
        self.read.add(base)
        depthwise = random.random() < 0.3
        if depthwise:
            base, channels = self.conv(base, channels, False)
            base = self.activated(base, activation)
        made = [self.conv(base, channels, depthwise) for _ in range(random.randint(1, 3))]
        made = [(self.activated(name, activation), filters) for name, filters in made]
        self.tensors += made
        if len(made) > 1 and random.random() < 0.6:
            self.join(made + [(base, channels)] * (random.random() < 0.4))

    def join(self, tensors: list[tuple[str, int]]) -> None:
        self.random.shuffle(tensors)
        self.read.update(name for name, _ in tensors)
        name, inputs = self.name(), ", ".join(name for name, _ in tensors)
        self.lines.append(f"{name} = Concat<axis={self.random.choice([1, -3])}>({inputs})")
        self.tensors.append((name, sum(filters for _, filters in tensors)))

    def model(self, opset: int) -> Model:
        """Its outputs are what nothing reads, and some others."""
        leaves = [each for each in self.tensors[1:] if each[0] not in self.read or self.random.random() < 0.1]
        outputs = ", ".join(f"float[N,{channels},8,7] {name}" for name, channels in leaves)
        text = f"g (float[N,4,8,7] x) => ({outputs}) {{ {' '.join(self.lines)} }}"
        numbers = {"zero": np.float32(0), "three": np.float32(3), "six": np.float32(6)}
        return builders.model(text, opset=opset, **numbers, **self.weights)


@pytest.mark.parametrize("seed", range(16))
def test_outputs_stay(seed: int):
    branches = Branches(seed)
    for _ in range(4):
        branches.branch()
    model = branches.model(opset=(11, 13, 17)[seed % 3])
    x, convs = builders.normal(2, 4, 8, 7), sum(1 for _ in find_convs(model.graph))
    expected = builders.run(model, x=x)
    result = FusionSearch(model.graph, Context(), FewConvs()).run()
    check_graph(model)
    found = builders.run(model, x=x)
    assert list(found) == list(expected)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-4 * np.abs(value).max())
    assert result.changed == (sum(1 for _ in find_convs(model.graph)) < convs)
