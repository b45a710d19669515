"""Optimisers, written with arithmetic operators only, so that they run on the arrays of every engine.

    sgd     m <- mu m + g                                    p <- p - r (g + mu m + d p)          (Nesterov)
    adamw   m <- b1 m + (1 - b1) g    v <- b2 v + (1 - b2) g^2
            p <- p - r (m' / (sqrt(v') + eps) + d p)         m' = m / (1 - b1^t), v' = v / (1 - b2^t)
    scaled  p <- p - r (s m' / (sqrt(v') + eps) + d p)       s = sqrt(mean p^2 + SMALL^2) of the whole array

`scaled` is AdamW in steps that are a share of the array they change. Nothing normalises a network whose normalization
was folded, and its arrays differ in size: in a spatial basis the templates have a root mean square of 0.03, what mixes
them of 1. Steps of one length are too long for the one or too short for the other.

Weight decay d pulls at weights, not at biases. Before the step the gradient is held to a norm over all parameters.

Sources: Sutskever et al., ICML 2013 (Nesterov's momentum in this form); Loshchilov and Hutter, "Decoupled weight decay
regularization", ICLR 2019 (arXiv 1711.05101); Shazeer and Stern, "Adafactor", ICML 2018, section 8 (steps relative to
the array); Bernstein et al., NeurIPS 2020 (arXiv 2002.03432: why the share, by layer, is what keeps deep networks
stable); Pascanu et al., ICML 2013 (clipping).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .engine import Array

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
SMALL = 1e-3
Kind = Literal["sgd", "adamw", "scaled"]


@dataclass
class Optimizer:
    """Changes parameters in place.

    Attributes:
        momentum: of sgd.
        decay: weight decay, for parameters of two dimensions or more.
        clip: largest norm of the whole gradient; 0 lets it be.
        slots: running sums by name: `m/NAME`, and for the others `v/NAME`.
        steps: how many were taken.
    """

    kind: Kind
    momentum: float = 0.9
    decay: float = 0.0
    clip: float = 0.0
    slots: dict[str, Array] = field(default_factory=dict[str, Array])
    steps: int = 0

    def step(self, parameters: Mapping[str, Array], gradients: Mapping[str, Array], rate: float) -> None:
        """One step of size `rate`; the gradients are used up."""
        self.steps += 1
        scale = self._clipping(gradients)
        for name, parameter in parameters.items():
            gradient = gradients[name]
            if scale < 1:
                gradient *= scale
            update = self._sgd(name, gradient) if self.kind == "sgd" else self._adamw(name, gradient)
            if self.kind == "scaled":
                update = update * ((parameter * parameter).mean() + SMALL**2) ** 0.5
            if self.decay and parameter.ndim > 1:
                update = update + self.decay * parameter
            parameter -= rate * update

    def _clipping(self, gradients: Mapping[str, Array]) -> float:
        if not self.clip:
            return 1.0
        norm = float(sum(float((gradient * gradient).sum()) for gradient in gradients.values())) ** 0.5
        return self.clip / norm if norm > self.clip else 1.0

    def _sgd(self, name: str, gradient: Array) -> Array:
        slot = self._slot(f"m/{name}", gradient)
        slot *= self.momentum
        slot += gradient
        return gradient + self.momentum * slot

    def _adamw(self, name: str, gradient: Array) -> Array:
        first, second = self._slot(f"m/{name}", gradient), self._slot(f"v/{name}", gradient)
        first *= BETA1
        first += (1 - BETA1) * gradient
        second *= BETA2
        second += (1 - BETA2) * gradient * gradient
        mean, square = first / (1 - BETA1**self.steps), second / (1 - BETA2**self.steps)
        return mean / (square**0.5 + EPSILON)

    def _slot(self, name: str, like: Array) -> Array:
        if name not in self.slots:
            self.slots[name] = like * 0
        return self.slots[name]
