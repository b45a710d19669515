"""A frontier point by point: what is done is kept, and what is missing is swept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from numbers import Integral, Real
from pathlib import Path

import numpy as np

from ..compiler.errors import CompressError, UsageError, check_type
from ..compiler.files import staged, writing
from ..compiler.graph.io import to_proto
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.data import Data
from ..compiler.pipeline.ending import ending_precision
from ..compiler.pipeline.manager import PassManager
from ..compiler.pipeline.options import RunOptions
from ..compiler.pipeline.progress import Progress
from ..compiler.report.frontier import SCHEMA, Frontier, to_csv, to_json, to_svg
from ..compiler.versions import __version__
from ..runtime.data import Samples
from ..runtime.quality.own_metric import metric_source
from ..runtime.result_cache import ResultCache, cache_folder
from ..runtime.subsets import halves
from .paths import data_place, frontier_files, frontier_written
from .setup import PREPARE, ModelLike, Pipeline, Setup, instances, samples_of, set_up
from .sweep import FrontierSweep, points

MOST_POINTS = 1000


@dataclass(frozen=True)
class FrontierRequest:
    """What a frontier is asked for beside the options of a run; see `api.frontier`."""

    eval_data: object = None
    budget: str = "macs"
    points: int = 8
    low: float = 0.3
    high: float = 0.9

    def shares(self) -> list[float]:
        """`UsageError` for what the frontier is not asked for with."""
        for name, kind in {"budget": str, "points": Integral, "low": Real, "high": Real}.items():
            check_type(getattr(self, name), kind, name, f"such as {getattr(FrontierRequest, name)!r}")
        if not 1 <= self.points <= MOST_POINTS or not 0 < self.low <= self.high <= 1:
            what = f"{self.points} points from {self.low} to {self.high}"
            fix = f"1 to {MOST_POINTS} points, 0 < low <= high <= 1: --points 8 --low 0.3 --high 0.9"
            raise UsageError(what, "frontier", fix)
        return [round(float(share), 4) for share in np.linspace(self.low, self.high, self.points)]


def run_frontier(
    model: ModelLike, method: Pipeline, request: FrontierRequest, options: RunOptions, progress: Progress
) -> Frontier:
    """See `api.frontier`."""
    options.refuse_unused("frontier")
    shares = request.shares()
    reads = list(data_place("--eval-data", request.eval_data))
    setup = set_up(model, method, options, progress, frontier_written, reads)
    if setup.samples is None:
        raise UsageError("a frontier needs samples", "--data", "give some hundreds")
    held = _held_out(setup, request)
    sweep = _sweep(setup, setup.samples, held, request.budget)
    notes = [*_precision(sweep), *setup.notes, *setup.samples.notes, *(() if held is None else held.notes)]
    digests = [*(_digests(data) for data in (setup.samples, held) if data is not None), metric_source(options.metric)]
    key = [*digests, setup.spelled, request.budget, options.deciding(), __version__, SCHEMA]
    found = _resumed(sweep, setup, shares, key)
    found["notes"] = list(dict.fromkeys(notes))
    if options.output is not None:
        write_frontier(found, Path(options.output))
    return found


def _precision(sweep: FrontierSweep) -> list[str]:
    in_int8 = not sweep.measured and ending_precision(sweep.context()) == "int8"
    return ["shares of the latency are of what the network takes in INT8, in which all points end"] if in_int8 else []


def _digests(data: Data) -> list[str]:
    """Of the samples and of their labels."""
    return [data.digest, "" if data.labels is None else hashlib.sha256(data.labels.tobytes()).hexdigest()]


def _held_out(setup: Setup, request: FrontierRequest) -> Samples | None:
    """Samples that are judged on alone, where they are given."""
    asked = replace(setup.options, data=request.eval_data, samples=None)
    return None if request.eval_data is None else samples_of(setup.source, asked)


def _sweep(setup: Setup, data: Data, held: Data | None, unit: str) -> FrontierSweep:
    options = setup.options
    PassManager(instances(PREPARE)).run(setup.source, Context(options))
    fitting, judge = split(data, held)
    network = to_proto(setup.source).SerializeToString(deterministic=True)
    plain, ctx = replace(options, data=None, labels=None), setup.ctx
    passes = tuple(setup.passes)
    whole = None if ctx.metric is None else ctx.metric.original(setup.source.graph)
    return FrontierSweep(network, passes, unit, fitting, judge, plain, ctx.overrides, ctx.activation_bytes, whole)


def split(data: Data, judged: Data | None) -> tuple[Data, Data]:
    """Samples to fit on, and those to judge on: other ones, or every second block."""
    if judged is not None:
        return data, judged
    fitting, held = halves(data)
    if not held.samples:
        raise CompressError(f"{data.samples} samples cannot be split", data.description, "give more, or --eval-data")
    return fitting, held


def _resumed(sweep: FrontierSweep, setup: Setup, shares: Sequence[float], key: Sequence[object]) -> Frontier:
    """All points; those that an earlier run stored under the same network and `key` are not computed again."""
    text = json.dumps(key, default=str).encode()
    file = hashlib.sha256(sweep.network + b"\n" + text).hexdigest()
    cache, ctx, source = ResultCache(cache_folder() / "frontier"), setup.ctx, setup.source.path
    missing = [share for share in shares if str(share) not in cache.known(file)]
    with ctx.progress("frontier", len(shares)) as advance:
        for _ in range(len(shares) - len(missing)):
            advance()
        for point in points(sweep, missing, ctx) if missing else ():
            cache.add(file, str(point.get("share")), point)
            advance()
    metric, original = cache.get(file, "original", sweep.original)
    return Frontier(
        schema=SCHEMA,
        model=None if source is None else str(source),
        method=setup.spelled,
        budget=sweep.unit,
        target=setup.options.target,
        latency="measured" if sweep.measured else "estimated",
        fitted_on=sweep.fitting.samples,
        judged_on=sweep.judged.samples,
        metric=metric,
        original=original,
        points=[cache.known(file)[str(share)] for share in shares],
        notes=[],
    )


def write_frontier(found: Frontier, output: Path) -> None:
    """All of them appear, or none."""
    with ExitStack() as stack:
        for path, text in zip(frontier_files(output), (to_json(found), to_csv(found), to_svg(found)), strict=True):
            stack.enter_context(writing(path))
            stack.enter_context(staged(path)).write_text(text, encoding="utf-8", errors="backslashreplace")
