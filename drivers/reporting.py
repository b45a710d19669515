"""The report of a run: what `compiler.report` describes, measured and put together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_graphsurgeon as gs

from ..compiler.costs.latency import estimate
from ..compiler.costs.network_cost import conv_costs, require_macs
from ..compiler.costs.unknown import UnknownShape
from ..compiler.costs.workload import total
from ..compiler.graph.io import stored_size
from ..compiler.graph.shapes import Shapes
from ..compiler.graph.storage.operators import declared
from ..compiler.pipeline.base import PassRecord
from ..compiler.pipeline.context import Context
from ..compiler.report import (
    SCHEMA,
    DataReport,
    LatencyReport,
    Report,
    SizeReport,
    TargetReport,
    ToolReport,
    pass_report,
    unchanged,
)
from ..compiler.targets.profiles import Range, parse_ranges
from ..compiler.targets.trtexec import TEMPLATE, command_line
from ..compiler.versions import __version__
from ..passes.budgets.budgeted_pass import BudgetedPass
from ..runtime.data import Samples
from ..runtime.environment import environment, now
from ..runtime.quality.verdict import Verdict, verdict_of_run
from ..runtime.shapes import network_shapes, sample_ranges
from .judging import exceeded, one_sided, quality_report, warnings
from .layer_costs import Costed, layer_reports, not_counted
from .paths import CALIBRATION
from .setup import Setup
from .times import late, slower, time_steps

ABSENT = "--plugin-op {}: no node has this operator"
COMPARED = 2**26
WITHOUT_DATA = (
    "without data only the weights decide; give --data, a few hundred unlabelled inputs: INT8 kernels{}, factors "
    "fitted to what layers see, and a measured agreement"
)
OUTGROWN = "bytes={:g} was kept by {}, but the file written has {:.3f}: what the passes behind it store comes on top"


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
        setup: its source is the compressed model.
        records: what was done.
        before: bytes of the model that came in.
        command: what repeats the run.
        verdict: on the compressed model, where it has been judged already.
        shapes: of the compressed model, `network_shapes`, where they have been found already.
    """

    setup: Setup
    records: Sequence[PassRecord]
    before: int
    command: str
    verdict: Verdict | None = None
    shapes: Shapes | None = None

    @property
    def ctx(self) -> Context:
        return self.setup.ctx

    def report(self) -> Report:
        ctx, model = self.ctx, self.setup.source
        graph, data = model.graph, self.setup.samples
        original = ctx.original or graph
        cached = CALIBRATION in ctx.state.sidecars
        before, after = self._costed(original, in_int8=False), self._costed(graph, cached, self.shapes)
        verdict = self.verdict or verdict_of_run(original, graph, ctx, ctx.judging or ctx.data)
        quality, stored = quality_report(original, graph, ctx, verdict), stored_size(model)
        passes, asked = self.setup.passes, self._asked()
        return Report(
            schema=SCHEMA,
            tool=ToolReport(name="onnx-compress", version=__version__),
            created=now(),
            command=self.command,
            environment=environment(),
            model=None if model.path is None else str(model.path),
            output=ctx.options.output,
            target=self._target(),
            pipeline=self.setup.spelled,
            seed=ctx.options.seed,
            options=ctx.options.plain(),
            data=None if data is None else _data_report(data),
            before=self._size(before, self.before),
            after=self._size(after, stored),
            times=list(time_steps(before, after, ctx, passes, asked)),
            quality=quality,
            layers=list(layer_reports(before, after, ctx.origins)),
            passes=[pass_report(record, ctx.origins) for record in self.records],
            origins={node.name: ctx.origins[node.name] for node in graph.nodes if node.name in ctx.origins},
            warnings=[
                *late(original, graph, ctx, passes, asked),
                *one_sided(verdict),
                *([] if quality is None else [*warnings(quality, original, ctx), *exceeded(quality, passes)]),
                *slower(before.latency, after.latency),
            ],
            notes=[
                *self.setup.notes,
                *self._events(),
                *self._outgrown(stored),
                *self._absent(original),
                *([self._without_data(before)] if data is None else data.notes),
                *not_counted(before, after),
            ],
        )

    def _without_data(self, before: Costed) -> str:
        """What data would buy; in milliseconds, where they are known."""
        faster = None if before.latency is None else self._costed(before.graph, in_int8=True).latency
        if before.latency is None or faster is None or faster.ms >= before.latency.ms:
            return WITHOUT_DATA.format("")
        return WITHOUT_DATA.format(f" (by estimate {faster.ms:.3g} ms instead of {before.latency.ms:.3g}, at best)")

    def _outgrown(self, stored: int) -> list[str]:
        """Budgets of bytes that a pass has kept and the file does not, as passes behind it have added to it."""
        share = stored / self.before
        limits = [(entry.name, entry.bytes) for entry in self.setup.passes if isinstance(entry, BudgetedPass)]
        return [OUTGROWN.format(limit, name, share) for name, limit in limits if limit is not None and share > limit]

    def _absent(self, original: gs.Graph) -> list[str]:
        """Operators with a plug-in that no node has, before or after."""
        graphs = (original, self.setup.source.graph)
        known = {
            node.op for graph in graphs for part in (graph, *graph.subgraphs(recursive=True)) for node in part.nodes
        }
        return [ABSENT.format(name) for name in self.ctx.options.plugin_operators if name not in known]

    def _events(self) -> Iterator[str]:
        """A sentence for each pass that was asked for and did nothing."""
        yield from (unchanged(pass_report(record, self.ctx.origins)) for record in self._asked() if record.idle)

    def _asked(self) -> list[PassRecord]:
        """The records of the passes that the user asked for."""
        first, count = self.setup.prepared, len(self.setup.passes)
        return [record for record in self.records if first < record.position <= first + count]

    def _target(self) -> TargetReport:
        target = self.ctx.target
        return TargetReport(name=target.name, description=target.description, command=self._command())

    def _command(self) -> str:
        """How the written model is compiled on the device."""
        cached, output = CALIBRATION in self.ctx.state.sidecars, self.ctx.options.output
        name = Path(output or f"{TEMPLATE}.onnx")
        return command_line(
            self.ctx.target,
            self.setup.source.graph,
            str(name) if output else TEMPLATE,
            calibration=str(name.with_suffix(CALIBRATION)) if cached else None,
            shapes={**self._ranges(), **parse_ranges(self.ctx.options.shapes)},
            sample=self.ctx.sample_shapes(),
        )

    def _ranges(self) -> dict[str, Range]:
        return {} if self.ctx.data is None else sample_ranges(self.ctx.data)

    def _costed(self, graph: gs.Graph, in_int8: bool, shapes: Shapes | None = None) -> Costed:
        shapes, latency, unknown = network_shapes(graph, self.ctx) if shapes is None else shapes, None, ""
        try:
            if self.ctx.target.device is not None and not declared(graph):  # nobody has timed the project's operator
                latency = estimate(
                    graph, shapes, self.ctx.target, self.ctx.options.power_mode, "int8" if in_int8 else "auto"
                )
            require_macs(graph, shapes)
        except UnknownShape as error:
            unknown = error.what
        batch = next((shapes[tensor.name][0] for tensor in graph.inputs if shapes.get(tensor.name)), 1)
        return Costed(graph, shapes, dict(conv_costs(graph, shapes)), latency, unknown, batch)

    def _size(self, costed: Costed, stored: int) -> SizeReport:
        found, latency = costed.latency, None
        if found is not None:
            latency = LatencyReport(
                ms=found.ms,
                batch=costed.batch,
                error=found.error,
                mode=self.ctx.options.power_mode,
                kernels=len(found.kernels),
            )
        costs = costed.convs.values()
        macs, params = total(cost.macs for cost in costs), sum(cost.params for cost in costs)
        return SizeReport(macs=macs, params=params, bytes=stored, latency=latency)


def _data_report(data: Samples) -> DataReport:
    preprocess = None if data.preprocess is None else str(data.preprocess)
    return DataReport(source=data.description, samples=data.samples, sha256=data.digest, preprocess=preprocess)
