"""Convs that read one tensor become one Conv, where that is faster; the network computes the same.

    y_1 = W_1 * x + b_1,  y_2 = W_2 * x + b_2      ->      [y_1; y_2] = [W_1; W_2] * x + [b_1; b_2]

Kernels of several sizes are put into a larger one, among zeros (`merging.windows`): a 1 x 1 kernel into the middle
of a 3 x 3 one with a padding of 1, as the expand layers of a fire module (SqueezeNet) have it. The same activation
behind all moves behind the one Conv. A Concat that joins the parts goes; elsewhere a Split gives them back (as few as
there are activations, where a Concat joins what is behind). Where nothing but Convs reads the parts, as in the towers
of a detection head, these become one, too, with zeros where a filter does not read the other's part
(`merging.steps`), and so on down the towers; depthwise Convs stay depthwise.

Where the outputs are added, the kernels are (`merging.sums`): a RepVGG block of a 3 x 3 Conv, a 1 x 1 Conv and a
BatchNormalization is one Conv, which needs no model of the time where it has no more multiplications.

What it buys is kernels: on a small batch each takes a fixed time (about 19 us on the Xavier), whatever it computes.
What it costs are multiplications with zeros, and their bytes in the file. So it is done only where the target's cost
model says that the network as a whole takes less time, in the precision in which the pipeline ends, as the passes
behind this one leave it. For a target without a cost model nothing but sums is written: onnxruntime multiplies with
the zeros, and takes 1.3 times as long for SqueezeNet 1.1 and 1.1 times for YOLOX-nano (FP32, one thread of a shared
machine).

TensorRT itself makes one layer of Convs of one input, kernel and activation ("a || b" in its log; forums.developer.
nvidia.com/t/238187): that is no gain, and not counted as one. The estimates of networks do not know it, and where they
differ before and after for that reason, a note says by how much.

By the estimate for the Xavier, milliseconds without and with it, and what the judging pictures say in INT8 (500 for
top-1, 128 for the detectors' mAP50; calibrated with 512 and 64 others; single runs):

    SqueezeNet 1.1    FP16 0.779, 0.650    INT8 0.685, 0.551    top-1 57.8, 58.2    40 % more bytes in FP32
    YOLOX-nano             3.92,  3.54          3.71,  3.35     mAP50 48.4, 48.8    0.064 in FP16 are TensorRT's own
    FastestDet             1.90,  1.84          1.43,  1.41     mAP50 35.2, 35.0
    RepVGG-A0, unmerged    2.02,  1.32    random weights; 0.89 of the time in onnxruntime

In INT8 the parts share one range. Of two towers of three random Convs, one with activations ten times as large behind a
SiLU, or a thousand times behind a Relu, a layer then stayed in float, and the answers were as good as before; to keep
such Convs apart, --set 'REGEX:horizontal-fusion.skip=true'.

Put it behind passes that choose filters, ranks or blocks, and before `quantize`; `fast` begins with it by itself.
"Horizontal fusion" is TensorRT's and XLA's word. Larger kernels among zeros: "enlarge" in TASO (Jia et al., SOSP 2019).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ..compiler.costs.unknown import UnknownShape
from ..compiler.pipeline.base import Pass, PassResult
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.ending import ending_model
from ..compiler.pipeline.registry import register
from ..runtime.shapes import network_shapes
from .merging.search import FusionSearch

NO_MODEL = "target '{}' has no cost model, and whether one larger Conv is faster is not known"
NO_TIME = "the time of the network is not known: {}"


@register
@dataclass(frozen=True)
class HorizontalFusion(Pass):
    """Make one Conv of those that read one tensor, where the target is faster with it.

    Left alone, with the reason in the report: Convs that differ in strides, or whose outputs would differ in size,
    grouped ones that are not added (depthwise ones are fused with each other), those whose weight others read, too,
    those with quantized weights or activations, and those out of --include / --exclude.
    """

    name: ClassVar[str] = "horizontal-fusion"
    exact: ClassVar[bool] = True
    per_node: ClassVar[frozenset[str]] = frozenset(("skip",))

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        model = ending_model(ctx)
        if model is None:
            return FusionSearch(graph, ctx, None, NO_MODEL.format(ctx.target.name)).run()
        try:
            model.graph(graph, network_shapes(graph, ctx))
        except UnknownShape as error:
            return FusionSearch(graph, ctx, None, NO_TIME.format(f"{error.what}; {error.fix}")).run()
        return FusionSearch(graph, ctx, model).run()
