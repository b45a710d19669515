"""What every run begins with: options are checked, passes parsed, model and samples loaded, and put into a context."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import onnx

from ..compiler.costs.latency import DEVICES
from ..compiler.errors import CompressError, UsageError, check_type
from ..compiler.files import Place, check_folder, check_places
from ..compiler.graph.comparable import mark
from ..compiler.graph.convs import find_convs, is_conv, unsupported_convs
from ..compiler.graph.io import Model, from_proto, load, stored_size
from ..compiler.graph.opset import OLDEST, raise_opset
from ..compiler.graph.quantization.quantizable import is_layer
from ..compiler.graph.shapes import infer_shapes
from ..compiler.graph.validate import validate
from ..compiler.graph.weightless import graph_bytes
from ..compiler.jobs import Jobs
from ..compiler.pipeline.base import Pass
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.data import Data
from ..compiler.pipeline.instruments import Instrument
from ..compiler.pipeline.options import PathLike, RunOptions
from ..compiler.pipeline.overrides import OPTION, check_matches, check_pattern, parse_override
from ..compiler.pipeline.progress import Progress
from ..compiler.pipeline.registry import find, load_plugins
from ..compiler.pipeline.spec import format_pipeline, parse_pipeline
from ..compiler.targets import Target, find_target
from ..compiler.targets.profiles import open_inputs, parse_ranges
from ..runtime.data import Samples, load_samples
from ..runtime.loading import check_loads
from ..runtime.memory import memory_budget, parse_bytes
from ..runtime.quality.judge import AUTO, CHOICES, judge_of_run
from ..runtime.quality.own_metric import own_metric
from ..runtime.shapes import largest_shapes
from ..runtime.subsets import ChosenSamples, held_out
from .order import check_order
from .paths import read_by, read_by_passes

PREPARE = ("cleanup", "fold-batchnorm", "cleanup")
FINISH = ("legalize",)
RAISED = 13
"""What an opset before `OLDEST` is raised to: all targets read it, and it has scales per channel."""
ModelLike = PathLike | onnx.ModelProto
Pipeline = str | Sequence[Pass]
PASSES = "give text, or a list of passes"
Writes = Callable[[Model, Sequence[Pass], RunOptions], Iterable[Place]]


@dataclass(frozen=True)
class Setup:
    """A run that can begin.

    Attributes:
        source: the model; runs edit its graph.
        given: the model as the caller gave it.
        passes: what the user asked for.
        ctx: with options, overrides and samples.
        samples: those of `ctx.data`, as they were loaded.
        notes: what was done to the model before any pass.
    """

    source: Model
    given: ModelLike
    passes: list[Pass]
    ctx: Context
    samples: Samples | None
    notes: tuple[str, ...] = ()

    @property
    def options(self) -> RunOptions:
        return self.ctx.options

    @property
    def spelled(self) -> str:
        """The pipeline, as it is typed."""
        return format_pipeline(self.passes)

    @property
    def prepared(self) -> int:
        """How many passes run before those that the user asked for."""
        return len(PREPARE) if self.options.prepare else 0

    def pipeline(self) -> list[Pass]:
        """The user's passes between those that always run."""
        finish = FINISH if self.options.legalize else ()
        return [*instances(PREPARE[: self.prepared]), *self.passes, *instances(finish)]


def set_up(
    model: ModelLike,
    pipeline: Pipeline,
    options: RunOptions,
    progress: Progress,
    writes: Writes,
    reads: Sequence[Place] = (),
) -> Setup:
    """Load and check all that a run needs, before any pass runs.

    Args:
        writes: the files that the run will write; see `drivers.paths`.
        reads: files that it reads beside those that the model, the passes and the options name.

    Raises:
        UsageError: an option, a pass or a path is not valid.
        CompressError: the model or the data cannot be used.
    """
    load_plugins(options.plugins)
    if not callable(progress):
        raise UsageError(f"is of type {type(progress).__name__}", "progress", "give a function, or leave it out")
    with progress("reading", 1) as advance:
        setup = _read(model, pipeline, options, progress, writes, reads)
        advance()
    return setup


def _read(
    model: ModelLike,
    pipeline: Pipeline,
    options: RunOptions,
    progress: Progress,
    writes: Writes,
    reads: Sequence[Place],
) -> Setup:
    passes = _passes(pipeline)
    _check(options, passes)
    source = load_model(model)
    notes = _raised(source)
    read = [*read_by(source, passes, options), *reads]
    check_places(read, list(writes(source, passes, options)), options.overwrite)
    ctx = Context(options, jobs=Jobs(options.jobs, options.cluster), progress=progress)
    whole = stored_size(source)
    ctx.original_bytes, ctx.envelope_bytes = source.stored or whole, whole - graph_bytes(source.graph)
    _select(source, ctx, passes)
    check_order(source, passes, ctx)
    samples = None if options.data is None else _bounded(source, ctx, samples_of(source, options))
    if samples is not None:
        _check_random(source)
        ctx.data, ctx.judging = held_out(samples)
        ctx.training = _training(source, options, passes, samples)
    ctx.metric = own_metric(options.metric, CHOICES)
    if options.metric != AUTO and judge_of_run(source.graph, ctx) is None:
        raise UsageError(f"{options.metric} needs samples", "--metric", "give --data, or leave it out")
    return Setup(source, model, passes, ctx, samples, notes)


def _passes(pipeline: Pipeline) -> list[Pass]:
    if isinstance(pipeline, str):
        return parse_pipeline(pipeline)
    check_type(pipeline, Sequence, "pipeline", PASSES)
    for entry in pipeline:
        check_type(entry, Pass, "pipeline: an entry", PASSES)
    return list(pipeline)


def _training(source: Model, options: RunOptions, passes: Sequence[Pass], samples: Samples) -> Data | None:
    """The samples that a pass trains on: more of the same, without those that no fit is to see."""
    wanted = max((entry.trains_on() for entry in passes), default=0)
    if not wanted:
        return None
    every, (_, judging) = samples_of(source, replace(options, samples=wanted)), held_out(samples)
    if judging is None:
        return every
    return ChosenSamples(every, np.setdiff1d(np.arange(every.samples), judging.rows()))


def instances(names: Sequence[str]) -> list[Pass]:
    """A pass of each name, with its defaults."""
    return [find(name)() for name in names]


def samples_of(source: Model, options: RunOptions) -> Samples:
    """The calibration samples that the options name, checked against the model."""
    return load_samples(source.graph, options.data, options.preprocess, options.samples, options.labels)


def load_model(model: ModelLike) -> Model:
    """A model with Convs that is whole; `CompressError` for anything else."""
    check_type(model, (str, os.PathLike, onnx.ModelProto), "model", "give an .onnx file, or an onnx.ModelProto")
    source = from_proto(model) if isinstance(model, onnx.ModelProto) else load(model)
    if not any(is_conv(node) for node in source.graph.nodes):
        inside = next(unsupported_convs(source.graph), None)
        what = "the model has no Conv" if inside is None else f"the model has no Conv but those {inside[1]}"
        raise CompressError(what, _place(source), "give a convolutional network")
    check_model(source)
    return source


def _raised(source: Model) -> tuple[str, ...]:
    """A sentence where the opset was too old for any engine and is now raised; `CompressError` if it cannot be."""
    before = source.graph.opset
    if before >= OLDEST:
        return ()
    refusal = raise_opset(source.graph, RAISED)
    if refusal is not None:
        raise CompressError(refusal, _place(source), f"export the network again, at opset {RAISED}")
    check_model(source)
    return (f"opset {before}, which no engine supports, was raised to {RAISED}",)


def check_model(model: Model) -> None:
    """`CompressError`, naming the node, for a model that is not whole, or that onnxruntime finds invalid."""
    validate(model)
    check_loads(model)


class Baseline(Instrument):
    """Makes the model that leaves the preparing passes the one that budgets and fits refer to.

    Raises:
        CompressError: no Conv of it has a constant weight.
    """

    def __init__(self, prepared: int):
        self._first = prepared + 1

    def before(self, position: int, entry: Pass, model: Model, ctx: Context) -> None:
        if position != self._first:
            return
        if not any(find_convs(model.graph)):
            for name, reason in unsupported_convs(model.graph):
                what = f"no Conv has a constant weight; of '{name}': {reason}"
                raise CompressError(what, _place(model), "store the weights as initializers")
            raise CompressError("no output depends on a Conv", _place(model), "export the network with its outputs")
        ctx.original = ctx.before


def _check(options: RunOptions, passes: Sequence[Pass]) -> None:
    """`UsageError` for a target, a power mode, an amount of memory or a pattern that cannot be."""
    check_pattern("--include", options.include)
    check_pattern("--exclude", options.exclude)
    target = find_target(options.target)
    for mode in (options.power_mode, *(getattr(entry, "power", None) for entry in passes)):
        if mode is not None:
            _check_mode(target, mode)
    for place in read_by_passes(passes):
        if not place.path.is_file():
            raise UsageError("no such file", f"{place.word}, {place.path}", "`onnx-compress explain PASS` says which")
    if options.data is None:
        for name, given in (("--labels", options.labels), ("--preprocess", options.preprocess)):
            if given is not None:
                raise UsageError("nothing to apply it to", name, "give --data, or leave it out")
    if options.dump_dir is not None:
        check_folder(Path(options.dump_dir))
    if options.memory is not None:
        parse_bytes(str(options.memory))


def _check_mode(target: Target, mode: str) -> None:
    if target.device is not None:
        DEVICES[target.device].mode(mode)
    elif mode != RunOptions.power_mode:
        raise UsageError(f"the target '{target.name}' has no power modes", f"power mode '{mode}'", "leave it out")


def _select(source: Model, ctx: Context, passes: Sequence[Pass]) -> None:
    """Check that every pattern matches a node and every shape an input, and put the overrides into the context."""
    open_inputs(source.graph, parse_ranges(ctx.options.shapes))
    names = [node.name for node in source.graph.nodes]
    check_matches("--include", ctx.options.include, names)
    check_matches("--exclude", ctx.options.exclude, names)
    ctx.overrides = tuple(parse_override(text, passes) for text in ctx.options.overrides)
    layers = [node.name for node in source.graph.nodes if is_layer(node)]
    for entry in ctx.overrides:
        check_matches(OPTION, entry.pattern, layers)


def _bounded(source: Model, ctx: Context, data: Samples) -> Samples:
    """The samples, which take what is left of the memory that the run may have."""
    memory = ctx.options.memory
    if memory is None:
        return data
    shapes = infer_shapes(source.graph, largest_shapes(data))
    left = memory_budget(source.graph, shapes, parse_bytes(str(memory)))
    ctx.activation_bytes = left.activations
    return replace(data, largest_batch=left.batch)


def _check_random(source: Model) -> None:
    """`CompressError` for a layer that reads random numbers: what is fitted to one run is wrong for the next."""
    drawn = mark(source.graph).drawn
    for node in source.graph.nodes:
        if is_layer(node) and node.inputs[0].name in drawn:
            raise CompressError(
                "its input depends on random numbers, so that no two runs can be compared",
                f"node '{node.name}'",
                "feed the numbers as an input of the network, or compress without --data",
            )


def _place(model: Model) -> str:
    return str(model.path or "model")
