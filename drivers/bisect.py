"""Which pass of a pipeline, and which node that it rewrites, makes a model fail a check.

1. All passes run; the model after each is kept.
2. Binary search finds a pass p such that the model before p is good and the one after p is not.
3. p runs again and again on the model before it, in graph order with all but the first m of the nodes that it rewrites
   held as they are (`Context.held`). Binary search finds an m such that m - 1 of them are good and m are not: node m.

With a check that, once failed, stays failed, this is the first such pass and node; otherwise it is one where good turns
into bad. Passes that do not work node by node end the search with step 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import onnx_graphsurgeon as gs

from ..compiler.errors import CompressError
from ..compiler.files import check_folder
from ..compiler.graph.copies import copy_graph
from ..compiler.graph.io import Model
from ..compiler.pipeline.base import Pass, PassRecord
from ..compiler.pipeline.context import Context, Snapshot
from ..compiler.pipeline.instruments import Instrument
from ..compiler.pipeline.manager import PassManager
from ..compiler.pipeline.options import RunOptions
from ..compiler.pipeline.progress import Progress
from .checks import Check, parse_check
from .culprit import Culprit, write_culprit
from .paths import bisection_written
from .setup import Baseline, ModelLike, Pipeline, set_up

TOUCHED = ("rewritten", "refitted", "quantized", "folded", "removed", "legalized")
WHOLE = "the pass does not work node by node"


def run_bisect(
    model: ModelLike, pipeline: Pipeline, check: str, folder: Path, options: RunOptions, progress: Progress
) -> tuple[Culprit, Path]:
    """See `api.bisect`."""
    options.refuse_unused("bisect")
    check_folder(folder)
    setup = set_up(model, pipeline, options, progress, partial(bisection_written, folder))
    source, passes, ctx = setup.source, setup.pipeline(), setup.ctx
    judge = parse_check(check, replace(source, graph=copy_graph(source.graph)), ctx)
    found = bisect(source, passes, ctx, judge, [Baseline(setup.prepared)])
    culprit = replace(found, notes=(*setup.notes, *(() if setup.samples is None else setup.samples.notes)))
    return culprit, write_culprit(culprit, source, passes, ctx, check, folder)


def bisect(
    model: Model, passes: Sequence[Pass], ctx: Context, check: Check, watchers: Sequence[Instrument] = ()
) -> Culprit:
    """See the module docstring.

    Args:
        watchers: instruments that the pipeline needs.

    Raises:
        CompressError: the model fails the check before any pass, or passes it after all; or a pass failed.
    """
    search = _Search(model, passes, ctx, check)
    search.snapshots.append(Snapshot.of(model.graph, ctx))
    if not search.is_good(search.snapshots[0].graph):
        raise CompressError("the model fails the check before any pass has run", "--check", "ask for less")
    records = PassManager(passes, [*watchers, search]).run(model, ctx)
    if search.is_good(model.graph):
        raise CompressError("the result passes the check: there is nothing to find", "--check", "ask for more")
    position = first_bad(len(passes), lambda count: search.is_good(search.snapshots[count].graph))
    return search.within(records[position - 1])


def first_bad(count: int, is_good: Callable[[int], bool]) -> int:
    """An i in 1 ... count with i - 1 good and i bad, where 0 is good and `count` bad."""
    good, bad = 0, count
    while bad - good > 1:
        middle = (good + bad) // 2
        good, bad = (middle, bad) if is_good(middle) else (good, middle)
    return bad


class _Search(Instrument):
    """Keeps the state after every pass, and runs single passes again."""

    def __init__(self, model: Model, passes: Sequence[Pass], ctx: Context, check: Check):
        self._model, self._passes, self._ctx, self._check = model, passes, ctx, check
        self.snapshots: list[Snapshot] = []
        self.checks = 0

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        self.snapshots.append(Snapshot.of(model.graph, ctx))

    def is_good(self, graph: gs.Graph) -> bool:
        self.checks += 1
        with self._ctx.progress(f"check {self.checks}", 1) as advance:
            good = self._check(replace(self._model, graph=graph))
            advance()
        return good

    def within(self, record: PassRecord) -> Culprit:
        """The node of the pass of `record`, after which the model is bad."""
        before, after = self.snapshots[record.position - 1], self.snapshots[record.position]
        touched = {decision.node for decision in record.result.decisions if decision.action in TOUCHED}
        nodes = [node.name for node in before.graph.nodes if node.name in touched]
        reason = WHOLE
        if nodes:
            try:
                found = self._node(record.position, nodes)
            except CompressError as error:
                found, reason = None, f"the pass refuses to leave nodes as they are: {error}"
            if found is not None:
                return found
        entry = self._passes[record.position - 1]
        graphs = (before.graph, after.graph, after.state.origins)
        return Culprit(record.position, entry, None, 0, len(nodes), reason, *graphs, self.checks)

    def _node(self, position: int, nodes: list[str]) -> Culprit | None:
        """None where the pass does not heed which nodes are held."""
        tried: dict[int, Snapshot] = {}

        def is_good(count: int) -> bool:
            tried[count] = self._limited(position, nodes[count:])
            return self.is_good(tried[count].graph)

        if not is_good(0) or is_good(len(nodes)):
            return None
        number = first_bad(len(nodes), is_good)
        good, bad = tried[number - 1], tried[number]
        entry, graphs = self._passes[position - 1], (good.graph, bad.graph, bad.state.origins)
        return Culprit(position, entry, nodes[number - 1], number, len(nodes), "", *graphs, self.checks)

    def _limited(self, position: int, held: Sequence[str]) -> Snapshot:
        """What the pass leaves where it has to leave some nodes as they are."""
        before = self.snapshots[position - 1]
        left = Snapshot(copy_graph(before.graph), before.state.copy())
        entry = self._passes[position - 1]
        ctx = replace(self._ctx, held=frozenset(held), state=left.state, running=entry.name)
        entry.run(left.graph, ctx)
        return left
