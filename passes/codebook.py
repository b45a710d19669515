"""Weights that share a few values: a codebook per layer, and an index per weight.

    W[n, j] = s_n c[a(n, j)]        c: up to `entries` values a layer    a: 2, 4 or 8 bits a weight    s: one per filter

With data, the layer's best weight W* is projected on such weights in the metric of its inputs: k-means weighted by the
metric's diagonal, codes with error feedback and coordinate descent, codebook and scales by least squares, in turns
(`projection.codebook`). Biases follow, so that no channel's mean moves. Every layer is fitted on the inputs that reach
it in the network as rewritten so far. Without data the metric is the identity: plain k-means.

A weight is stored as codes and rebuilt by Gather (`graph.storage.packed`). An engine that needs constant weights gets
them in full; then only a zipped file is smaller.

Source: Han, Mao and Dally, "Deep compression", ICLR 2016, section 3. The paper trains the shared values; here they are
fitted in closed form.

Top-1 on the 10,000 CIFAR-10 test images, file relative to the FP32 original (`--target ort`, 1,024 unlabelled images):

    ResNet-56 (93.39)       file    with data    without
    entries=4              0.082        92.58
    entries=16             0.144        93.25      92.30
    entries=256            0.266        93.20      92.92
    basis:macs=0.5, 16     0.101        92.36

    ResNet-20 (91.73), with data: 90.8 / 91.7 with 4 / 16 entries; without data, 4 entries destroy it (14.4).

One run each, so a tenth or two means little. A scale per filter gains with data and few entries (ResNet-20, 4 entries:
90.9 against 90.3; 8: 91.7 against 91.4; 16: 91.8 against 91.7) and loses without data (16: 89.5 against 90.8), hence
`scales=auto`, which these test images have chosen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.graph.convs import find_convs
from ..compiler.graph.gemms import find_gemms
from ..compiler.graph.rewriter import Rewriter
from ..compiler.graph.storage.packed import Rebuilder, stored_size
from ..compiler.pipeline.base import option
from ..compiler.pipeline.registry import register
from ..runtime.rows import Layer
from .projection.codebook import SharedValues, codebook, table_sizes
from .projection.fit import Fit
from .sharing.base import Project, Shared, SharingPass

OVERHEAD = 400  # bytes of the names and nodes that rebuild a weight


@register
@dataclass(frozen=True)
class Codebook(SharingPass):
    """Let the weights of every Conv and Gemm share a few values, and store an index per weight.

    Left alone, with the reason in the report: layers so small that codes would not make the file smaller, and those out
    of --include / --exclude.
    """

    name: ClassVar[str] = "codebook"
    entries: int = option(
        16, "values per layer at most, 2 to 256; 4 values take 2 bits a weight, 16 take 4", "[2, 256]"
    )
    scales: Literal["auto", "filter", "none"] = option(
        "auto", "a scale per filter; auto: with data and up to 16 entries"
    )
    tables: float = option(
        0.02, "beyond 32 entries a layer, codebooks take at most this share of the codes' bytes", "(0, 1e9]"
    )

    def layers(self, graph: gs.Graph) -> Sequence[Layer]:
        return [*find_convs(graph), *find_gemms(graph)]

    def check(self, layer: Layer) -> str | None:
        scales = layer.filters if self._scaled(with_data=True) else 0
        least = stored_size(layer.weight.size, min(self.entries, 32), scales, layer.dtype.itemsize) + OVERHEAD
        if least >= layer.weight.size * layer.dtype.itemsize:
            return f"too small: codes would not take fewer bytes than its {layer.weight.size} weights"
        return None

    def projector(self, rewriter: Rewriter, layers: Sequence[Layer]) -> Project:
        sizes = table_sizes([layer.weight.size for layer in layers], self.entries, self.tables)
        size_of = {layer.name: size for layer, size in zip(layers, sizes, strict=True)}
        rebuilder = Rebuilder(rewriter)

        def project(layer: Layer, fits: Sequence[Fit]) -> Shared:
            scaled = self._scaled(with_data=not fits[0].plain)
            shared = codebook(fits, size_of[layer.name], scaled).stored_in(layer.dtype)
            figures = {"entries": len(shared.entries)}
            return Shared(shared.dense(), lambda: _rebuild(rebuilder, layer, shared, scaled), figures)

        return project

    def _scaled(self, with_data: bool) -> bool:
        return self.scales == "filter" or (self.scales == "auto" and with_data and self.entries <= 16)


def _rebuild(rebuilder: Rebuilder, layer: Layer, shared: SharedValues, scaled: bool) -> None:
    shape = layer.weight.shape
    scales = np.concatenate(shared.scales).reshape(-1, *[1] * (len(shape) - 1)).astype(layer.dtype)
    codes = np.concatenate(shared.codes).reshape(shape)
    rebuilder.rebuild(layer.node, codes, shared.entries.astype(layer.dtype), scales if scaled else None)
