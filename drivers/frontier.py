"""A frontier point by point: what is done is kept, and what is missing is swept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from ..compiler.errors import CompressError
from ..compiler.files import staged, writing
from ..compiler.pipeline.context import Context, Data
from ..compiler.pipeline.spec import format_pipeline
from ..compiler.report.frontier import SCHEMA, Frontier, to_csv, to_json, to_svg
from ..runtime.data import Samples
from ..runtime.result_cache import ResultCache, cache_folder
from ..runtime.subsets import Half
from .sweep import EvaluationData, FrontierSweep, points


def split(data: Samples, judged: Samples | None) -> tuple[Data, EvaluationData]:
    """Samples to fit on, and those to judge on: other ones, or every second block."""
    if judged is not None:
        return data, EvaluationData(judged, judged.labels)
    fitting, held = Half(data), Half(data, odd=True)
    if not held.samples:
        raise CompressError(f"{data.samples} samples cannot be split", data.description, "give more, or --eval-data")
    return fitting, EvaluationData(held, None if data.labels is None else data.labels[held.rows()])


def resumed(
    sweep: FrontierSweep, shares: Sequence[float], ctx: Context, key: Sequence[object], model: str | None
) -> Frontier:
    """All points; those that an earlier run stored under the same network, passes and `key` are not computed again."""
    text = json.dumps([format_pipeline(sweep.passes), *key], default=str).encode()
    file = hashlib.sha256(sweep.network + b"\n" + text).hexdigest()
    store = ResultCache(cache_folder() / "frontier")
    missing = [share for share in shares if str(share) not in store.known(file)]
    with ctx.progress("frontier", len(shares)) as advance:
        for _ in range(len(shares) - len(missing)):
            advance()
        for point in points(sweep, missing, ctx) if missing else ():
            store.add(file, str(point.get("share")), point)
            advance()
    return Frontier(
        schema=SCHEMA,
        model=model,
        method=format_pipeline(sweep.passes),
        budget=sweep.unit,
        target=sweep.target.name,
        latency="measured" if sweep.measured else "estimated",
        fitted_on=sweep.fitting.samples,
        judged_on=sweep.judge.data.samples,
        original=store.get(file, "original", sweep.original),
        points=[store.known(file)[str(share)] for share in shares],
    )


def beside(output: Path) -> list[Path]:
    """The files that a frontier is written to."""
    return [output, *(output.with_suffix(suffix) for suffix in (".csv", ".svg"))]


def write_frontier(found: Frontier, output: Path) -> None:
    """All of them appear, or none."""
    with ExitStack() as stack:
        for path, text in zip(beside(output), (to_json(found), to_csv(found), to_svg(found)), strict=True):
            stack.enter_context(writing(path))
            stack.enter_context(staged(path)).write_text(text, encoding="utf-8")
