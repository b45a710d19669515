"""Filters as overlapping segments of one vector per layer.

    W[n] = s_n F[l_n : l_n + d]  (wrapping around),   L = N d / ratio elements in F, d = C/g prod(k)

F, the starts l and the scales s are fitted to the trained weight W* in the metric of the layer's inputs
(`projection.summary`); the identity metric without data. `ratio` is how much shorter F is than the weight; `bits=8`
stores it as uint8 with one step and offset, which quarters it once more.

`locations=learned` lets segments start between elements, on the line from one segment to the next; `finetune` behind
it then moves the starts as well (beyond a neighbour the line goes on).

In the graph:  l + Range(d) -> Mod L -> Gather(F) -> Reshape -> Mul(s) -> Conv. The only index that is stored is
the start of each filter. An engine that needs constant weights gets them in full.

Top-1 of ResNet-20 (91.73) on the 10,000 CIFAR-10 test images, 1,024 unlabelled images, and the mean lost output energy:

    ratio            1.1            1.3            2              4
    with data        90.9    5 %    88.7   11 %    76.2   31 %    49.3   54 %
      even starts    90.8    5 %    88.6   12 %
    without data     72.5    6 %                   13.6   31 %

One run each, searched with 4,096 starts and six rounds, twice what the pass does now (at ratio 1.3 and bits=8 it has
88.7). In the identity metric unrelated filters lose 1 - 1 / ratio of their energy, as expected of averages (a test
checks it). The metric and the refit in step save most of the network at small ratios. Fitted starts gain little over
even ones. Up to a ratio of about 1.3 the pass can be used as it is; beyond that the result is a start for training,
as the note warns. For the same file, `codebook` loses far less.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.graph.convs import find_convs
from ..compiler.graph.rewriter import Rewriter
from ..compiler.graph.storage.segments import SegmentVector, rebuild_segments
from ..compiler.pipeline.base import Decision, option
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.registry import register
from ..runtime.rows import Layer
from .projection.fit import Array, Fit, total_signal
from .projection.summary import Summary, even_summary, fit_fractions, fit_starts, linear_bytes, summary_length
from .sharing.base import Project, Shared, SharingPass

OVERHEAD = 100  # values that the nodes rebuilding a weight take the place of
LOSSY, DESTROYED = 0.05, 0.3


@register
@dataclass(frozen=True)
class FilterSummary(SharingPass):
    """Write the filters of every Conv as overlapping segments of one vector. Made for training afterwards.

    Left alone, with the reason in the report: layers that would not become smaller, and those out of
    --include / --exclude.
    """

    name: ClassVar[str] = "filter-summary"
    ratio: float = option(4.0, "the vector is this much shorter than the weight", "[1, 1e6]")
    locations: Literal["even", "fit", "learned"] = option(
        "fit", "where segments start: at even steps, fitted, or fitted with a fraction that training can move"
    )
    scales: Literal["filter", "none"] = option("filter", "a factor (and sign) per filter, or plain segments")
    bits: int = option(32, "32, or 8: the vector is stored as integers on a linear grid", "[8, 32]")

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.bits not in (8, 32):
            raise ValueError(f"bits={self.bits}: expected 8 or 32")

    def first_opset(self) -> int:
        return 11

    def layers(self, graph: gs.Graph) -> Sequence[Layer]:
        return list(find_convs(graph))

    def check(self, layer: Layer) -> str | None:
        length = summary_length(layer.filters, layer.fan_in, self.ratio)
        values = length * self.bits / 32 + (3 if self.locations == "learned" else 2) * layer.filters + OVERHEAD
        if self.ratio > 1 and values >= layer.weight.size:
            return f"no smaller: a vector of {length}, starts and scales for its {layer.weight.size} weights"
        return None

    def projector(self, rewriter: Rewriter, layers: Sequence[Layer]) -> Project:
        def project(layer: Layer, fits: Sequence[Fit]) -> Shared:
            length = summary_length(layer.filters, layer.fan_in, self.ratio)
            scaled = self.scales == "filter" and self.ratio > 1
            even = even_summary(fits, length, scaled)
            chosen = even if self.locations == "even" else fit_starts(fits, even, scaled)
            if self.locations == "learned":
                chosen = fit_fractions(fits, chosen, scaled)
            vector = _stored(chosen.vector, layer.dtype, self.bits == 8)
            scales = [scale.astype(layer.dtype).astype(np.float64) for scale in chosen.scales]
            final = replace(chosen, vector=vector.values().astype(np.float64), scales=scales)
            figures: dict[str, float | int | str] = {"length": length}
            figures |= {
                "even_lost": even.lost(fits) / total_signal(fits),
                "lost": final.lost(fits) / total_signal(fits),
            }
            return Shared(final.dense(), lambda: _rebuild(rewriter, layer, vector, final, scaled), figures)

        return project

    def remarks(self, decisions: Sequence[Decision], ctx: Context) -> list[str]:
        errors = [float(decision.figures["error"]) for decision in decisions]
        mean = float(np.mean(errors)) if errors else 0.0
        if mean < LOSSY:
            return []
        verdict = "the network is destroyed without training" if mean >= DESTROYED else "it costs accuracy"
        return [
            f"the segments lose {mean:.0%} of a layer's output energy on average, {max(errors):.0%} at most: {verdict}"
        ]


def _stored(vector: Array, dtype: np.dtype, as_bytes: bool) -> SegmentVector:
    """The vector as the file holds it."""
    if not as_bytes:
        return SegmentVector(vector.astype(dtype))
    codes, step, low = linear_bytes(vector)
    return SegmentVector(codes, np.asarray(step, dtype), np.asarray(low, dtype))


def _rebuild(rewriter: Rewriter, layer: Layer, vector: SegmentVector, summary: Summary, scaled: bool) -> None:
    shape = layer.weight.shape
    scales = np.concatenate(summary.scales).reshape(-1, *[1] * (len(shape) - 1)).astype(layer.dtype)
    starts = np.concatenate(summary.starts)
    fractions = None
    if summary.fractions is not None:
        fractions = np.concatenate(summary.fractions)[:, None].astype(layer.dtype)
    rebuild_segments(rewriter, layer.node, vector, starts, shape, scales if scaled else None, fractions)
