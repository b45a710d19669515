"""What a Conv can be written as: the contract of a structured form, and the chain of Convs it becomes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.costs.workload import ConvWorkload
from ...compiler.graph.convs import Conv
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.shapes import Shapes
from ..projection.fit import Fit


@dataclass(frozen=True, eq=False)
class Factor:
    """One Conv of the chain.

    Attributes:
        part: suffix of the new node's name.
        weight: (filters, channels / group, k...).
        axes: the spatial axes along which it does what the Conv in whose place it stands does: its strides, dilations
            and pads or auto_pad. Along the others its kernel is 1.
        group: its number of groups; None: that of the Conv in whose place it stands.
    """

    part: str
    weight: np.ndarray
    axes: Sequence[int]
    group: int | None = None


@dataclass(frozen=True, eq=False)
class Projection:
    """A Conv projected on a form at some size.

    Attributes:
        factors: the chain of Convs.
        dense: the weight (n, d) it amounts to, per group.
        write: for what is no chain of Convs: puts the nodes, with a bias (N,), in the place of the Conv.
        figures: more for the report.
        bias: (n,) per group, where it is not the one that gives the outputs the wanted mean.
    """

    factors: Sequence[Factor]
    dense: Sequence[np.ndarray]
    write: Callable[[Rewriter, Conv, np.ndarray], None] | None = None
    figures: Mapping[str, float | int | str] = field(default_factory=dict[str, "float | int | str"])
    bias: Sequence[np.ndarray] | None = None


class Form(Protocol):
    """A structured set of weights, indexed by a size; `limit` is the size at which it holds every weight."""

    name: str

    def check(self, conv: Conv) -> str | None:
        """Why this Conv cannot take the form, or None."""
        ...

    def limit(self, conv: Conv) -> int: ...

    def workloads(self, conv: Conv, size: int, shapes: Shapes) -> Sequence[ConvWorkload]:
        """The chain that `project` would give, without weights: what it costs. Costs grow with the size."""
        ...

    def curve(self, conv: Conv, fits: Sequence[Fit], largest: int) -> np.ndarray:
        """Lost energy at size 0, 1, ..., largest."""
        ...

    def project(self, conv: Conv, fits: Sequence[Fit], size: int) -> Projection: ...


def emit(rewriter: Rewriter, conv: Conv, factors: Sequence[Factor], bias: np.ndarray) -> None:
    """Put the chain in the place of `conv`; `bias` (N,) goes to the last Conv, whose output keeps its name."""
    rewriter.replace(conv.node, chain_nodes(rewriter, conv, conv.input, factors, bias))


def chain_nodes(
    rewriter: Rewriter, conv: Conv, tensor: gs.Tensor, factors: Sequence[Factor], bias: np.ndarray | None
) -> list[gs.Node]:
    """The chain, reading `tensor`, not yet in the graph."""
    nodes: list[gs.Node] = []
    for factor in factors:
        base = f"{conv.name}.{factor.part}"
        inputs = [tensor, rewriter.constant(f"{base}.weight", factor.weight.astype(conv.dtype))]
        if factor is factors[-1] and bias is not None:
            inputs.append(rewriter.constant(f"{base}.bias", bias.astype(conv.dtype)))
        group = conv.group if factor.group is None else factor.group
        attrs = {"kernel_shape": list(factor.weight.shape[2:]), "group": group, **_axis_attrs(conv, factor.axes)}
        tensor = rewriter.variable(f"{base}.output", conv.output.dtype)
        nodes.append(rewriter.node("Conv", inputs, [tensor], base, attrs, origin=conv.name))
    return nodes


def _axis_attrs(conv: Conv, axes: Sequence[int]) -> dict[str, Any]:
    """The Conv attributes restricted to some spatial axes; along the others the kernel is 1, unpadded, stride 1."""
    rank = len(conv.kernel)
    chosen = [axis in axes for axis in range(rank)]
    attrs: dict[str, Any] = {
        "strides": [s if use else 1 for s, use in zip(conv.strides, chosen, strict=True)],
        "dilations": [d if use else 1 for d, use in zip(conv.dilations, chosen, strict=True)],
    }
    mode = conv.node.attrs.get("auto_pad", "NOTSET")
    if mode != "NOTSET":
        return {**attrs, "auto_pad": mode}
    pads = conv.node.attrs.get("pads") or [0] * (2 * rank)
    return {**attrs, "pads": [int(pad) if chosen[i % rank] else 0 for i, pad in enumerate(pads)]}
