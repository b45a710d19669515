"""`compress`: one call from an ONNX model to a smaller one, with a report.

result = compress("model.onnx", "basis:macs=0.5,quantize", data="photos.npz", preprocess="imagenet")
result.save("small.onnx")
print(result.report["after"]["macs"])
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from . import __version__
from .compiler.base import Pass, PassRecord
from .compiler.context import Context, Progress, silent
from .compiler.cost import graph_cost
from .compiler.errors import CompressError, UsageError
from .compiler.files import check_output, staged, writing
from .compiler.graph.convs import blind_convs, find_convs, is_conv
from .compiler.graph.external import graph_tensors, stored_bytes
from .compiler.graph.io import INLINE_LIMIT, Model, from_proto, load, save, to_proto
from .compiler.instruments import Dump, Instrument, Lint, Timing
from .compiler.manager import PassManager
from .compiler.registry import find, load_plugin
from .compiler.report import (
    SCHEMA,
    DataReport,
    QualityReport,
    Report,
    SizeReport,
    TargetReport,
    ToolReport,
    pass_report,
    to_json,
)
from .compiler.shapes import infer_shapes
from .compiler.spec import format_pipeline, parse_pipeline
from .compiler.targets import Target, find_target
from .compiler.targets.trtexec import TEMPLATE, command_line
from .runtime.data import Samples, class_count, load_data, model_inputs
from .runtime.evaluate import agreement
from .runtime.preprocess import parse_preprocess

PathLike = str | os.PathLike[str]
DEFAULT_PIPELINE = "basis,quantize"
DEFAULT_SAMPLES = 1024
PREPARE = ("cleanup", "fold-batchnorm", "cleanup")
FINISH = ("legalize",)
WITHOUT_DATA = (
    "without data the weights alone decide: a few hundred unlabelled inputs (--data) would buy factors fitted to them, "
    "INT8 activations and a measured agreement"
)


@dataclass
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

    def save(self, path: PathLike, overwrite: bool = False) -> int:
        """Write the model, and its sidecars beside it, by atomic rename; the bytes of the model, external data included.

        Raises:
            CompressError: a file exists and may not be overwritten, or cannot be written.
        """
        path = Path(path)
        beside = {path.with_suffix(suffix): text for suffix, text in self.sidecars.items()}
        for target in (path, *beside):
            check_output(target, overwrite)
        with ExitStack() as stack:
            for file, text in beside.items():
                stack.enter_context(writing(file))
                stack.enter_context(staged(file)).write_text(text, encoding="utf-8")
            stack.enter_context(writing(path))
            return save(self.model, path)


def compress(
    model: PathLike | onnx.ModelProto,
    pipeline: str | Sequence[Pass] = DEFAULT_PIPELINE,
    *,
    output: PathLike | None = None,
    target: str = "xavier",
    data: object = None,
    samples: int | None = DEFAULT_SAMPLES,
    labels: str | np.ndarray | None = None,
    preprocess: str | None = None,
    include: str | None = None,
    exclude: str | None = None,
    plugins: Sequence[str] = (),
    plugin_operators: Sequence[str] = (),
    prepare: bool = True,
    legalize: bool = True,
    report: PathLike | None = None,
    dump_dir: PathLike | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Compressed:
    """Run a pipeline over a model.

    Args:
        model: an ONNX file, or a loaded model.
        pipeline: pass names with options, or passes.
        output, report: files to write the model and the JSON report to; None writes nothing.
        data: calibration samples, see `runtime.sources`; None compresses from the weights alone.
        samples: how many of them are used; None takes all.
        labels: classes of the samples, or the name of the array that holds them; for the report only.
        preprocess: preset or spec for uint8 images, see `runtime.preprocess`.
        include, exclude: regular expressions over node names; exclude wins.
        plugins: Python files or modules that register passes.
        plugin_operators: operators that the engine has plug-ins for.
        prepare: first fold constants and BatchNormalization, which leaves the outputs as they are.
        legalize: last write the model as the target's engine reads it, and refuse one that it cannot take.
        dump_dir: folder for the model after each pass.
        overwrite: replace existing files.

    Raises:
        UsageError: an option, a pass or a path that cannot be.
        CompressError: the model or the data cannot be used, or a pass failed.
    """
    for path in (output, report):
        if path is not None:
            check_output(Path(path), overwrite)
    passes = _passes(pipeline, plugins)
    _check_pattern("--include", include)
    _check_pattern("--exclude", exclude)
    ctx = Context(
        find_target(target), None, include, exclude, seed, progress, plugin_operators=frozenset(plugin_operators)
    )
    source = _load(model)
    ctx.data = None if data is None else load_samples(source.graph, data, preprocess, samples, labels)
    before = _memory_bytes(source) if source.path is None else _file_bytes(source.path)
    plan = Plan(PREPARE if prepare else (), passes, FINISH if legalize else ())
    records = _run(source, plan, ctx, None if dump_dir is None else Path(dump_dir))
    content = _report(source, passes, records, ctx, before, None if output is None else str(output))
    result = Compressed(source, records, content, ctx.sidecars)
    _write(result, output, report, overwrite)
    return result


def load_samples(
    graph: gs.Graph,
    data: object,
    preprocess: str | None = None,
    samples: int | None = None,
    labels: str | np.ndarray | None = None,
) -> Samples:
    """Data for a model, checked against its inputs and classes; see `runtime.data`."""
    chosen = None if preprocess is None else parse_preprocess(preprocess)
    return load_data(data, model_inputs(graph), chosen, samples, labels, class_count(graph))


def _file_bytes(path: Path) -> int:
    """The bytes of a model on disk, external data included."""
    proto = onnx.load(path, load_external_data=False)
    entries = [entry for tensor in graph_tensors(proto.graph) for entry in tensor.external_data]
    files = {path.parent / entry.value for entry in entries if entry.key == "location"}
    return path.stat().st_size + sum(file.stat().st_size for file in files)


def _memory_bytes(model: Model) -> int:
    """What the model takes in a file, before it is written."""
    proto = to_proto(model)
    held = stored_bytes(proto)
    return held if held > INLINE_LIMIT else proto.ByteSize()


@dataclass(frozen=True)
class Plan:
    """The user's passes between those that always run: names of the first and of the last."""

    first: Sequence[str]
    chosen: Sequence[Pass]
    last: Sequence[str]

    def passes(self) -> list[Pass]:
        return [*(find(name)() for name in self.first), *self.chosen, *(find(name)() for name in self.last)]


class _Baseline(Instrument):
    """Makes the model that leaves the preparing passes the one that budgets and fits refer to.

    Raises:
        CompressError: no Conv of it has a constant weight.
    """

    def __init__(self, position: int):
        self._position = position

    def before(self, position: int, entry: Pass, model: Model, ctx: Context) -> None:
        if position != self._position:
            return
        if not any(find_convs(model.graph)):
            name, reason = next(blind_convs(model.graph))
            raise CompressError(
                f"no Conv has a constant weight; of '{name}': {reason}", _place(model), "store the weights as initializers"
            )
        ctx.original = model.graph.copy()


def _passes(pipeline: str | Sequence[Pass], plugins: Sequence[str]) -> list[Pass]:
    for plugin in plugins:
        load_plugin(plugin)
    return parse_pipeline(pipeline) if isinstance(pipeline, str) else list(pipeline)


def _check_pattern(option: str, pattern: str | None) -> None:
    try:
        re.compile(pattern or "")
    except re.error as error:
        raise UsageError(f"'{pattern}' is not a regular expression: {error}", option, "escape it with \\") from error


def _load(model: PathLike | onnx.ModelProto) -> Model:
    source = from_proto(model) if isinstance(model, onnx.ModelProto) else load(model)
    if not any(is_conv(node) for node in source.graph.nodes):
        inside = next(blind_convs(source.graph), None)
        what = "the model has no Conv" if inside is None else f"the model has no Conv but those {inside[1]}"
        raise CompressError(what, _place(source), "give a convolutional network")
    return source


def _place(model: Model) -> str:
    return str(model.path or "model")


def _run(model: Model, plan: Plan, ctx: Context, dump_dir: Path | None) -> list[PassRecord]:
    from .runtime.verify import Verify

    passes = plan.passes()
    instruments: list[Instrument] = [_Baseline(len(plan.first) + 1), Timing(), Verify()]
    if plan.last:
        instruments.append(Lint(len(passes)))
    with ExitStack() as stack:
        if dump_dir is not None:
            stack.enter_context(writing(dump_dir))
            instruments.append(Dump(dump_dir))
        return PassManager(passes, instruments).run(model, ctx)


def _report(
    model: Model, passes: Sequence[Pass], records: Sequence[PassRecord], ctx: Context, before: int, output: str | None
) -> Report:
    target, data, original = ctx.target, ctx.data, ctx.original or model.graph
    samples = data if isinstance(data, Samples) else None
    return Report(
        schema=SCHEMA,
        tool=ToolReport(name="onnx-compress", version=__version__),
        model=None if model.path is None else str(model.path),
        output=output,
        target=TargetReport(
            name=target.name, description=target.description, command=_command(target, model.graph, ctx, output)
        ),
        pipeline=format_pipeline(passes),
        seed=ctx.seed,
        data=None if samples is None else _data_report(samples),
        before=_size(original, samples, before),
        after=_size(model.graph, samples, _memory_bytes(model)),
        quality=None if samples is None else _quality(original, model.graph, samples, ctx.progress),
        passes=[pass_report(record, ctx.origins) for record in records],
        notes=[WITHOUT_DATA] if samples is None else list(samples.notes),
    )


def _command(target: Target, graph: gs.Graph, ctx: Context, output: str | None) -> str:
    """How the written model is compiled on the device."""
    name = Path(output or f"{TEMPLATE}.onnx")
    calibration = str(name.with_suffix(".calib")) if ".calib" in ctx.sidecars else None
    model = str(name) if output else TEMPLATE
    return command_line(target, graph, model, calibration=calibration, sample=ctx.sample_shapes())


def _data_report(data: Samples) -> DataReport:
    preprocess = None if data.preprocess is None else str(data.preprocess)
    return DataReport(source=data.description, samples=data.samples, sha256=data.digest, preprocess=preprocess)


def _size(graph: gs.Graph, data: Samples | None, stored: int) -> SizeReport:
    sample = None if data is None else {name: value.shape for name, value in next(iter(data.batches(1))).items()}
    cost = graph_cost(graph, infer_shapes(graph, sample))
    return SizeReport(macs=cost.macs, params=cost.params, bytes=stored)


def _quality(original: gs.Graph, compressed: gs.Graph, data: Samples, progress: Progress) -> QualityReport:
    with progress("compare", 1) as advance:
        alike = agreement(original, compressed, data, labels=data.labels)
        advance()
    before, after = alike.correct or (None, None)
    return QualityReport(
        samples=alike.samples,
        agreement=alike.top1,
        output_error=alike.error,
        top1_before=before,
        top1_after=after,
    )


def _write(result: Compressed, output: PathLike | None, report: PathLike | None, overwrite: bool) -> None:
    """The model and the report: both appear, or neither."""
    if report is None:
        if output is not None:
            result.save(output, overwrite)
        return
    with writing(Path(report)), staged(Path(report)) as part:
        part.write_text(to_json(result.report), encoding="utf-8")
        if output is not None:
            result.save(output, overwrite)
