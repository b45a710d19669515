"""The report of a run: what `compiler.report` describes, measured and put together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx_graphsurgeon as gs

from ..compiler.costs.latency import estimate
from ..compiler.costs.network_cost import conv_costs
from ..compiler.graph.io import Model, stored_size
from ..compiler.graph.shapes import infer_shapes
from ..compiler.graph.storage.operators import declared
from ..compiler.pipeline.base import Pass, PassRecord
from ..compiler.pipeline.context import Context, Data, Progress
from ..compiler.pipeline.spec import format_pipeline
from ..compiler.report import (
    SCHEMA,
    DataReport,
    LatencyReport,
    QualityReport,
    Report,
    SizeReport,
    TargetReport,
    ToolReport,
    pass_report,
)
from ..compiler.targets.trtexec import TEMPLATE, command_line
from ..runtime.data import Samples, Slice, sample_bytes
from ..runtime.environment import environment, now
from ..runtime.evaluate import agreement
from .layer_costs import Costed, layer_reports

CALIBRATION = ".calib"
COMPARED = 2**26
WITHOUT_DATA = (
    "without data the weights alone decide: a few hundred unlabelled inputs (--data) would buy factors fitted to them, "
    "INT8 activations and a measured agreement"
)


@dataclass(frozen=True)
class FinishedRun:
    """A finished run.

    Attributes:
        model: the compressed model.
        passes, records: what the user asked for, and what was done.
        before: bytes of the model that came in.
        output: the file that the model goes to, if any.
        power_mode: of the device, for the estimated latency.
        version: of this tool.
        command: what repeats the run, if that is known.
    """

    model: Model
    passes: Sequence[Pass]
    records: Sequence[PassRecord]
    ctx: Context
    before: int
    output: str | None
    power_mode: str
    version: str
    command: str | None = None

    def report(self) -> Report:
        ctx, graph = self.ctx, self.model.graph
        samples = ctx.data if isinstance(ctx.data, Samples) else None
        original = ctx.original or graph
        before, after = self._costed(original, in_int8=False), self._costed(graph, in_int8=CALIBRATION in ctx.sidecars)
        return Report(
            schema=SCHEMA,
            tool=ToolReport(name="onnx-compress", version=self.version),
            created=now(),
            command=self.command,
            environment=environment(),
            model=None if self.model.path is None else str(self.model.path),
            output=self.output,
            target=self._target(),
            pipeline=format_pipeline(self.passes),
            seed=ctx.seed,
            data=None if samples is None else _data_report(samples),
            before=self._size(before, self.before),
            after=self._size(after, stored_size(self.model)),
            quality=None if samples is None else _quality(original, graph, samples, ctx.progress),
            layers=list(layer_reports(before, after, ctx.origins)),
            passes=[pass_report(record, ctx.origins) for record in self.records],
            origins={node.name: ctx.origins[node.name] for node in graph.nodes if node.name in ctx.origins},
            notes=[WITHOUT_DATA] if samples is None else list(samples.notes),
        )

    def _target(self) -> TargetReport:
        target = self.ctx.target
        return TargetReport(name=target.name, description=target.description, command=self._command())

    def _command(self) -> str:
        """How the written model is compiled on the device."""
        cached = CALIBRATION in self.ctx.sidecars
        name = Path(self.output or f"{TEMPLATE}.onnx")
        return command_line(
            self.ctx.target,
            self.model.graph,
            str(name) if self.output else TEMPLATE,
            calibration=str(name.with_suffix(CALIBRATION)) if cached else None,
            sample=self.ctx.sample_shapes(),
        )

    def _costed(self, graph: gs.Graph, in_int8: bool) -> Costed:
        shapes = infer_shapes(graph, self.ctx.sample_shapes())
        latency = None
        if self.ctx.target.device is not None and not declared(graph):  # nobody has timed the project's operator
            latency = estimate(graph, shapes, self.ctx.target, self.power_mode, "int8" if in_int8 else "auto")
        return Costed(graph, dict(conv_costs(graph, shapes)), latency)

    def _size(self, costed: Costed, stored: int) -> SizeReport:
        found, latency = costed.latency, None
        if found is not None:
            latency = LatencyReport(ms=found.ms, error=found.error, mode=self.power_mode, kernels=len(found.kernels))
        costs = costed.convs.values()
        macs, params = sum(cost.macs for cost in costs), sum(cost.params for cost in costs)
        return SizeReport(macs=macs, params=params, bytes=stored, latency=latency)


def _data_report(data: Samples) -> DataReport:
    preprocess = None if data.preprocess is None else str(data.preprocess)
    return DataReport(source=data.description, samples=data.samples, sha256=data.digest, preprocess=preprocess)


def _quality(original: gs.Graph, compressed: gs.Graph, data: Samples, progress: Progress) -> QualityReport:
    with progress("compare", 1) as advance:
        alike = agreement(original, compressed, _compared(data), labels=data.labels)
        advance()
    before, after = alike.correct or (None, None)
    return QualityReport(
        samples=alike.samples,
        agreement=alike.top1,
        output_error=alike.error,
        top1_before=before,
        top1_after=after,
    )


def _compared(data: Samples) -> Data:
    """All samples that have labels; of others as many as `COMPARED` holds, as the fit has seen them anyway."""
    if data.labels is not None:
        return data
    whole = data.fixed_batch or 1
    count = max(whole, COMPARED // max(1, sample_bytes(data)) // whole * whole)
    return Slice(data, 0, min(count, data.samples))
