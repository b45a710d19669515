"""A graph and what passes had found out by then, so that both can be put back."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from .context import Context, RunState


@dataclass(frozen=True)
class Snapshot:
    """A graph, which is never edited, with the state that belongs to it."""

    graph: gs.Graph
    state: RunState

    @classmethod
    def of(cls, graph: gs.Graph, ctx: Context) -> Snapshot:
        """A copy of what is there now; values of constants are shared, since passes replace and never change them."""
        return cls(graph.copy(), ctx.state.copy())

    def put_back(self, graph: gs.Graph, ctx: Context) -> None:
        """Make `graph` and `ctx.state` what they were."""
        vars(graph).update(vars(self.graph.copy()))
        vars(ctx.state).update(vars(self.state.copy()))
