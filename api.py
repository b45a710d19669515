"""`compress`: one call from an ONNX model to a smaller one, with a report.

result = compress("model.onnx", "basis:macs=0.5,quantize", data="photos.npz", preprocess="imagenet")
result.save("small.onnx")
print(result.report["after"]["macs"])
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from . import __version__
from .compiler.costs.latency import DEVICES
from .compiler.errors import CompressError, UsageError
from .compiler.files import check_output, staged, writing
from .compiler.graph.convs import find_convs, is_conv, unsupported_convs
from .compiler.graph.io import Model, digest, from_proto, load, save, stored_size, to_proto
from .compiler.graph.quantization.quantizable import is_layer
from .compiler.graph.shapes import infer_shapes
from .compiler.graph.validate import validate
from .compiler.jobs import Jobs
from .compiler.pipeline.base import Pass, PassRecord
from .compiler.pipeline.checkpoints import Checkpoints, step_keys
from .compiler.pipeline.context import Context, Progress, silent
from .compiler.pipeline.instruments import Instrument, Lint, Timing
from .compiler.pipeline.manager import PassManager
from .compiler.pipeline.overrides import OPTION, check_matches, check_pattern, parse_override
from .compiler.pipeline.registry import find, load_plugin
from .compiler.pipeline.reproduction import Reproduction, versions
from .compiler.pipeline.spec import parse_pipeline
from .compiler.report import Report
from .compiler.report.call import spelled_call
from .compiler.report.frontier import Frontier
from .compiler.report.page import overview, written_as
from .compiler.targets import Target, find_target
from .drivers.bisect import bisect as search
from .drivers.checks import parse_check
from .drivers.culprit import Culprit, write_culprit
from .drivers.frontier import beside, resumed, split, write_frontier
from .drivers.reporting import FinishedRun
from .drivers.sweep import FrontierSweep
from .runtime.data import Samples, class_count, load_data, model_inputs
from .runtime.preprocess import parse_preprocess

PathLike = str | os.PathLike[str]
DEFAULT_PIPELINE = "basis,quantize"
DEFAULT_SAMPLES = 1024
PREPARE = ("cleanup", "fold-batchnorm", "cleanup")
FINISH = ("legalize",)


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

    def _repr_html_(self) -> str:
        """Sizes before and after; notebooks show it."""
        return overview(self.report)

    def save(self, path: PathLike, overwrite: bool = False) -> int:
        """Write the model, and its sidecars beside it, by atomic rename; the bytes of the model and its external data.

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
    overrides: Sequence[str] = (),
    plugins: Sequence[str] = (),
    plugin_operators: Sequence[str] = (),
    prepare: bool = True,
    legalize: bool = True,
    report: PathLike | None = None,
    dump_dir: PathLike | None = None,
    keep_going: bool = False,
    power_mode: str = "MAXN",
    sensitivity_file: PathLike | None = None,
    jobs: int = 1,
    cluster: str | None = None,
    memory: int | str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = silent,
    command: str | None = None,
) -> Compressed:
    """Run a pipeline over a model.

    Args:
        model: an ONNX file, or a loaded model.
        pipeline: pass names with options, or passes.
        output, report: files to write the model and the report to (.html, or JSON); None writes nothing.
        data: calibration samples, see `runtime.sources`; None compresses from the weights alone.
        samples: how many of them are used; None takes all.
        labels: classes of the samples, or the name of the array that holds them; for the report only.
        preprocess: preset or spec for uint8 images, see `runtime.preprocess`.
        include, exclude: regular expressions over node names; exclude wins.
        overrides: options of single nodes, see `compiler.pipeline.overrides`: "layer4.*:basis.rank=64".
        plugins: Python files or modules that register passes.
        plugin_operators: operators that the engine has plug-ins for.
        prepare: first fold constants and BatchNormalization, which leaves the outputs as they are.
        legalize: last write the model as the target's engine reads it, and refuse one that it cannot take.
        dump_dir: folder for the model after each pass; the same run goes on behind the last pass that finished there.
        keep_going: a pass that fails is left out, and the next one goes on with the model from before it. What repeats
            a failure is written to `fail-NNN-PASS` in `dump_dir`, or in the working folder.
        sensitivity_file: table of what each Conv's error costs; measured and written where it is not there.
        power_mode: of the device, for the estimated latency: MAXN, 30W, 15W or 10W on a Xavier.
        jobs: processes that share work that can be split, -1: one per core; the result is the same.
        cluster: dask://host:port or ray://host:port, to share it with other machines.
        memory: bytes, or "2GB": how far the process may grow while it works on samples. More of them wait in temporary
            files, and fewer are worked on at once. Fine-tuning is not bounded by it.
        overwrite: replace existing files.
        command: what the report names as the command that repeats the run; this call, if None.

    Raises:
        UsageError: an option, a pass or a path that cannot be.
        CompressError: the model or the data cannot be used, or a pass failed.
    """
    command = command or spelled_call(compress, locals())
    for path in (output, report):
        if path is not None:
            check_output(Path(path), overwrite)
    passes = _passes(pipeline, plugins)
    engine = _engine(target, power_mode, include, exclude)
    ctx = Context(engine, None, include, exclude, seed, progress, plugin_operators=frozenset(plugin_operators))
    ctx.jobs = Jobs(jobs, cluster)
    ctx.sensitivity_file = None if sensitivity_file is None else str(sensitivity_file)
    source = _load(model)
    _scoped(source, ctx, overrides, passes)
    ctx.data = None if data is None else load_samples(source.graph, data, preprocess, samples, labels)
    if ctx.data is not None and memory is not None:
        _bound(source, ctx, ctx.data, memory)
    wanted = max(entry.trains_on() for entry in passes) if passes else 0
    if wanted and data is not None:
        ctx.training = load_samples(source.graph, data, preprocess, wanted, labels)
    before = source.stored or stored_size(source)
    plan = Plan(PREPARE if prepare else (), passes, FINISH if legalize else ())
    written = None if output is None else str(output)
    records = _run(source, plan, ctx, None if dump_dir is None else Path(dump_dir), keep_going)
    content = FinishedRun(source, passes, records, ctx, before, written, power_mode, __version__, command).report()
    result = Compressed(source, records, content, ctx.sidecars)
    _write(result, output, report, overwrite)
    return result


def frontier(
    model: PathLike | onnx.ModelProto,
    method: str | Sequence[Pass] = "basis",
    *,
    data: object,
    eval_data: object = None,
    budget: str = "macs",
    points: int = 8,
    low: float = 0.3,
    high: float = 0.9,
    output: PathLike | None = None,
    target: str = "xavier",
    samples: int | None = 2 * DEFAULT_SAMPLES,
    labels: str | np.ndarray | None = None,
    preprocess: str | None = None,
    include: str | None = None,
    exclude: str | None = None,
    overrides: Sequence[str] = (),
    plugins: Sequence[str] = (),
    power_mode: str = "MAXN",
    jobs: int = -1,
    cluster: str | None = None,
    seed: int = 0,
    overwrite: bool = False,
    progress: Progress = silent,
) -> Frontier:
    """How good a model is at several sizes; see `compress` for what is not said here.

    Every point is kept in the cache folder as soon as it is done, and not computed again for the same model, data and
    options: an interrupted run goes on where it stopped.

    Args:
        method: a pass without its budget, and passes that follow it at every point.
        eval_data: samples to judge on. Without them every second block of `data` is judged on and not fitted to.
        budget: what is varied: "macs" or "latency".
        points, low, high: so many shares, evenly from low to high.
        output: a file for the JSON; a table and a drawing, `.csv` and `.svg`, appear beside it.

    Raises:
        UsageError: an option, a pass or a path that cannot be.
        CompressError: the model or the data cannot be used, or a pass failed.
    """
    for path in () if output is None else beside(Path(output)):
        check_output(path, overwrite)
    passes = _passes(method, plugins)
    engine = _engine(target, power_mode, include, exclude)
    shares = _shares(points, low, high)
    source = _load(model)
    ctx = Context(engine, None, include, exclude, seed, progress, jobs=Jobs(jobs, cluster))
    _scoped(source, ctx, overrides, passes)
    PassManager([find(name)() for name in PREPARE]).run(source, Context(engine))
    known = load_samples(source.graph, data, preprocess, samples, labels)
    held = None if eval_data is None else load_samples(source.graph, eval_data, preprocess, None, labels)
    fitting, judge = split(known, held)
    scope = (include, exclude, seed)
    network = to_proto(source).SerializeToString(deterministic=True)
    sweep = FrontierSweep(network, tuple(passes), budget, engine, fitting, judge, scope, power_mode, ctx.overrides)
    key = [known.digest, held and held.digest, budget, target, *scope, list(overrides), power_mode, __version__]
    found = resumed(sweep, shares, ctx, key, None if source.path is None else str(source.path))
    if output is not None:
        write_frontier(found, Path(output))
    return found


def bisect(
    model: PathLike | onnx.ModelProto,
    pipeline: str | Sequence[Pass] = DEFAULT_PIPELINE,
    *,
    check: str,
    folder: PathLike = ".",
    target: str = "xavier",
    data: object = None,
    samples: int | None = DEFAULT_SAMPLES,
    labels: str | np.ndarray | None = None,
    preprocess: str | None = None,
    include: str | None = None,
    exclude: str | None = None,
    overrides: Sequence[str] = (),
    plugins: Sequence[str] = (),
    prepare: bool = True,
    legalize: bool = True,
    jobs: int = 1,
    seed: int = 0,
    progress: Progress = silent,
) -> tuple[Culprit, Path]:
    """Which pass, and which node that it rewrites, makes the model fail a check; see `drivers.bisect`, and
    `compress` for what is not said here.

    Args:
        check: see `drivers.checks`.
        folder: where the folder with the models before and after is written; its path is returned.

    Raises:
        UsageError: an option, a pass or a check that cannot be.
        CompressError: the model fails the check before any pass, or passes it after all; or a pass failed.
    """
    passes, engine, source = _passes(pipeline, plugins), _engine(target, "MAXN", include, exclude), _load(model)
    ctx = Context(engine, None, include, exclude, seed, progress, jobs=Jobs(jobs))
    _scoped(source, ctx, overrides, passes)
    found = None if data is None else load_samples(source.graph, data, preprocess, samples, labels)
    ctx.data = ctx.training = found
    whole = Plan(PREPARE if prepare else (), passes, FINISH if legalize else ())
    judge = parse_check(check, replace(source, graph=source.graph.copy()), found)
    culprit = search(source, whole.passes(), ctx, judge, [_Baseline(len(whole.first) + 1)])
    return culprit, write_culprit(culprit, source, whole.passes(), ctx, check, Path(folder))


def _shares(points: int, low: float, high: float) -> list[float]:
    if points < 1 or not 0 < low <= high <= 1:
        raise UsageError(f"{points} points from {low} to {high}", "frontier", "--points 8 --low 0.3 --high 0.9")
    return [round(float(share), 4) for share in np.linspace(low, high, points)]


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
            for name, reason in unsupported_convs(model.graph):
                what = f"no Conv has a constant weight; of '{name}': {reason}"
                raise CompressError(what, _place(model), "store the weights as initializers")
            raise CompressError("no output depends on a Conv", _place(model), "export the network with its outputs")
        ctx.original = ctx.before


def _passes(pipeline: str | Sequence[Pass], plugins: Sequence[str]) -> list[Pass]:
    for plugin in plugins:
        load_plugin(plugin)
    return parse_pipeline(pipeline) if isinstance(pipeline, str) else list(pipeline)


def _engine(target: str, power_mode: str, include: str | None, exclude: str | None) -> Target:
    """The target; `UsageError` for a target, a mode or a pattern that cannot be, before any work is done."""
    check_pattern("--include", include)
    check_pattern("--exclude", exclude)
    engine = find_target(target)
    if engine.device is not None:
        DEVICES[engine.device].mode(power_mode)
    return engine


def _names(model: Model) -> list[str]:
    return [node.name for node in model.graph.nodes]


def _scoped(model: Model, ctx: Context, overrides: Sequence[str], passes: Sequence[Pass]) -> None:
    """Check that every pattern matches a node, and put the overrides into the context."""
    check_matches("--include", ctx.include, _names(model))
    check_matches("--exclude", ctx.exclude, _names(model))
    ctx.overrides = tuple(parse_override(text, passes) for text in overrides)
    layers = [node.name for node in model.graph.nodes if is_layer(node)]
    for entry in ctx.overrides:
        check_matches(OPTION, entry.pattern, layers)


def _bound(model: Model, ctx: Context, data: Samples, memory: int | str) -> None:
    """Let the samples take what is left of `memory`."""
    from .runtime.memory import memory_budget, parse_bytes

    shapes = infer_shapes(model.graph, ctx.sample_shapes())
    left = memory_budget(model.graph, shapes, parse_bytes(memory) if isinstance(memory, str) else memory)
    ctx.activations, ctx.data = left.activations, replace(data, most=left.batch)


def _load(model: PathLike | onnx.ModelProto) -> Model:
    source = from_proto(model) if isinstance(model, onnx.ModelProto) else load(model)
    if not any(is_conv(node) for node in source.graph.nodes):
        inside = next(unsupported_convs(source.graph), None)
        what = "the model has no Conv" if inside is None else f"the model has no Conv but those {inside[1]}"
        raise CompressError(what, _place(source), "give a convolutional network")
    validate(source)
    return source


def _place(model: Model) -> str:
    return str(model.path or "model")


def _run(model: Model, plan: Plan, ctx: Context, dump_dir: Path | None, keep_going: bool) -> list[PassRecord]:
    from .runtime.verify import Verify

    passes = plan.passes()
    instruments: list[Instrument] = [_Baseline(len(plan.first) + 1), Timing(), Verify()]
    if plan.last:
        instruments.append(Lint(len(passes)))
    instruments.append(Reproduction(dump_dir or Path()))
    if dump_dir is None:
        return PassManager(passes, instruments, keep_going).run(model, ctx)
    with writing(dump_dir):
        kept = Checkpoints(dump_dir, step_keys(passes, _identity(model, ctx)), len(plan.first))
        return PassManager(passes, [*instruments, kept], keep_going).run(model, ctx, kept.restore(model, ctx))


def _identity(model: Model, ctx: Context) -> list[object]:
    """All that decides what comes out, but for the passes."""
    samples = [data for data in (ctx.data, ctx.training) if isinstance(data, Samples)]
    rows = [(data.digest, data.most, None if data.labels is None else data.labels.tobytes()) for data in samples]
    scope = (ctx.include, ctx.exclude, ctx.seed, ctx.sensitivity_file, sorted(ctx.plugin_operators), ctx.overrides)
    return [digest(model), rows, ctx.target, scope, versions()]


def _write(result: Compressed, output: PathLike | None, report: PathLike | None, overwrite: bool) -> None:
    """The model and the report: both appear, or neither."""
    if report is None:
        if output is not None:
            result.save(output, overwrite)
        return
    with writing(Path(report)), staged(Path(report)) as part:
        part.write_text(written_as(Path(report), result.report), encoding="utf-8")
        if output is not None:
            result.save(output, overwrite)
