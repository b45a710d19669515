"""Convs of every geometry, drawn by hypothesis."""

from __future__ import annotations

from dataclasses import dataclass

import builders
import numpy as np
from hypothesis import strategies as st
from onnx_compress.compiler.graph.io import Model


@dataclass(frozen=True)
class Drawn:
    """One Conv of random weights; `model` builds it anew.

    Attributes:
        shape: of the weight, (N, C/g, k...).
        attrs: as text.
        channels: C.
        size: every spatial size of the input.
    """

    shape: tuple[int, ...]
    attrs: str
    channels: int
    size: int
    seed: int

    def model(self, opset: int = 17) -> Model:
        spatial, out = ",".join([str(self.size)] * (len(self.shape) - 2)), ",".join("hwd"[: len(self.shape) - 2])
        text = f"g (float[N,{self.channels},{spatial}] x) => (float[N,{self.shape[0]},{out}] y)"
        weights = {"w": builders.normal(*self.shape, seed=self.seed), "b": builders.normal(self.shape[0], seed=1)}
        return builders.model(f"{text} {{ y = Conv<{self.attrs}>(x, w, b) }}", opset, **weights)

    def x(self, samples: int = 2) -> np.ndarray:
        return builders.normal(samples, self.channels, *[self.size] * (len(self.shape) - 2), seed=self.seed + 7)


@st.composite
def convs(draw: st.DrawFn, groups: tuple[int, ...] = (1, 2), least_kernel: int = 1) -> Drawn:
    """1-D to 3-D; strides, dilations and uneven pads; groups; even and odd channels."""
    rank, group = draw(st.integers(1, 3)), draw(st.sampled_from(groups))
    kernel = draw(st.lists(st.integers(least_kernel, 3), min_size=rank, max_size=rank))
    strides, dilations = (draw(st.lists(st.integers(1, 2), min_size=rank, max_size=rank)) for _ in range(2))
    pads = draw(st.lists(st.integers(0, 2), min_size=2 * rank, max_size=2 * rank))
    inputs, filters = draw(st.integers(1, 4)), group * draw(st.integers(1, 5))
    attrs = f"strides={strides}, dilations={dilations}, pads={pads}, group={group}"
    return Drawn((filters, inputs, *kernel), attrs, group * inputs, 6, draw(st.integers(0, 99)))
