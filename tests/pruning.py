"""What tests of channel removal share: the same selection removed from one copy of a model and masked in another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx
from builders import run
from constructs import constructs
from onnx_compress.compiler.graph.channels import Group, find_channels, mask, remove
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.io import Model, from_proto
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.shapes import infer_shapes

Choice = Callable[[Group], np.ndarray]


@dataclass(frozen=True)
class Pruned:
    """Two copies of a model, pruned and masked; the groups are those of the pruned one.

    Attributes:
        covered: the constructs that lost a channel, see `constructs`.
    """

    pruned: Model
    masked: Model
    groups: tuple[Group, ...]
    kept: dict[Group, np.ndarray]
    covered: set[str]

    @property
    def removed(self) -> int:
        return sum(group.size - len(units) for group, units in self.kept.items())


def prune(proto: onnx.ModelProto, choose: Choice) -> Pruned:
    """Keep the units that `choose` gives for each group that is not frozen."""
    first, second = from_proto(proto), from_proto(proto)
    shapes = infer_shapes(first.graph)
    channels, reference = find_channels(first.graph, shapes), find_channels(second.graph, shapes)
    chosen = {group: choose(group) for group in channels.groups if group.frozen is None}
    pairs = zip(channels.groups, reference.groups, strict=True)
    same = {other: chosen[group] for group, other in pairs if group in chosen}
    mask(reference, same, Rewriter(second.graph))
    covered = constructs(channels, chosen)
    return Pruned(first, second, channels.groups, remove(channels, chosen, Rewriter(first.graph)), covered)


def check_equal(result: Pruned, **feeds: np.ndarray) -> None:
    """The pruned model is valid, and its outputs are those of the masked one, within 1e-5 of their size."""
    check_graph(result.pruned)
    got, wanted = run(result.pruned, **feeds), run(result.masked, **feeds)
    for name, values in wanted.items():
        assert got[name].shape == values.shape, name
        np.testing.assert_allclose(got[name], values, rtol=0, atol=1e-5 * max(1, float(np.abs(values).max())))


def half(group: Group) -> np.ndarray:
    """Every second unit."""
    return np.arange(0, group.size, 2)
