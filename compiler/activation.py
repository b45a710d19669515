"""Monotone activations with up to three straight pieces, as plain data.

    f(z) = low + leak (z - low)    z < low
           z                       low <= z <= high
           high                    z > high

Relu: low 0. LeakyRelu: low 0 and its leak. Clip: low and high. The identity has no bounds.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf


@dataclass(frozen=True)
class Activation:
    """See the module docstring."""

    low: float = -inf
    high: float = inf
    leak: float = 0.0

    @property
    def linear(self) -> bool:
        return self.low == -inf and self.high == inf
