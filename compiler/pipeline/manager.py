"""Runs passes in order, with instruments around each.

What no output needs any more after a pass goes with it: a computed weight that was replaced, say.

A pass that raises, or that an instrument refuses, leaves the model and the context as they were before it:

1. what was asked for cannot be had (`CompressError.is_answer`): the error goes through as it is;
2. anything else: the error names the pass and the node that it was at; where the pass is wrong (`Failure.is_fault`),
   also the folder with what repeats it (`compiler.pipeline.reproduction`), and the file of a plug-in;
3. with `keep_going` the next pass runs on the model from before, and the record says so; wrong usage still stops.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..errors import OUT_OF_MEMORY, REPORT, CompressError, UsageError
from ..graph.copies import copy_graph
from ..graph.io import Model
from ..jobs import small_matrices
from .base import Pass, PassRecord, PassResult
from .context import Context, Snapshot
from .instruments import Failure, Instrument
from .reproduction import author_at, node_at
from .user_code import cause


class PassManager:
    """A pipeline. `run` edits the model's graph in place and returns a record per pass.

    Instruments nest around a pass: the first is the innermost, so `before` is called from the last to the first.
    """

    def __init__(self, passes: Sequence[Pass], instruments: Sequence[Instrument] = (), keep_going: bool = False):
        self.passes = list(passes)
        self.instruments = list(instruments)
        self.keep_going = keep_going

    def run(self, model: Model, ctx: Context, done: Sequence[PassRecord] = ()) -> list[PassRecord]:
        """Run the passes behind those of `done`, which an earlier run has finished; the records of all."""
        ctx.before = copy_graph(model.graph)
        ctx.original = ctx.original or ctx.before
        records = list(done)
        first = records[-1].position if records else 0
        with small_matrices(), ctx.progress("passes", len(self.passes)) as advance:
            for position, entry in enumerate(self.passes, 1):
                if position > first and all(one.should_run(position, entry, model, ctx) for one in self.instruments):
                    records.append(self._step(position, entry, model, ctx))
                advance()
        return records

    def _step(self, position: int, entry: Pass, model: Model, ctx: Context) -> PassRecord:
        ctx.before = ctx.before or copy_graph(model.graph)
        before = Snapshot(ctx.before, ctx.state.copy())
        for instrument in reversed(self.instruments):
            instrument.before(position, entry, model, ctx)
        try:
            return self._run(PassRecord(position, entry.name, str(entry), PassResult()), entry, model, ctx)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a plug-in may end the program
            failure = Failure(position, self.passes, error, node_at(error, ctx.origins))
            before.put_back(model.graph, ctx)
            return self._failed(failure, model, ctx)

    def _run(self, record: PassRecord, entry: Pass, model: Model, ctx: Context) -> PassRecord:
        ctx.running, ctx.following = entry.name, self.passes[record.position :]
        beside = dict(ctx.state.sidecars)
        record.result = entry.run(model.graph, ctx)
        record.idle = not record.result.changed and ctx.state.sidecars == beside
        if record.result.changed:
            model.graph.cleanup(recurse_subgraphs=False, recurse_functions=False)
        with ctx.progress(f"checks after {entry.name}", len(self.instruments)) as advance:
            for instrument in self.instruments:
                instrument.after(record, model, ctx)
                advance()
        if record.result.changed:
            ctx.before = None
        return record

    def _failed(self, failure: Failure, model: Model, ctx: Context) -> PassRecord:
        """The record of a pass that was left out; raises where the run stops."""
        error, entry = failure.error, failure.entry
        answer = isinstance(error, CompressError) and error.is_answer
        if isinstance(error, UsageError) or (answer and not self.keep_going):
            raise error
        blamed = bool(ctx.fault) and not isinstance(error, CompressError)
        for instrument in () if blamed else self.instruments:
            instrument.failed(failure, model, ctx)
        said = _blamed(failure, ctx.fault) if blamed else _described(failure)
        if not self.keep_going:
            raise said from error
        note = f"pass {failure.position} '{entry.name}' failed and was left out: {said}"
        return PassRecord(failure.position, entry.name, str(entry), PassResult(notes=[note]), idle=True)


def _blamed(failure: Failure, fault: str) -> CompressError:
    """The failure on a model that was not whole when it came in."""
    return CompressError(
        f"pass {failure.position} '{failure.entry.name}' failed; the model was invalid before the run: {fault}",
        "model" if failure.node is None else f"node '{failure.node}'",
        "export the network again; onnx.checker.check_model(model, full_check=True) shows the details",
    )


def _described(failure: Failure) -> CompressError:
    """The failure as an error that names pass, node and folder."""
    error, place = failure.error, f"pass {failure.position} '{failure.entry.name}'"
    at = "" if failure.node is None else f" at node '{failure.node}'"
    folder = "" if failure.folder is None else f"{failure.folder} reproduces it"
    if isinstance(error, MemoryError):
        return CompressError(f"{place} ran out of memory{at}", "pipeline", OUT_OF_MEMORY)
    if isinstance(error, FloatingPointError):
        return CompressError(f"{place} failed{at}: {error}", "pipeline", "check --data and --preprocess")
    author = author_at(failure) if failure.is_fault else None
    mend = REPORT if author is None else f"correct {author}"
    if not isinstance(error, CompressError):
        return CompressError(f"{place} failed{at}: {cause(error)}", "pipeline", ": ".join(filter(None, (mend, folder))))
    where = error.where if error.where.startswith("pass ") else ", ".join(filter(None, (place, error.where)))
    known = at if at and at[4:] not in f"{where}{error.what}" else ""
    fix = "; ".join(filter(None, (error.fix.replace(REPORT, mend), folder)))
    return CompressError(error.what, where + known, fix)
