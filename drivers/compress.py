"""The main job: the passes run over a model, and the model and its report are written."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import onnx
import onnx_graphsurgeon as gs

from ..compiler.errors import CompressError
from ..compiler.files import Place, check_places, staged, writing
from ..compiler.graph.io import Model, digest, save, stored_size, to_proto
from ..compiler.pipeline.base import PassRecord
from ..compiler.pipeline.checkpoints import Checkpoints, step_keys
from ..compiler.pipeline.commands import python_call
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.instruments import Instrument, Lint, Timing
from ..compiler.pipeline.manager import PassManager
from ..compiler.pipeline.measurements import Measurements
from ..compiler.pipeline.options import PathLike, RunOptions
from ..compiler.pipeline.progress import Progress
from ..compiler.pipeline.reproduction import Reproduction, versions
from ..compiler.report import Report
from ..compiler.report.page import overview, written_as
from ..compiler.report.sizes import summed_up
from ..runtime.engine_check import EngineCheck
from ..runtime.memory import rare_collections
from ..runtime.quality.after_passes import JudgeAfterPasses
from ..runtime.quality.own_metric import metric_source
from ..runtime.time_after_passes import TimeAfterPasses
from ..runtime.verify import Verify
from .paths import MODEL, model_places, written_by
from .reporting import FinishedRun
from .setup import Baseline, ModelLike, Pipeline, Setup, set_up


@dataclass(repr=False)
class Compressed:
    """What came out.

    Attributes:
        model: the compressed graph, in the envelope of the input model.
        records: what each pass did, in order.
        report: the same and more, as plain values; see `compiler.report`.
        sidecars: files that belong beside the model, suffix -> text (`.calib`: a calibration cache).
    """

    model: Model
    records: list[PassRecord]
    report: Report
    sidecars: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def graph(self) -> gs.Graph:
        return self.model.graph

    @property
    def proto(self) -> onnx.ModelProto:
        return to_proto(self.model)

    def __repr__(self) -> str:
        """What came out, in a line."""
        return f"Compressed({summed_up(self.report)})"

    def _repr_html_(self) -> str:
        """Sizes before and after; notebooks show it."""
        return overview(self.report)

    def one_file(self) -> bytes:
        """The model with all its weights, as it would be written.

        Raises:
            CompressError: it does not go into one file: it has sidecars, or more than 2 GB.
        """
        if self.sidecars:
            what = f"the model comes with another file ({', '.join(self.sidecars)})"
            raise CompressError(what, "-o -", "give the name of a file")
        try:
            return self.proto.SerializeToString(deterministic=True)
        except ValueError as error:
            raise CompressError("the model has more than 2 GB", "-o -", "give the name of a file") from error

    def save(self, path: PathLike, overwrite: bool = False) -> int:
        """Write the model, and its sidecars beside it, by atomic rename; the bytes of the model and its external data.

        Raises:
            CompressError: a file exists and may not be overwritten, or cannot be written.
        """
        path = Path(path)
        beside = {path.with_suffix(suffix): text for suffix, text in self.sidecars.items()}
        written = [Place(f"its {file.suffix} file", file) for file in beside]
        new = Place("the new model", path, replaces=MODEL)
        check_places(model_places(self.model), [new, *written], overwrite)
        with ExitStack() as stack:
            for file, text in beside.items():
                stack.enter_context(writing(file))
                stack.enter_context(staged(file)).write_text(text, encoding="utf-8")
            stack.enter_context(writing(path))
            return save(self.model, path)


@rare_collections()
def compress(
    model: ModelLike,
    pipeline: Pipeline,
    options: RunOptions,
    progress: Progress,
    command: str | None,
    reads: Sequence[Place] = (),
    measurements: Measurements | None = None,
) -> Compressed:
    """See `api.compress`.

    Args:
        command: what the report names as the command that repeats the run.
        reads: files that decided the options.
        measurements: what other runs over the same model and samples share with this one.
    """
    setup = set_up(model, pipeline, options, progress, written_by, reads)
    setup.ctx.measurements = measurements
    before = setup.source.stored or stored_size(setup.source)
    repeats = command or python_call(setup.given, setup.spelled, options)
    judge, time = JudgeAfterPasses(at_once=options.dump_dir is not None), TimeAfterPasses()
    records = _run(setup, repeats, judge, time)
    with progress("report", 1) as advance:
        report = FinishedRun(setup, records, before, repeats, judge.verdict, time.shapes).report()
        advance()
    result = Compressed(setup.source, records, report, setup.ctx.state.sidecars)
    _write(result, options)
    return result


def _run(setup: Setup, command: str, judge: JudgeAfterPasses, time: TimeAfterPasses) -> list[PassRecord]:
    passes, options, ctx = setup.pipeline(), setup.options, setup.ctx
    folder = None if options.dump_dir is None else Path(options.dump_dir)
    verify = Verify()
    instruments: list[Instrument] = [
        Baseline(setup.prepared),
        Timing(),
        verify,
        time,
        judge,
        EngineCheck(len(passes), verify),
    ]
    if options.legalize:
        instruments.append(Lint(len(passes)))
    instruments.append(Reproduction(folder or Path(), command))
    if folder is None:
        return PassManager(passes, instruments, options.keep_going).run(setup.source, ctx)
    with writing(folder):
        kept = Checkpoints(folder, step_keys(passes, identity(setup.source, ctx)), setup.prepared)
        done = kept.restore(setup.source, ctx)
        return PassManager(passes, [*instruments, kept], options.keep_going).run(setup.source, ctx, done)


def identity(model: Model, ctx: Context) -> list[object]:
    """All that decides what comes out, but for the passes: model, samples, options, the user's metric, versions."""
    known = [data for data in (ctx.data, ctx.judging, ctx.training) if data is not None]
    rows = [(data.digest, data.largest_batch, None if data.labels is None else data.labels.tobytes()) for data in known]
    return [digest(model), rows, ctx.options.deciding(), metric_source(ctx.options.metric), versions()]


def _write(result: Compressed, options: RunOptions) -> None:
    """The model and the report: both appear, or neither."""
    if options.report is None:
        if options.output is not None:
            result.save(options.output, options.overwrite)
        return
    report = Path(options.report)
    with writing(report), staged(report) as part:
        part.write_text(written_as(report, result.report), encoding="utf-8", errors="backslashreplace")
        if options.output is not None:
            result.save(options.output, options.overwrite)
