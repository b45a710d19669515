"""INT8 quantization by Q/DQ pairs, for engines that fuse them into INT8 kernels.

    x  ->  s_x (clip(round(x / s_x) + z) - z)    one scale per activation tensor; z = 0 but where a
                                                 target has `asymmetric_activations`. What a Relu makes is shifted
                                                 by biases, so that it has all codes (`graph.quantization.shifts`)
    W  ->  s_n clip(round(W[n] / s_n))           one scale per output channel n
    b      stays in float32

With data, in this order:

    1. balance     cross-layer equalization: channels between two Convs get equal ranges     (`projection.equalization`)
    2. ranges      s_x from a threshold T, T from histograms of |x| over the calibration data     (`projection.ranges`)
    3. weights     on the grid, with error feedback in the metric M = C + l I, C = cov(Q(x)) over the input patches
                   of the layer                                                                  (`projection.grid`)
    4. bias        b = E[y] - W E[Q(x)], so that no channel's mean moves, in whole steps of s_x s_n, as kernels hold
                   it                                                                        (`quantization.biases`)

Without data only the weights are quantized, to the nearest grid point. Where a target has `folds_weight_arithmetic`
they get a zero point, too, and are rebuilt by arithmetic (`quantization.weight_only`).

A network in half precision is put into float32 first (`graph.half_precision`): that is what pairs take before opset 19,
and on either side of the kernels that engines fuse no Cast may stand. Its inputs and outputs stay half.

With `form=cache` (the default for the DLA, which takes no Q/DQ) the model stays as it is, and step 2 alone is done, for
every tensor: the ranges go into a calibration cache beside the model (`quantization.calibration_cache`).

Where pairs go: `graph.quantization.qdq`. Which layers: `graph.quantization.quantizable`; the last ones before
NonMaxSuppression or TopK stay in float unless heads=true (`graph.quantization.heads`). How they are written:
`Target.weights`.

Measured on CIFAR-10 ResNet-20 / 56 (512 images): squared error of the logits relative to the float network's, in 1e-3,
symmetric pairs as for TensorRT.

    ranges alone    minmax 1.89 / 3.60   percentile 1.92 / 2.61   entropy 1.55 / 2.48   mse 1.44 / 2.08
    all steps       minmax 1.61 / 3.46   percentile 1.50 / 2.20   entropy 1.29 / 2.24   mse 1.22 / 1.94
    mse without balance 1.29 / 1.97, without feedback 1.27, without bias correction 1.25

As onnxruntime takes them (UINT8 activations, residual sums rounded, too; 2,000 images) 0.74 / 0.94, with weights of 7
bits 0.83 / 1.01. For AVX2 without VNNI its kernels give the same, where 8 bits saturate (ResNet-20: an error of 29,
with `basis` before it 71; emulated, 20 images).

Weights alone: 0.21 / 0.13, with zero points 0.12 / 0.07.

The report has of every layer, in the order of the network and also where it stays in float:

    int8_loss         what it loses in INT8 by itself: a share of its outputs' variance, the mean over channels
    int8_divergence   what that alone does to the outputs of the network, measured where there is a budget
    ms_saved          what INT8 saves in it by the cost model; that much longer it takes where it stays in float

Layers that lose more than `noise` stay in float (`quantization.in_float`). YOLOX-nano (49.6 mAP50): 8 of 113, 48.4
instead of 34.1, estimated to take 0.8 % longer; the one depthwise Conv at full resolution costs 12 of the 15 points.
Where the network is broken all the same, as few more as mend it (`quantization.broken`).

Convs that read what the network is given get channels of zeros where the engine's kernels are slow with so few
(`graph.quantization.zero_channels`): SqueezeNet takes 0.88 of the time with onnxruntime, EfficientNet-Lite0 0.97.

For onnxruntime, whose kernels write INT8, what a Conv writes in front of a SiLU or another gate has a range that is
chosen behind it (`quantization.gated`). YOLOX-nano: 4 layers in float, 48.8 mAP50; by its own range 2, and 38.0.

What learned rounding of the weights (AdaRound, BRECQ) could win at most: relative error of the outputs by all rounding,
and by that of the activations alone, on pictures that no fit has seen: SqueezeNet 0.033, 0.032; EfficientNet-Lite0
0.064, 0.059; MobileNetV2 0.062, 0.037; YOLOX-nano 0.167, 0.166; FastestDet 0.208, 0.197; DeepLab 0.042, 0.043. It is
left out. (Before tensors were shifted, which takes a quarter off SqueezeNet's error and a seventh off MobileNetV2's.)

What is left with data is the rounding of the activations. Re-fitting the weights layer by layer beside the float
network gained nothing (ResNet-20: 1.37 against 1.36 with feedback alone) and lost where rows were few (ResNet-56, 256
images: 3.49).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

import onnx_graphsurgeon as gs

from ..compiler.costs.cost_model import Foreseen
from ..compiler.errors import CompressError
from ..compiler.graph.gemms import fold_factors
from ..compiler.graph.quantization.outline import outline
from ..compiler.graph.quantization.quantizable import is_layer, subgraph_layers
from ..compiler.graph.quantization.zero_channels import add_zero_channels
from ..compiler.graph.rewriter import Rewriter
from ..compiler.pipeline.base import Decision, Pass, PassResult, option
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.options import RunOptions
from ..compiler.pipeline.registry import register
from ..compiler.pipeline.traces import Traces
from ..compiler.targets import Target, find_target
from ..compiler.targets.calibration_cache import SUFFIX, format_cache
from .budgets.budget import SEARCHED, Budget
from .quantization.activation_grids import ActivationGrids
from .quantization.calibration_cache import readable_version, tensor_scales
from .quantization.equalization import equalize
from .quantization.exclusions import exclusions
from .quantization.in_float import left_in_float
from .quantization.preparation import FIRST_OPSET, PER_CHANNEL_OPSET, adapt_opset, leave_half_precision
from .quantization.quantizer import Quantizer
from .quantization.requantization import put_into_float, remarks
from .quantization.rounded_weight import WeightRounding
from .quantization.weight_only import LayerReport, pack_weights

CACHE_WITHOUT_DATA = "no calibration cache: its ranges come from data (--data, about 500 unlabelled samples)"
CACHE_WRITTEN = (
    "INT8 by calibration cache: the model stays in float, the engine rounds it; measure the accuracy on the device"
)
IN_A_BODY = "inside the body of an If, Loop or Scan"
WITHOUT_DATA = "weights only: activations stay in float, and so do the engine's kernels"
WIDER = "{} reads channels of zeros beside its own: the same values, and faster by the INT8 kernels of {}"


@register
@dataclass(frozen=True)
class Quantize(Pass):
    """INT8 for Conv, Gemm and MatMul: weights per output channel, activations per tensor, as Q/DQ pairs."""

    name: ClassVar[str] = "quantize"
    quantizes: ClassVar[bool] = True
    per_node: ClassVar[frozenset[str]] = frozenset(("skip", "method", "percentile", "weights", "noise"))

    method: Literal["minmax", "percentile", "mse", "entropy"] = option(
        "mse", "how the range of an activation is chosen"
    )
    percentile: float = option(
        99.99, "with method=percentile: the percentage of values that is not clipped", "(0, 100]"
    )
    weights: Literal["nearest", "feedback"] = option(
        "feedback", "round each weight alone, or with its error compensated by the others"
    )
    bias_correction: bool = option(True, "shift each bias by the mean error of its layer's output")
    balance: Literal["none", "linear", "relu"] = option(
        "relu", "even out the channels between Convs: never, or up to a ReLU"
    )
    agreement: float | None = option(
        None, "as few layers in float as give this agreement with the original: of classes, or of pixels", "(0, 1]"
    )
    accuracy_drop: float | None = option(
        None, "as few layers in float as lose at most these points of top-1 (labels)", "[0, 100]"
    )
    error: float | None = option(
        None, "as few layers in float as give this error of the outputs, each channel relative to its spread", "(0, 1]"
    )
    metric_drop: float | None = option(
        None, "as few layers in float as lose at most this much of your own metric (--metric)", "[0, inf)"
    )
    noise: float | None = option(
        None,
        "layers that lose more of their outputs' variance than this stay in float (with data); none: 0.01, with a "
        "budget 1",
        "(0, 1]",
    )
    requantize: bool = option(
        False, "a network that is in INT8 already: read its scales back into float, and quantize it anew (with data)"
    )
    heads: bool = option(False, "also the last layers before NonMaxSuppression or TopK, with form=pairs")
    samples: int = option(512, "calibration samples used at most", "[1, inf)")
    form: Literal["target", "pairs", "cache"] = option(
        "target", "Q/DQ pairs in the model, or a float model and a calibration cache; target: what the engine takes"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        self._budget()

    def sidecars(self, options: RunOptions) -> tuple[str, ...]:
        cached = options.data is not None and self._in_cache(find_target(options.target))
        return (SUFFIX,) if cached else ()

    def foreseen(self, seen: Foreseen, ctx: Context) -> Foreseen:
        """With pairs at every layer that may have them: which of them stay in float for what they lose is not known."""
        if ctx.data is None or self._in_cache(ctx.target):
            return super().foreseen(seen, ctx)
        reasons = self._excluded(seen.graph, replace(ctx, running=self.name))
        names = {node.name for node in seen.graph.nodes if reasons.get(id(node), "") is None}
        target = ctx.target
        outlined = outline(seen.graph, names, target.quantizes_outputs, target.asymmetric_activations)
        return replace(seen, graph=outlined)

    def outlook(self, graph: gs.Graph, ctx: Context) -> Mapping[str, str]:
        reasons = self._excluded(graph, ctx)
        done = "INT8, unless that costs too much (noise)" if ctx.data is not None else "weights in INT8"
        names = [(node.name, reasons[id(node)]) for node in graph.nodes if is_layer(node)]
        return {name: done if reason is None else f"skipped: {reason}" for name, reason in names}

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        known = put_into_float(graph, ctx) if self.requantize else PassResult()
        known.notes += remarks(graph, self.requantize)
        result = self._write_cache(graph, ctx) if self._in_cache(ctx.target) else self._write_pairs(graph, ctx)
        result.changed |= known.changed
        result.notes[:0] = known.notes
        return result

    def _budget(self) -> Budget | None:
        return Budget.of(**{name: getattr(self, name) for name in SEARCHED})

    def _in_cache(self, target: Target) -> bool:
        return target.quantization == "cache" if self.form == "target" else self.form == "cache"

    def _write_cache(self, graph: gs.Graph, ctx: Context) -> PassResult:
        version = readable_version(graph, ctx, self._budget())
        if ctx.data is None:
            return PassResult(notes=[CACHE_WITHOUT_DATA])
        scales, spreads = tensor_scales(graph, ctx, ctx.data, self.method, self.percentile, self.samples)
        ctx.state.sidecars[SUFFIX] = format_cache(version, scales)
        return PassResult(metrics={"tensors": len(scales)}, notes=[CACHE_WRITTEN], traces=Traces(spreads=spreads))

    def _write_pairs(self, graph: gs.Graph, ctx: Context) -> PassResult:
        result, budget = PassResult(), self._budget()
        if budget is not None and ctx.data is None:
            raise CompressError(f"{budget} needs data", "quantize", "give --data, or leave the budget out")
        reasons = self._prepared(graph, ctx, result)
        layers = [node for node in graph.nodes if is_layer(node)]
        accepted = [node for node in layers if reasons[id(node)] is None]
        figures = self._quantize(graph, ctx, accepted, reasons, result) if accepted else {}
        result.decisions += [_decision(node, reasons[id(node)], figures.get(node.name, {})) for node in layers]
        result.decisions += [Decision(node.name, "skipped", IN_A_BODY) for node in subgraph_layers(graph)]
        count = sum(each.action == "quantized" for each in result.decisions)
        result.metrics.update(quantized=count, skipped=len(result.decisions) - count)
        result.changed |= bool(accepted)
        if accepted and ctx.data is None:
            result.notes.append(WITHOUT_DATA)
        return result

    def _prepared(self, graph: gs.Graph, ctx: Context, result: PassResult) -> dict[int, str | None]:
        """Make of the network what pairs want; why layers stay as they are, by `id` of those that it has then."""
        if None in self._excluded(graph, ctx).values():
            adapt_opset(graph, ctx, result)
        reasons: dict[int, str | None] = self._excluded(graph, ctx)
        if graph.opset < FIRST_OPSET:
            reasons = {key: reason or f"opset {graph.opset} has no QuantizeLinear" for key, reason in reasons.items()}
        leave_half_precision(graph, ctx, reasons, result)
        return reasons

    def _excluded(self, graph: gs.Graph, ctx: Context) -> dict[int, str | None]:
        return exclusions(graph, ctx, self.heads, self.requantize)

    def _quantize(
        self, graph: gs.Graph, ctx: Context, accepted: list[gs.Node], reasons: dict[int, str | None], result: PassResult
    ) -> dict[str, LayerReport]:
        """Write the pairs; node name -> figures, also of those that stay in float after all, which get a reason."""
        chosen, spreads = {id(node) for node in accepted}, result.traces.spreads
        rewriter = Rewriter(graph, ctx.origins)
        for node in accepted:
            if node.op == "Gemm":
                fold_factors(rewriter, node)
        if self.balance != "none":
            equalize(rewriter, lambda node: id(node) in chosen, ctx.data, self.balance == "relu", ctx.progress)
        if ctx.data is None and ctx.target.folds_weight_arithmetic and graph.opset >= PER_CHANNEL_OPSET:
            return pack_weights(rewriter, accepted, spreads)
        quantizer = self._quantizer(graph, ctx)
        quantizer.round(lambda node: id(node) in chosen)
        left = left_in_float(quantizer, accepted, self.noise, self._budget())
        result.notes += left.notes
        result.metrics.update(left.metrics)
        result.traces.searches += left.searches
        reasons.update((id(node), left.reasons.get(node.name)) for node in accepted)
        chosen = {id(node) for node in accepted if node.name not in left.reasons}
        figures = quantizer.write(rewriter, lambda node: id(node) in chosen, spreads)
        wider = add_zero_channels(rewriter, figures.keys(), ctx.target.row_multiple)
        result.notes += [WIDER.format(name, ctx.target.name) for name in wider]
        return {node.name: figures.get(node.name, {}) | left.costs.get(node.name, {}) for node in accepted}

    def _quantizer(self, graph: gs.Graph, ctx: Context) -> Quantizer:
        activations = ActivationGrids(graph, ctx, self.method, self.percentile, self.samples)
        compensate, per_channel = self.weights == "feedback", graph.opset >= PER_CHANNEL_OPSET
        return Quantizer(WeightRounding(activations, compensate, self.bias_correction, per_channel))


def _decision(node: gs.Node, reason: str | None, figures: LayerReport) -> Decision:
    if reason is not None:
        return Decision(node.name, "skipped", reason, figures)
    return Decision(node.name, "quantized", figures=figures)
