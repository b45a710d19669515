"""Optimisers, written with arithmetic operators only, so that they run on the arrays of every engine.

    sgd     m <- mu m + g                                    p <- p - r (g + mu m + d p)          (Nesterov)
    adamw   m <- b1 m + (1 - b1) g    v <- b2 v + (1 - b2) g^2
            p <- p - r (m' / (sqrt(v') + eps) + d p)         m' = m / (1 - b1^t), v' = v / (1 - b2^t)
    scaled  p <- p - r (s m' / (sqrt(v') + eps) + d p)       s = sqrt(mean p^2 + SMALL^2) of the whole array
    muon    m <- 0.95 m + g                                  p <- p - r (s O(g + 0.95 m) + d p)

`scaled` is AdamW in steps that are a share of the array they change. Nothing normalises a network whose normalization
was folded, and its arrays differ in size: in a spatial basis the templates have a root mean square of 0.03, what mixes
them of 1. Steps of one length are too long for the one or too short for the other.

`muon` takes an array as a matrix with a row per filter and makes the singular values of its step alike: O(M) is U V'
for M = U S V', up to a few iterations of a polynomial in M M' that takes singular values towards one, and its root
mean square is 1. What the network hardly does yet is learned as fast as what it does already. Biases step as in
`scaled`.

Where a mask is 0 a value stays as it is. Weight decay d pulls at weights, not at biases. Before the step the gradient
is held to a norm over all parameters.

Sources: Sutskever et al., ICML 2013 (Nesterov's momentum in this form); Loshchilov and Hutter, "Decoupled weight decay
regularization", ICLR 2019 (arXiv 1711.05101); Shazeer and Stern, "Adafactor", ICML 2018, section 8 (steps relative to
the array); Bernstein et al., NeurIPS 2020 (arXiv 2002.03432: why the share, by layer, is what keeps deep networks
stable); Jordan et al., "Muon: an optimizer for hidden layers in neural networks", 2024 (the polynomial), and Liu et al.
(arXiv 2502.16982: steps of a given root mean square); Pascanu et al., ICML 2013 (clipping).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from .engine import Array

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8
SMALL = 1e-3
MUON_MOMENTUM, ITERATIONS = 0.95, 5
POLYNOMIAL = 3.4445, -4.7750, 2.0315
Kind = Literal["sgd", "adamw", "scaled", "muon"]


@dataclass
class Optimizer:
    """Changes parameters in place.

    Attributes:
        momentum: of sgd.
        decay: weight decay, for parameters of two dimensions or more.
        clip: largest norm of the whole gradient; 0 lets it be.
        masks: by parameter, 0 where values stay as they are.
        slots: running sums by name: `m/NAME`, and for Adam's steps `v/NAME`.
        steps: how many were taken.
    """

    kind: Kind
    momentum: float = 0.9
    decay: float = 0.0
    clip: float = 0.0
    masks: Mapping[str, Array] = field(default_factory=dict[str, Array])
    slots: dict[str, Array] = field(default_factory=dict[str, Array])
    steps: int = 0

    def step(self, parameters: Mapping[str, Array], gradients: Mapping[str, Array], rate: float) -> None:
        """One step of size `rate`; the gradients are used up."""
        self.steps += 1
        for name, mask in self.masks.items():
            gradient = gradients[name]
            gradient *= mask
        scale = self._clipping(gradients)
        for name, parameter in parameters.items():
            gradient = gradients[name]
            if scale < 1:
                gradient *= scale
            update = self._update(name, parameter, gradient)
            if self.decay and parameter.ndim > 1:
                update = update + self.decay * parameter
            if name in self.masks:
                update = update * self.masks[name]
            parameter -= rate * update

    def _clipping(self, gradients: Mapping[str, Array]) -> float:
        if not self.clip:
            return 1.0
        norm = float(sum(float((gradient * gradient).sum()) for gradient in gradients.values())) ** 0.5
        return self.clip / norm if norm > self.clip else 1.0

    def _update(self, name: str, parameter: Array, gradient: Array) -> Array:
        if self.kind == "sgd":
            return self._nesterov(name, gradient, self.momentum)
        if self.kind == "adamw":
            return self._adam(name, gradient)
        if self.kind == "muon" and parameter.ndim > 1:
            step = orthogonal(self._nesterov(name, gradient, MUON_MOMENTUM))
        else:
            step = self._adam(name, gradient)
        return step * ((parameter * parameter).mean() + SMALL**2) ** 0.5

    def _nesterov(self, name: str, gradient: Array, momentum: float) -> Array:
        slot = self._slot(f"m/{name}", gradient)
        slot *= momentum
        slot += gradient
        return gradient + momentum * slot

    def _adam(self, name: str, gradient: Array) -> Array:
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


def orthogonal(step: Array) -> Array:
    """Of the same shape, with a root mean square of 1; as a matrix (shape[0], the rest) it has the singular vectors of
    `step` and nearly equal singular values, but for those that were less than a thousandth. Zeros stay zeros."""
    matrix = step.reshape(len(step), -1)
    tall = matrix.shape[0] > matrix.shape[1]
    matrix = matrix.T if tall else matrix
    matrix = matrix / _norm(matrix)
    a, b, c = POLYNOMIAL
    for _ in range(ITERATIONS):
        square = matrix @ matrix.T
        matrix = a * matrix + (b * square + c * square @ square) @ matrix
    rows, columns = matrix.shape
    matrix = matrix * ((rows * columns) ** 0.5 / _norm(matrix))
    return (matrix.T if tall else matrix).reshape(step.shape)


def _norm(values: Array) -> Array:
    return (values * values).sum() ** 0.5 + EPSILON**2
