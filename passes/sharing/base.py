"""The pass behind every weight-sharing pass: options, and the order of its steps."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar, Literal

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.convs import unsupported_convs
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.ties import refusal, tie
from ...compiler.pipeline.base import Decision, Pass, PassResult, WeightForm, option
from ...compiler.pipeline.context import Context
from ...compiler.targets import Target
from ...runtime.rows import LARGEST, Layer, in_graph_order, is_too_wide
from ..fitting.fits import for_all_uses, store_fitted
from ..fitting.lockstep import FitOptions, fitted_layers
from ..projection.fit import Array, Fit

FOLDED = "weights are stored in full, as {why}: the file does not shrink, but it zips better"
TOO_WIDE = f"{{}}: more than {LARGEST} inputs, so its weight is fitted without the data"


@dataclass(frozen=True, eq=False)
class Shared:
    """One layer in its shared form.

    Attributes:
        dense: the weight (n, d) it stands for, per group.
        figures: for the report.
        rebuild: puts the nodes that compute the weight into the graph.
    """

    dense: Sequence[Array]
    rebuild: Callable[[], None]
    figures: Mapping[str, float | int | str] = field(default_factory=dict[str, "float | int | str"])


Project = Callable[[Layer, Sequence[Fit]], Shared]


@dataclass(frozen=True)
class SharingPass(Pass):
    """Options that all weight-sharing passes have."""

    per_node: ClassVar[frozenset[str]] = frozenset(("skip",))

    refit: Literal["lockstep", "none"] = option(
        "lockstep", "fit on the inputs in the network as rewritten so far, or (none) as it was before the pass"
    )
    ridge: float = option(1e-3, "pull towards the stored weight, relative to the mean input energy", "(0, 1e6]")
    storage: Literal["auto", "shared", "full"] = option(
        "auto", "what the file holds: the shared form, full weights, or what the target takes"
    )

    def weight_form(self, ctx: Context) -> WeightForm:
        first = self.first_opset()
        return "computed" if why_full(self.storage, ctx.target, first, first) is None else "float"

    @abstractmethod
    def layers(self, graph: gs.Graph) -> Sequence[Layer]:
        """The layers to consider, in any order."""

    @abstractmethod
    def check(self, layer: Layer) -> str | None:
        """Why this layer is left alone, or None."""

    @abstractmethod
    def projector(self, rewriter: Rewriter, layers: Sequence[Layer]) -> Project:
        """The projection of the accepted layers; it is called for each of them in graph order."""

    def remarks(self, decisions: Sequence[Decision], ctx: Context) -> list[str]:
        """Notes for the user."""
        return []

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        why = why_full(self.storage, ctx.target, graph.opset, self.first_opset())
        layers, skipped = self._survey(graph, ctx)
        rewriter = Rewriter(graph, ctx.origins)
        project = self.projector(rewriter, layers)
        decisions: list[Decision] = []
        with ctx.progress(self.name, len(layers)) as advance:
            options = FitOptions(self.ridge, self.refit == "lockstep")
            for layer, fits in fitted_layers(graph, ctx, layers, ctx.data, options):
                decisions += for_all_uses(layer, _write(rewriter, layer, fits, project(layer, fits), why is not None))
                advance(layer.name)
        notes = [FOLDED.format(why=why)] if why and layers else []
        notes += [TOO_WIDE.format(layer.name) for layer in layers if ctx.data is not None and is_too_wide(layer)]
        return PassResult(bool(layers), [*decisions, *skipped], notes=[*notes, *self.remarks(decisions, ctx)])

    def first_opset(self) -> int:
        """The oldest opset whose operators rebuild the weights."""
        return 10

    def _survey(self, graph: gs.Graph, ctx: Context) -> tuple[list[Layer], list[Decision]]:
        skipped = [Decision(name, "skipped", reason) for name, reason in unsupported_convs(graph)]
        accepted: list[Layer] = []
        for layer in tie(in_graph_order(graph, self.layers(graph))):
            reason = refusal(layer, lambda use: ctx.out_of_scope(use.name) or _unfit(use) or self.check(use))
            if reason:
                skipped += [Decision(use.name, "skipped", reason) for use in layer.uses]
            else:
                accepted.append(layer)
        return accepted, skipped


def why_full(storage: str, target: Target, opset: int, first_opset: int) -> str | None:
    """Why full weights are stored, or None."""
    if storage == "full":
        return "storage=full asks"
    if storage == "shared":
        return None
    if target.tensorrt is not None and target.tensorrt < (10, 0):
        return f"{target.name} needs constants"
    return f"opset {opset} lacks the operators that rebuild them" if opset < first_opset else None


def _unfit(layer: Layer) -> str | None:
    if layer.weight.size == 0:
        return "empty weight"
    return None if np.isfinite(layer.weight).all() else "its weight holds NaN or Inf"


def _write(rewriter: Rewriter, layer: Layer, fits: Sequence[Fit], shared: Shared, full: bool) -> Decision:
    error = store_fitted(rewriter, layer, fits, shared.dense)
    if not full:
        shared.rebuild()
        for use in layer.others:
            rewriter.set_input(use.node, 1, layer.node.inputs[1])
    return Decision(layer.name, "rewritten", "", {**shared.figures, "error": error})
