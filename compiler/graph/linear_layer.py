"""What Conv and Gemm have in common: y = W x + b, over the rows of inputs that the weight is multiplied with."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod

import numpy as np
import onnx_graphsurgeon as gs


@dataclass(frozen=True, eq=False)
class LinearLayer:
    """A node with a known weight.

    Attributes:
        node: the node in the graph.
        weight: (N, C/g, k...) or (N, d), float32, whatever precision the model stores.
        bias: (N,) float32 or None.
        dtype: the precision of the stored weight; new ones are written back in it.
    """

    node: gs.Node
    weight: np.ndarray
    bias: np.ndarray | None
    dtype: np.dtype

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

    def matrix(self) -> np.ndarray:
        """W flattened, (N, d)."""
        return self.weight.reshape(self.filters, -1)
