"""A run as far as it is known before anything is fitted: what may become of every layer, and how long that takes.

Everything is checked as for a run. Passes that leave the outputs as they are do run, in memory; the others say what
they would do to each node (`Pass.outlook`) of the network as it is then. Nothing is written.

The time of the run is estimated from that of the original on a few samples:

    seconds = trials * (walks * samples * seconds per sample + each * layers)

where a pass may do something to a layer, with two numbers by pass (`EFFORTS`), fitted to runs of ResNets for CIFAR-10,
ResNet-50, VGG-16 and six networks for 224 to 416 pixels on two cores. They hold to a factor of two, and a search ends
after one trial to six.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from math import inf

import onnx_graphsurgeon as gs

from ..compiler.errors import CompressError
from ..compiler.graph.copies import copy_graph
from ..compiler.graph.io import Model
from ..compiler.pipeline.base import Decision, Pass
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.data import Data
from ..compiler.pipeline.milliseconds import Milliseconds
from ..compiler.pipeline.options import RunOptions
from ..compiler.pipeline.progress import Progress
from ..passes.budgets.budget import LIMITS, SEARCHED
from ..passes.budgets.budgeted_pass import BudgetedPass
from ..passes.finetuning.options import FinetuneOptions
from ..runtime.session import model_session
from ..runtime.time_after_passes import estimated_ms
from ..runtime.verify import first_feeds
from .paths import written_by
from .setup import ModelLike, Pipeline, set_up

TRIALS, OFF = 6, 2.0
TRAINED = 6.0
"""Runs of the original that a sample in a step of `finetune` takes: 5.4 for SqueezeNet, with the original's own."""
EFFORTS: Mapping[str, tuple[float, float]] = {
    "quantize": (1.1, 0.08),
    "basis": (4, 0.6),
    "sbf": (4, 0.75),
    "sparse-lowrank": (4, 1.4),
    "filter-summary": (4, 0.65),
    "codebook": (4, 0.55),
    "prune": (4, 0.35),
    "depth": (6, 0.35),
    "fast": (6, 0.35),
}
"""By pass: how often the samples go through a network, and processor seconds by layer, of one trial."""


@dataclass(frozen=True)
class PassOutlook:
    """What a pass would do: `nodes` by name; `budget`: how far it goes, where that is known."""

    spec: str
    nodes: Mapping[str, str]
    budget: str = ""


@dataclass(frozen=True)
class Outlook:
    """Of a run.

    Attributes:
        passes: in order.
        before, after: milliseconds of the network as it came in, and with every layer in the precision in which the
            pipeline ends, before any layer gets smaller or goes; None where they are not known.
        seconds: that the run takes, at least and at most; None without samples, or where a pass is not known.
    """

    passes: Sequence[PassOutlook]
    before: float | None
    after: float | None
    seconds: tuple[float, float] | None


def outlook(model: ModelLike, pipeline: Pipeline, options: RunOptions, progress: Progress) -> Outlook:
    """See the module docstring.

    Raises:
        UsageError: an option, a pass or a path is not valid.
        CompressError: the model or the data cannot be used.
    """
    setup = set_up(model, pipeline, options, progress, written_by)
    graph, ctx, passes = setup.source.graph, setup.ctx, setup.pipeline()
    each = None if ctx.data is None else _seconds_per_sample(setup.source, ctx.data)
    before, after, found = estimated_ms(graph, replace(ctx, following=[])), None, list[PassOutlook]()
    with progress("passes", len(passes)) as advance:
        for index, entry in enumerate(passes):
            ctx.running, ctx.following = entry.name, passes[index + 1 :]
            if index == setup.prepared:
                ctx.original, after = copy_graph(graph), estimated_ms(graph, replace(ctx, following=setup.passes))
            found.append(PassOutlook(str(entry), _nodes(entry, graph, ctx), _budget(entry, ctx)))
            advance()
    return Outlook(found, before, after, None if each is None else _seconds(passes, found, ctx, each))


def _nodes(entry: Pass, graph: gs.Graph, ctx: Context) -> Mapping[str, str]:
    if not entry.exact:
        return entry.outlook(graph, ctx)
    result = entry.run(graph, ctx)
    if result.changed:
        graph.cleanup(recurse_subgraphs=False, recurse_functions=False)
    return {decision.node: _worded(decision) for decision in result.decisions}


def _worded(decision: Decision) -> str:
    return f"{decision.action}: {decision.reason}" if decision.reason else decision.action


def _budget(entry: Pass, ctx: Context) -> str:
    """Of time in milliseconds, of quality as it is searched."""
    if not isinstance(entry, BudgetedPass) or ctx.original is None:
        return ""
    if isinstance(entry.latency, Milliseconds):
        return f"at most {entry.latency}"
    whole = estimated_ms(ctx.original, ctx)
    if entry.latency is not None and whole is not None:
        return f"at most {entry.latency * whole:.3g} ms, {entry.latency:g} of {whole:.3g}"
    asked = [
        f"{name.replace('_', '-')}={getattr(entry, name)}" for name in SEARCHED if getattr(entry, name) is not None
    ]
    return f"as far as {asked[0]} allows" if asked else ""


def _seconds(
    passes: Sequence[Pass], found: Sequence[PassOutlook], ctx: Context, each: float
) -> tuple[float, float] | None:
    """From the seconds `each` sample takes in the original."""
    least = most = 0.0
    for entry, told in zip(passes, found, strict=True):
        layers = sum(not text.startswith("skipped") for text in told.nodes.values())
        if entry.exact or not layers:
            continue
        span = _trained(entry, ctx, each) if isinstance(entry, FinetuneOptions) else _fitted(entry, ctx, each, layers)
        if span is None:
            return None
        least, most = least + span[0], most + span[1]
    return least, most


def _fitted(entry: Pass, ctx: Context, each: float, layers: int) -> tuple[float, float] | None:
    if entry.name not in EFFORTS or ctx.data is None:
        return None
    walks, by_layer = EFFORTS[entry.name]
    seconds = walks * ctx.data.samples * each + by_layer * layers
    return seconds / OFF, seconds * OFF * (TRIALS if _searches(entry) else 1)


def _trained(entry: FinetuneOptions, ctx: Context, each: float) -> tuple[float, float] | None:
    """Steps are counted, minutes are a limit."""
    if ctx.training is None:
        return None
    chosen, samples = entry.chosen(ctx.training.samples), ctx.training.samples
    limit = inf if chosen.minutes is None else 60 * chosen.minutes
    seen = limit if chosen.steps is chosen.epochs is None else chosen.seen(samples) * TRAINED * each
    return min(seen / OFF, limit), min(seen * OFF, limit)


def _searches(entry: Pass) -> bool:
    """Whether trials may be needed: no limit and no size is given."""
    sizes = (*LIMITS, *getattr(entry, "rules", ()))
    return isinstance(entry, BudgetedPass) and all(getattr(entry, name, None) is None for name in sizes)


def _seconds_per_sample(model: Model, data: Data) -> float | None:
    """On samples of the first batch, after one that warms up; None where onnxruntime cannot run the model."""
    feeds = next(first_feeds(data, 4))
    try:
        session = model_session(model, optimized=True)
        session.run(feeds)
        started = time.perf_counter()
        session.run(feeds)
    except CompressError:
        return None
    return (time.perf_counter() - started) / len(next(iter(feeds.values())))
