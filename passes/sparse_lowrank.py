"""A Conv as the sum of a structured-sparse and a low-rank weight, W = S + L, fitted through the activation after it.

    minimise  1/2 |Y - f((S + L) X + b)|^2 + l1 sum_g |S_g| + l2 |L|_*        over sampled rows X, Y; f: Relu, Clip, ...

    1. Linearised ADMM (`projection.admm`) chooses the q groups of S; its penalties follow from q and the rank r.
    2. Support and rank are frozen and fitted exactly in the metric of the inputs (`projection.partition`).
    3. The same fit is repeated with the activation split off (`projection.activation_aware`), a few times.

    groups              graph                                                     MACs per output position
    input channels      Gather(x, s) -> Conv(S)                                   N q K^2
                        Gather(x, others) -> Conv(V) -> Conv(U), Add              r ((C - q) K^2 + N)
                        or Conv(V, K x 1) -> Conv(H, 1 x K) for the second        r ((C - q) K + N K), stride 1
    output rows         Conv([V; S]) -> Conv 1 x 1 ([U, E])                       (r + q) (C K^2 + N), E: 0/1 selection

L needs no input channels of S, as S is free there. q is one of the shares `SHARES` of the channels or rows; r follows
from the budget. form=auto chooses for every Conv among input channels with either L, and q = 0, where only step 3
differs from the basis pass. Output rows are left to form=rows: [U, E] is a mixture like any other, so q = 0 with r + q
filters loses no more at the same cost.

In a residual block Conv -> Add -> f the shortcut of the compressed network is added inside f (activation=auto).
Without data the metric is the identity and the activation is ignored; grouped Convs have q = 0.

Source: Ma et al., "A unified approximation framework for compressing and accelerating deep neural networks", ICTAI 2019
(arXiv 1807.10119). Steps 2 and 3, the choice of r and q by a budget and the separable L are this project's.

Top-1 on the 10,000 CIFAR-10 test images, 1,024 unlabelled images, one run each:

                                 ResNet-20 (91.73)                  ResNet-56 (93.39)
    MACs kept                    0.5       activation=none          0.5       0.36      activation=none, 0.36
    auto                         90.53     90.16                    92.64     91.44     91.32
    channels                     88.43     87.30
    rows                         86.25     85.29
    basis                                  90.07                    92.67     91.40

The activation gains 0.1 to 1.1 points. Sparse channels beside a separable L gain nothing beyond noise (a
standard error of the difference of two such figures is about 0.2): on ResNet-20 the pass is better than `basis`, on
ResNet-56 it is equal, and it takes several times as long. form=channels is held back by the largest share: nearly
every Conv takes it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import ClassVar, Literal

import onnx_graphsurgeon as gs

from ..compiler.graph.convs import Conv
from ..compiler.pipeline.base import PassResult, option
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.registry import register
from ..runtime.lockstep import ROWS
from .basis import ChannelBasis, SeparableBasis
from .decomposition.base import DecompositionPass
from .decomposition.forms import Form
from .sparsity.channel_groups import ChannelGroups, LowRankOnly
from .sparsity.fitting import SparsityOptions
from .sparsity.row_groups import RowGroups

SHARES = (1 / 16, 1 / 8, 1 / 4)
NO_DATA = "without data the activations are ignored: supports and factors are fitted to the weights alone"
STRUCTURED = "S is sparse in whole channels or filters: the tensor cores of {target} skip no single zeros, not even 2:4"


@register
@dataclass(frozen=True)
class SparseLowRank(DecompositionPass):
    """Write Convs as structured-sparse plus low-rank, fitted through the activation that follows.

    Left alone, with the reason in the report: depthwise Convs, Convs that no size makes cheaper, and those out of
    --include / --exclude.
    """

    name: ClassVar[str] = "sparse-lowrank"
    form: Literal["auto", "channels", "rows"] = option(
        "auto", "what S is: input channels beside an L of either basis form, channels beside K x K filters, output rows"
    )
    activation: Literal["auto", "none"] = option(
        "auto",
        "fit through the Relu, Clip or LeakyRelu that follows, also after a residual Add; or ignore it",
    )
    iterations: int = option(100, "iterations of the ADMM that chooses the groups", "[1, 100000]")
    penalty: float = option(1.0, "penalty of the ADMM's split, relative to the curvature of the loss", "(0, 1e6]")
    alternations: int = option(10, "most alternations of the refit through the activation", "[1, 100000]")

    def forms(self) -> Sequence[Form]:
        settings = SparsityOptions(self.iterations, self.penalty, self.alternations)
        if self.form == "rows":
            return [RowGroups(share, settings) for share in SHARES]
        multiple = self.align if isinstance(self.align, int) else 1
        channel = [ChannelGroups(ChannelBasis(), share, False, multiple, settings) for share in SHARES]
        if self.form == "channels":
            return channel
        separable = [ChannelGroups(SeparableBasis(), share, True, multiple, settings) for share in SHARES]
        return [LowRankOnly(ChannelBasis(), settings), LowRankOnly(SeparableBasis(), settings), *channel, *separable]

    def check(self, conv: Conv) -> str | None:
        if conv.group > 1 and conv.weight.shape[1] == 1:
            return "depthwise: every filter is its own group and its own basis"
        return "empty weight" if prod(conv.weight.shape) == 0 else None

    def rows_kept(self) -> int:
        return ROWS if self.activation == "auto" else 0

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        result = super().run(graph, ctx)
        if ctx.data is None:
            result.notes.append(NO_DATA)
        if ctx.target.tensorrt is not None and ctx.target.device == "xavier":
            result.notes.append(STRUCTURED.format(target=ctx.target.name))
        return result
