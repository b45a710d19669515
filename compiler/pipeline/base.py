"""The pass contract.

A pass is a frozen dataclass. Its class attribute `name` is what a pipeline calls it, its fields are its options:

    @register
    @dataclass(frozen=True)
    class DropIdentity(Pass):
        \"\"\"Remove Identity nodes.\"\"\"
        name: ClassVar[str] = "drop-identity"
        def run(self, graph, ctx): ...
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Literal

import onnx_graphsurgeon as gs

from ..costs.cost_model import Foreseen
from ..costs.latency import Precision
from ..graph.convs import find_convs
from .context import Context
from .formatting import spell
from .options import RunOptions
from .ranges import FINITE, RANGE, check_ranges
from .traces import Traces

Action = Literal["rewritten", "refitted", "quantized", "folded", "removed", "legalized", "kept", "skipped"]


WeightForm = Literal["kept", "float", "computed"]
"""Still quantized; in float, which `quantize` can round again; or computed by nodes of the graph, which it cannot."""


def option(default: Any, help: str, range: str = FINITE, **metadata: Any) -> Any:
    """A dataclass field that is a pass option, with the line that `explain` prints for it.

    Args:
        range: of numbers, see `pipeline.ranges`.
        metadata: `is_file`: it names one, which may be made; `reads`: value -> the files that it names, which must be.
    """
    return dataclasses.field(default=default, metadata={"help": help, RANGE: range, **metadata})


@dataclass(frozen=True)
class Decision:
    """What a pass did to one node, and why.

    `figures` holds numbers and short strings worth a column in the report: size, error, macs_before, macs_after, ...
    """

    node: str
    action: Action
    reason: str = ""
    figures: Mapping[str, float | int | str] = field(default_factory=dict[str, "float | int | str"])


def last_decisions(decisions: Iterable[Decision]) -> list[Decision]:
    """The last one of each node, in the order of the first."""
    return list({decision.node: decision for decision in decisions}.values())


@dataclass
class PassResult:
    """What a pass reports.

    Attributes:
        changed: the graph differs from before.
        decisions: one per node the pass looked at.
        metrics: figures of the whole pass, by name.
        notes: sentences for the user (what was assumed, what data would buy).
        traces: what the report draws.
    """

    changed: bool = False
    decisions: list[Decision] = field(default_factory=list[Decision])
    metrics: dict[str, float] = field(default_factory=dict[str, float])
    notes: list[str] = field(default_factory=list[str])
    traces: Traces = field(default_factory=Traces)


@dataclass(frozen=True)
class Pass(ABC):
    """A graph rewrite. Subclass as a frozen dataclass; see the module docstring.

    `exact` says that outputs stay the same up to rounding: the verifier then treats a difference as a failure.
    `per_node` names the options that may differ from node to node (`pipeline.overrides`): those that the pass
    asks `Context.settings` for, and `skip` where it asks `Context.out_of_scope`.
    `quantizes` says that layers leave the pass in INT8.
    """

    name: ClassVar[str]
    exact: ClassVar[bool] = False
    per_node: ClassVar[frozenset[str]] = frozenset()
    quantizes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        """`ValueError` where an option lies outside of its range; a pass with checks of its own calls this first."""
        check_ranges(self)

    def trains_on(self) -> int:
        """How many samples the pass wants to train on, beside those that all passes calibrate with."""
        return 0

    def sidecars(self, options: RunOptions) -> tuple[str, ...]:
        """Suffixes of the files that the pass will put beside the model (`RunState.sidecars`)."""
        return ()

    def weight_form(self, ctx: Context) -> WeightForm:
        """What becomes of quantized weights that the pass rewrites."""
        return "kept"

    def ends_in(self, ctx: Context) -> Precision | None:
        """The precision in which layers that are in float run once the pass is done; None where it changes none."""
        return "int8" if self.quantizes and ctx.data is not None else None

    def foreseen(self, seen: Foreseen, ctx: Context) -> Foreseen:
        """What the pass will make of a network, as far as its time goes, before it runs (`pipeline.ending`)."""
        return seen if self.ends_in(ctx) is None else replace(seen, precision=self.ends_in(ctx))

    def outlook(self, graph: gs.Graph, ctx: Context) -> Mapping[str, str]:
        """What `run` would do to each node, by its name, as far as that is known before anything is fitted."""
        reasons = {conv.name: ctx.out_of_scope(conv.name) for conv in find_convs(graph)}
        return {
            name: "may be rewritten" if reason is None else f"skipped: {reason}" for name, reason in reasons.items()
        }

    @abstractmethod
    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        """Rewrite `graph` in place and report what was done."""

    def __str__(self) -> str:
        return spell(self.name, self)


@dataclass
class PassRecord:
    """One pass that ran.

    Attributes:
        position: 1 for the first pass of the pipeline.
        name, spec: the pass's name, and its canonical spelling with options.
        result: what it reported.
        seconds: wall time of the pass alone.
        figures: what instruments measured, by name.
        idle: it changed neither the graph nor what belongs beside it.
    """

    position: int
    name: str
    spec: str
    result: PassResult
    seconds: float = 0.0
    figures: dict[str, float] = field(default_factory=dict[str, float])
    idle: bool = False
