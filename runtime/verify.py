"""The verifier: after every pass, is the model whole, and how far are its outputs from those before the pass?

    relative_error = ||a - b|| / ||a||            a: outputs before the pass, b: after it; the largest over all outputs

1. The structure is always checked (`compiler.graph.check`), what a pass has changed by the ONNX checker, too. A model
   that fails that before any pass ran is noted, and then only held to the structural rules.
2. With data, the outputs for the first samples are compared (`compiler.graph.comparable` says what stands for an output
   that cannot be); the figures go into the record.
3. Without data, seeded random inputs are used, and only for exact passes.
4. An exact pass that moves an output by more than the tolerance fails, unless the model is as far from itself: where
   random operators draw anew, or the last bit of the inputs is enough (a text detector that sees no text: 0.3).
5. What onnxruntime cannot run, or a missing onnxruntime, is noted once.

Each model runs once, the outputs after a pass being those before the next; one that no pass changes does not run.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from math import prod, sqrt

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.errors import REPORT, CompressError, Fault, Unavailable
from ..compiler.graph.check import check_graph, check_structure
from ..compiler.graph.comparable import comparable_tensors
from ..compiler.graph.io import Model
from ..compiler.graph.shapes import input_shapes
from ..compiler.pipeline.base import Pass, PassRecord
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.data import Data, Feeds
from ..compiler.pipeline.instruments import Failure, Instrument
from .calibration import first_samples
from .memory import installed
from .quality.distances import in_pieces
from .session import Session, model_session

TOLERANCE, HALF_TOLERANCE = 1e-3, 2e-2
NOISE = 10
"""How many times as far as the last bit of the inputs an exact pass may move the outputs."""
BATCH, FEWEST, COMPARED = 8, 2, 2**22
NOT_RUN = f"the model did run before this pass: {REPORT}"
DRAWN = 8
"""Bytes of a random number."""
Outputs = Mapping[str, np.ndarray]


class Verify(Instrument):
    """Checks and compares after every pass; see the module docstring.

    Args:
        samples: how many calibration samples to compare on, fewer where they are large (`first_feeds`).
    """

    def __init__(self, samples: int = 32):
        self._samples = samples
        self._check = check_graph
        self._started = False
        self._runs = True
        self._exact = False
        self._before: Model | None = None
        self._outputs: Outputs | None = None
        self._notes: list[str] = []

    def before(self, position: int, entry: Pass, model: Model, ctx: Context) -> None:
        if not self._started:
            self._started = True
            self._check_original(model, ctx)
        self._exact = entry.exact
        compared = self._runs and (entry.exact or ctx.data is not None)
        known = compared and self._outputs is None and ctx.before is not None
        self._before = replace(model, graph=ctx.before) if known else None

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        where = f"pass {record.position} '{record.name}'"
        changed = record.result.changed
        try:
            (self._check if changed else check_structure)(model)
        except CompressError as error:
            raise self._blamed(error, f"{where}, {error.where}", ctx) from error
        before = self._outputs_before(ctx) if changed else None
        record.result.notes.extend(self._notes)
        self._notes.clear()
        if not changed:
            return
        self._outputs = None
        if before is None or (not self._exact and ctx.data is None):
            return
        try:
            self._outputs = named_like(before, self._run(model, ctx))
        except CompressError as error:
            raise error if isinstance(error, Unavailable) else Fault(error.what, where, NOT_RUN) from error
        record.figures.update(compare(before, self._outputs))
        error, limit = record.figures["relative_error"], tolerance(model.graph)
        if not self._exact or error <= limit:
            return
        noise = self._noise(model, ctx)
        if not error <= NOISE * noise:
            raise Fault(
                f"an exact pass moved the outputs by {error:.2g}, more than {limit:g}",
                where,
                f"leave it out: {REPORT}",
            )
        by_itself = f"another last bit of the inputs does by {noise:.2g}"
        record.result.notes.append(f"{record.name} moved the outputs by {error:.2g}, which says little: {by_itself}")

    def failed(self, failure: Failure, model: Model, ctx: Context) -> None:
        """The next pass starts from the model before this one, which is run again."""
        self._outputs = None

    def written(self, model: Model, ctx: Context) -> Outputs:
        """What the model as it is now is judged by, as it is written, samples joined; it runs if it has not yet.

        Raises:
            CompressError: onnxruntime cannot run it.
        """
        if self._outputs is None:
            self._outputs = self._run(model, ctx)
        return self._outputs

    def _check_original(self, model: Model, ctx: Context) -> None:
        try:
            check_graph(model)
        except CompressError as error:
            self._check, ctx.fault = check_structure, error.what
            self._notes.append(f"the model as it came in fails the ONNX checker ({error}); checking the structure only")

    def _blamed(self, error: CompressError, where: str, ctx: Context) -> CompressError:
        """Of a graph that is not whole: a fault of the model, where that did not run before the pass either."""
        try:
            if self._runs and self._before is not None:
                self._run(self._before, ctx)
        except CompressError as before:
            if not isinstance(before, Unavailable):
                fix = f"the model did not run before this pass either, export it again: {before.what}"
                return CompressError(error.what, where, fix)
        return Fault(error.what, where, error.fix)

    def _outputs_before(self, ctx: Context) -> Outputs | None:
        """Those of the model before the pass, which runs now if it has not yet; None where it cannot, or need not."""
        if self._outputs is not None or self._before is None:
            return self._outputs
        try:
            return self._run(self._before, ctx)
        except CompressError as error:
            self._runs = False
            self._notes.append(f"outputs are not compared: {error.what}")
            return None

    def _run(self, model: Model, ctx: Context) -> Outputs:
        """What the model is judged by, samples joined."""
        return outputs(self._session(model, ctx), self.feeds(model.graph, ctx))

    def _session(self, model: Model, ctx: Context) -> Session:
        return model_session(model, comparable_tensors(model.graph), optimized=ctx.data is not None)

    def feeds(self, graph: gs.Graph, ctx: Context) -> Iterator[Feeds]:
        """What models are compared on."""
        if ctx.data is None:
            return iter((random_feeds(graph, ctx.rng()),))
        return first_feeds(ctx.data, self._samples)

    def _noise(self, model: Model, ctx: Context) -> float:
        """How far the outputs are from those of inputs with another last bit, and of random operators that draw on."""
        session = self._session(model, ctx)
        first = outputs(session, self.feeds(model.graph, ctx))
        return compare(first, outputs(session, map(nudged, self.feeds(model.graph, ctx))))["relative_error"]


def nudged(feeds: Feeds) -> Feeds:
    """The next number up, where values are floats."""
    return {
        name: np.nextafter(value, np.inf, dtype=value.dtype) if value.dtype.kind == "f" else value
        for name, value in feeds.items()
    }


def first_feeds(data: Data, samples: int) -> Iterator[Feeds]:
    """The first `samples` of `data`, in small batches; of large ones as many as `COMPARED` bytes hold, or `FEWEST`."""
    first = next(iter(data.batches(1)))
    size = max(value.nbytes // max(1, len(value)) for value in first.values())
    wanted, whole = min(samples, max(FEWEST, COMPARED // max(1, size))), data.fixed_batch or 1
    return first_samples(data, min(wanted, BATCH), -(-wanted // whole) * whole)


def outputs(session: Session, batches: Iterable[Feeds]) -> Outputs:
    """All outputs that are tensors, samples joined."""
    runs = [session.run(feeds) for feeds in batches]
    return {name: _join([run[name] for run in runs]) for name, value in runs[0].items() if _is_array(value)}


def named_like(before: Outputs, after: Outputs) -> Outputs:
    """`after` under the names of `before`, by position: what stands for an output may be called otherwise."""
    return dict(zip(before, after.values(), strict=True)) if len(before) == len(after) else after


def compare(before: Outputs, after: Outputs) -> dict[str, float]:
    """The figure of the module docstring; with several outputs also `relative_error:NAME` of each."""
    errors = {name: relative_error(value, after.get(name)) for name, value in before.items()}
    figures = {"relative_error": max(errors.values(), default=0.0)}
    if len(errors) > 1:
        figures.update({f"relative_error:{name}": error for name, error in errors.items()})
    return figures


def relative_error(before: np.ndarray, after: np.ndarray | None) -> float:
    """||before - after|| / ||before||; places that hold the same NaN or Inf count as equal."""
    if after is None or before.shape != after.shape:
        return float("inf")
    if before.dtype.kind not in "fiub":
        return 0.0 if np.array_equal(before, after) else float("inf")
    distance = norm = 0.0
    for a, b in in_pieces(before, after):
        differ = ~((a == b) | (np.isnan(a) & np.isnan(b)))
        finite = np.isfinite(a)
        distance += float(np.square(a[differ] - b[differ]).sum())
        norm += float(np.square(a[finite | differ]).sum())
    return sqrt(distance / norm) if norm > 0 else sqrt(distance)


def tolerance(graph: gs.Graph) -> float:
    """How far an exact pass may move the outputs, by rounding alone."""
    half = any(tensor.dtype == np.float16 for tensor in graph.tensors().values())
    return HALF_TOLERANCE if half else TOLERANCE


def random_feeds(
    graph: gs.Graph,
    rng: np.random.Generator,
    shapes: Mapping[str, tuple[int, ...]] | None = None,
    where: str = "verify",
) -> Feeds:
    """Values for every input: standard normal, or 0 and 1 for integers.

    Args:
        shapes: of the inputs; one sample of each, if None.

    Raises:
        CompressError: an input of another type, or of no known shape.
        MemoryError: they would take more than half of the memory.
    """
    shapes = input_shapes(graph) if shapes is None else shapes
    feeds: dict[str, np.ndarray] = {}
    left = installed() // 2
    for tensor in graph.inputs:
        if not isinstance(tensor, gs.Variable):
            continue
        dtype, shape = tensor.dtype, shapes.get(tensor.name)
        if not isinstance(dtype, np.dtype) or dtype.kind not in "fiub" or shape is None:
            raise CompressError(f"input '{tensor.name}' has no type and shape to make random values of", where)
        left -= DRAWN * prod(shape)
        if left < 0:
            raise MemoryError(f"input '{tensor.name}' is {' x '.join(map(str, shape))}")
        values = rng.standard_normal(shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
        feeds[tensor.name] = values.astype(dtype)
    return feeds


def _is_array(value: object) -> bool:
    """False for sequences and maps."""
    return isinstance(value, np.ndarray)


def _join(values: list[np.ndarray]) -> np.ndarray:
    if len(values) == 1:
        return values[0]
    if len({value.shape[1:] for value in values}) > 1 or values[0].ndim == 0:
        return np.concatenate([value.reshape(-1) for value in values])
    return np.concatenate(values)
