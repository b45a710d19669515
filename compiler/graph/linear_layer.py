"""What Conv and Gemm have in common: y = W x + b, over the rows of inputs that the weight is multiplied with.

A layer stands for all nodes that read one stored weight where `ties.tie` has joined them; else for one node.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod
from typing import TYPE_CHECKING

import numpy as np
import onnx_graphsurgeon as gs

from .rewriter import Rewriter

if TYPE_CHECKING:
    from typing_extensions import Self


@dataclass(frozen=True, eq=False)
class LinearLayer:
    """A node with a known weight.

    Attributes:
        node: the node in the graph.
        weight: (N, C/g, k...) or (N, d), float32, whatever precision the model stores.
        bias: (N,) float32 or None.
        dtype: the precision of the stored weight; new ones are written back in it.
        group: number of groups g.
        others: the later uses of the weight, in graph order.
    """

    node: gs.Node
    weight: np.ndarray
    bias: np.ndarray | None
    dtype: np.dtype
    group: int
    others: tuple[Self, ...] = field(default=(), kw_only=True)

    @property
    def name(self) -> str:
        return self.node.name

    @property
    def input(self) -> gs.Tensor:
        return self.node.inputs[0]

    @property
    def output(self) -> gs.Tensor:
        return self.node.outputs[0]

    @property
    def filters(self) -> int:
        """N, the number of output channels."""
        return self.weight.shape[0]

    @property
    def fan_in(self) -> int:
        """d = C/g * prod(k), the length of one flattened filter."""
        return prod(self.weight.shape[1:])

    @property
    def uses(self) -> list[Self]:
        """Every node that reads the weight as a layer of its own, in graph order."""
        return [replace(self, others=()), *self.others] if self.others else [self]

    def store(self, rewriter: Rewriter, weight: np.ndarray, bias: np.ndarray) -> None:
        """Write another weight (N, d) and bias (N,), in the stored precision, for all uses."""
        uses = self.uses
        with rewriter.sharing(len(uses)):
            for use in uses:
                use._store(rewriter, weight, bias)

    def _store(self, rewriter: Rewriter, weight: np.ndarray, bias: np.ndarray) -> None:
        rewriter.set_weight(self.node, 1, weight.reshape(self.weight.shape).astype(self.dtype))
        rewriter.set_weight(self.node, 2, bias.astype(self.dtype))

    def matrix(self) -> np.ndarray:
        """W flattened, (N, d)."""
        return self.weight.reshape(self.filters, -1)
