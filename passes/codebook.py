"""Weights that share a few values: a codebook per layer, and an index per weight.

(docstring to come)
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.base import Decision, Pass, PassResult, option
from ..compiler.context import Context
from ..compiler.graph.convs import Conv, blind_convs, find_convs
from ..compiler.graph.gemms import find_gemms
from ..compiler.graph.packed import FIRST_OPSET, rebuild, stored_size
from ..compiler.graph.rewriter import Rewriter
from ..compiler.registry import register
from ..runtime.lockstep import Layer
from .fitting import fitted, in_graph_order, signal
from .projection.codebook import Shared, codebook, table_sizes
from .projection.fit import Fit

NAMES = 400
FOLDED = "weights are stored in full, as this engine needs constants: the file does not shrink, but it zips well"


@register
@dataclass(frozen=True)
class Codebook(Pass):
    """Let the weights of every Conv and Gemm share a few values, and store indices."""

    name: ClassVar[str] = "codebook"
    entries: int = option(16, "values per layer at most, 2 to 256; up to 16, two indices share a byte")
    scales: Literal["filter", "none"] = option("filter", "a scale per filter, or the plain values")
    tables: float = option(0.02, "with more than 32 entries: codebooks take at most this share of the indices' bytes")
    refit: Literal["lockstep", "none"] = option(
        "lockstep", "fit on the inputs of the compressed network, or the original's"
    )
    ridge: float = option(1e-3, "pull towards the stored weight, relative to the mean input energy")
    storage: Literal["auto", "packed", "folded"] = option("auto", "indices, full weights, or what the target takes")

    def __post_init__(self) -> None:
        if not 2 <= self.entries <= 256:
            raise ValueError(f"entries={self.entries}: expected 2 to 256")
        if not self.tables > 0:
            raise ValueError(f"tables={self.tables}: expected a positive number")
        if self.ridge <= 0:
            raise ValueError(f"ridge={self.ridge}: expected a positive number")

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        fold = self._folds(graph, ctx)
        layers, skipped = self._layers(graph, ctx)
        sizes = table_sizes([layer.matrix().size for layer in layers], self.entries, self.tables)
        rewriter = Rewriter(graph, ctx.origins)
        decisions: list[Decision] = []
        with ctx.progress("codebooks", len(layers)) as advance:
            fits = fitted(graph, ctx, layers, self.ridge, self.refit == "lockstep")
            for (layer, fit), size in zip(fits, sizes, strict=True):
                decisions.append(self._write(rewriter, layer, fit, size, fold))
                advance()
        notes = [FOLDED] if fold and layers else []
        return PassResult(bool(layers), [*decisions, *skipped], notes=notes)

    def _folds(self, graph: gs.Graph, ctx: Context) -> bool:
        if self.storage != "auto":
            return self.storage == "folded"
        old = ctx.target.tensorrt is not None and ctx.target.tensorrt[0] < 10
        return old or graph.opset < FIRST_OPSET

    def _layers(self, graph: gs.Graph, ctx: Context) -> tuple[list[Layer], list[Decision]]:
        skipped = [Decision(name, "skipped", reason) for name, reason in blind_convs(graph)]
        layers: list[Layer] = []
        for layer in in_graph_order(graph, [*find_convs(graph), *find_gemms(graph)]):
            reason = ctx.out_of_scope(layer.name) or self.check(layer)
            if reason:
                skipped.append(Decision(layer.name, "skipped", reason))
            else:
                layers.append(layer)
        return layers, skipped

    def check(self, layer: Layer) -> str | None:
        """Why this layer is left alone, or None."""
        if layer.matrix().size == 0:
            return "empty weight"
        if not np.isfinite(layer.matrix()).all():
            return "its weight holds NaN or Inf"
        stored = stored_size(layer.weight.shape, min(self.entries, 32), self._scale_count(layer), layer.dtype.itemsize)
        if stored + NAMES >= layer.weight.size * layer.dtype.itemsize:
            return f"too small: its {layer.weight.size} weights take no more bytes than indices would"
        return None

    def _scale_count(self, layer: Layer) -> int:
        return layer.filters if self.scales == "filter" else 0

    def _write(self, rewriter: Rewriter, layer: Layer, fits: Sequence[Fit], size: int, fold: bool) -> Decision:
        shared = _rounded(codebook(fits, size, self.scales == "filter"), layer.dtype)
        dense = shared.dense()
        bias = np.concatenate([fit.bias(weight) for fit, weight in zip(fits, dense, strict=True)])
        layer.store(rewriter, np.concatenate(dense), bias)
        if not fold:
            _rebuild(rewriter, layer, shared, self.scales == "filter")
        lost = sum(fit.lost(weight) + fit.residual for fit, weight in zip(fits, dense, strict=True))
        figures = {"entries": len(shared.entries), "error": lost / signal(fits)}
        return Decision(layer.name, "rewritten", "", figures)


def _rounded(shared: Shared, dtype: np.dtype) -> Shared:
    """Entries and scales as the file holds them."""
    entries = shared.entries.astype(dtype).astype(np.float64)
    return Shared(entries, shared.codes, [scale.astype(dtype).astype(np.float64) for scale in shared.scales])


def _rebuild(rewriter: Rewriter, layer: Layer, shared: Shared, scaled: bool) -> None:
    shape = layer.weight.shape
    scales = np.concatenate(shared.scales).reshape(-1, *[1] * (len(shape) - 1)).astype(layer.dtype)
    codes = np.concatenate(shared.codes).reshape(shape)
    rebuild(rewriter, layer.node, codes, shared.entries.astype(layer.dtype), scales if scaled else None)
