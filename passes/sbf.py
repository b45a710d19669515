"""Spatial basis filters: templates scaled tap by tap.

    W[n, c, k] = B[m(n), c, k] T[n, k]        M templates B, a K-tap transform T and a template m(n) per filter;
                                              with G groups of channels T has a K-tap transform per group

Templates, transforms and m are fitted to the layer's best weight in the metric of its inputs (`projection.templates`).
How many templates a layer gets is the budget's choice, along error curves; `select` chooses the filters that they
start from: `greedy`, those that explain most of the others, or `magnitude`, the largest. `threshold` is the paper's
rule: the largest, and one magnitude for the whole network, as low as the budget allows, decides how many, at least 8.

    form=stock   saves work: 1 x 1 Conv to the G M K maps of the templates, one depthwise tap each, 1 x 1 Conv with T
                     MACs  P' C M K  +  P G M K^2  +  P N G K          P', P: input and output positions
                 Every template serves ceil(N / M) filters, as the groups of a Conv are of equal size. The filters come
                 out in another order. Where M divides N the layers that read them are reordered instead, as far as no
                 Add, group or output ties them to their places (`orders`, `orders_left` in the report); else a Gather.
    form=dense   saves parameters: Gather(B, m) * T is the Conv's weight; in full for engines that need constants
                     stored  C M K  +  N G K  +  N
    form=plugin  saves work: one SpatialBasisConv, for TensorRT 8 with the plugin of runtime/tensorrt/plugin, whose
                 kernel keeps the maps on the chip; other runtimes execute the dense Conv (`graph.storage.operators`)
                     MACs  P C M K  +  P N G K

The paper counts M/N + G/C - GM/(CN) of a Conv's MACs (`paper_ratio` in the report): it does not count the taps' MACs,
and the kept filters need no transform. The stock form pays for both, and its first Conv runs at input resolution, so
a strided Conv is rarely cheaper. The plugin pays M/N + G/C. It has been compiled, and its arithmetic and
barriers run on a host; nobody has timed it (`benchmarks/gpu_kernel.py` does, where a GPU is), so it has no price under
latency=.

Source: Miles and Mikolajczyk, "Reconstructing pruned filters using cheap spatial transformations", ICCV Workshops 2023
(arXiv 2110.12844), section 3. The paper trains.

Top-1 of ResNet-20 (91.73) on the 10,000 CIFAR-10 test images, 1,024 unlabelled images:

    stock, MACs kept     0.8    91.3     0.65    90.3     0.5    88.0        (`basis:form=channel` at 0.65: 89.4)
      magnitude                          0.65    90.2
      threshold                          0.65    79.5
      groups=2                           0.65    90.1
    plugin, MACs kept                    0.65    90.6     0.5    89.2
      magnitude                          0.65    90.9
      threshold                          0.65    85.7
    dense, params kept                                    0.5    85.5        magnitude 85.2, groups=2 85.8
    stock without data                   0.65    13.0

One run each, so differences of a few tenths mean little: `greedy`, `magnitude` and `groups` are not set apart.
One threshold, untrained, is worse by far: stock, it leaves 13 of 15 Convs 8 templates and one 53 of 64. It all needs
data or training. At half the MACs `basis` is better (90.1). For storage, `codebook` is far better. ResNet-56 (93.39) at
0.52 of the MACs: stock 91.5, plugin 92.0; after two epochs of `finetune` on 50,000 images 92.0 and 92.6.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.costs.workload import LatencyModel
from ..compiler.graph.channels.order import absorb_order
from ..compiler.graph.convs import Conv
from ..compiler.graph.rewriter import Rewriter
from ..compiler.graph.shapes import infer_shapes
from ..compiler.graph.storage.operators import LEAST_IR, SPATIAL_BASIS_CONV, declared
from ..compiler.pipeline.base import PassResult, option
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.registry import register
from ..compiler.targets import Target
from .budgets.allocate import Choice
from .budgets.budget import Budget, BudgetUnreachable
from .decomposition.base import DecompositionPass
from .decomposition.forms import Form
from .decomposition.survey import Survey
from .decomposition.template_forms import DenseTemplateForm, PluginTemplateForm, TemplateForm
from .decomposition.threshold import choose_by_threshold
from .projection.templates import Select
from .sharing.base import FOLDED, why_full

FIRST_OPSET = 13
LEAST = 8
"""Templates that the threshold leaves every Conv (Miles and Mikolajczyk 2023, CIFAR-10)."""
PLUGIN_NOTE = (
    f"{SPATIAL_BASIS_CONV} needs the library that runtime/tensorrt/plugin builds; other runtimes take its dense body. "
    "Nobody has timed its kernel: no latency is estimated"
)


@register
@dataclass(frozen=True)
class SpatialBasisFilters(DecompositionPass):
    """Write the filters of Convs as templates scaled tap by tap.

    Left alone, with the reason in the report: grouped and 1 x 1 Convs, Convs that no number of templates makes cheaper,
    and those out of --include / --exclude.
    """

    name: ClassVar[str] = "sbf"
    form: Literal["stock", "dense", "plugin"] = option(
        "stock", "stock: fewer MACs, three Convs; dense: fewer parameters, one Conv; plugin: one node of the project's"
    )
    groups: int = option(1, "groups of input channels, each with a transform of its own", "[1, 65536]")
    select: Literal["greedy", "magnitude", "threshold"] = option(
        "greedy",
        "templates start from the filters that explain most, or from the largest; threshold: from the largest, and one "
        "magnitude for the whole network decides how many a Conv gets",
    )
    storage: Literal["auto", "shared", "full"] = option(
        "auto", "form=dense: what the file holds, the parts, full weights, or what the target takes"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.form == "plugin" and self.latency is not None:
            raise ValueError("form=plugin has no price in time, its kernel has not been timed: budget by macs=")
        if self.select == "threshold" and (self.energy is not None or self.rank is not None):
            raise ValueError(
                "select=threshold takes its sizes from the budget: give macs=, params=, bytes= or latency="
            )

    def forms(self) -> Sequence[Form]:
        select: Select = "greedy" if self.select == "greedy" else "magnitude"
        if self.form == "stock":
            return [TemplateForm(self.groups, select)]
        if self.form == "plugin":
            return [PluginTemplateForm(self.groups, select)]
        return [DenseTemplateForm(self.groups, select, full=self.storage == "full")]

    def choose(self, budget: Budget, found: Survey) -> list[Choice]:
        if self.select != "threshold" or budget.rule:
            return super().choose(budget, found)
        return choose_by_threshold(budget, found, [magnitudes(entry.conv) for entry in found.candidates], LEAST)[0]

    def latency_model(self, ctx: Context) -> LatencyModel | None:
        return None if self.form == "plugin" else super().latency_model(ctx)

    def check(self, conv: Conv) -> str | None:
        return "empty weight" if prod(conv.weight.shape) == 0 else None

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        unable = _no_plugin(ctx.target, graph.opset) if self.form == "plugin" else None
        given = self._given()
        if unable is not None and given is not None and given.limits:
            raise BudgetUnreachable(f"{given} cannot be reached", "budget", unable)
        if unable is not None:
            return PassResult(notes=[unable])
        if self.form != "dense" or self.storage == "full":
            return super().run(graph, ctx)
        why = why_full(self.storage, ctx.target, graph.opset, FIRST_OPSET)
        if why is None:
            return super().run(graph, ctx)
        result = replace(self, storage="full").run(graph, ctx)
        result.notes.append(FOLDED.format(why=why))
        return result

    def _rewrite(self, graph: gs.Graph, ctx: Context, found: Survey, budget: Budget, result: PassResult) -> None:
        super()._rewrite(graph, ctx, found, budget, result)
        if self.form == "stock":
            _absorb_orders(graph, ctx, result)
        if declared(graph):
            ctx.state.declared_operators.append(SPATIAL_BASIS_CONV)
            result.notes.append(PLUGIN_NOTE)


def magnitudes(conv: Conv) -> np.ndarray:
    """The length of every filter (N,)."""
    return np.linalg.norm(conv.matrix(), axis=1)


def _no_plugin(target: Target, opset: int) -> str | None:
    if target.max_ir < LEAST_IR:
        return (
            f"form=plugin: {target.name} reads IR {target.max_ir}, a model with the operator's body is of IR {LEAST_IR}"
        )
    if opset < FIRST_OPSET:
        return f"form=plugin: the model is of opset {opset}, the operator's body of {FIRST_OPSET}; raise it first"
    return None


def _absorb_orders(graph: gs.Graph, ctx: Context, result: PassResult) -> None:
    """Reorder what reads the filters of stock forms instead of the filters, where that is the same."""
    names = {decision.node for decision in result.decisions if decision.action == "rewritten"}
    orders = [node for node in graph.nodes if node.op == "Gather" and _orders_filters(node, names)]
    if not orders:
        return
    rewriter, shapes = Rewriter(graph, ctx.origins), infer_shapes(graph, ctx.sample_shapes())
    left = sum(not absorb_order(rewriter, node, shapes) for node in orders)
    result.metrics.update(orders=len(orders), orders_left=left)


def _orders_filters(node: gs.Node, rewritten: Collection[str]) -> bool:
    base, _, part = node.name.rpartition(".")
    return base in rewritten and part.startswith("filters")
