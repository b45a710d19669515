"""What passes leave to later ones, so that it can be put back: the graph, and what the context collects."""

from __future__ import annotations

from dataclasses import dataclass

import onnx_graphsurgeon as gs

from .context import Context


@dataclass(frozen=True)
class State:
    """A graph, which is never edited, with the origins and sidecars that belong to it.

    Attributes:
        origins, sidecars: see `Context`.
    """

    graph: gs.Graph
    origins: dict[str, str]
    sidecars: dict[str, str]

    @classmethod
    def of(cls, graph: gs.Graph, ctx: Context) -> State:
        """A copy of what is there now; values of constants are shared, since passes replace and never change them."""
        return cls(graph.copy(), dict(ctx.origins), dict(ctx.sidecars))

    def put_back(self, graph: gs.Graph, ctx: Context) -> None:
        """Make `graph` and `ctx` what they were."""
        vars(graph).update(vars(self.graph.copy()))
        for there, here in ((ctx.origins, self.origins), (ctx.sidecars, self.sidecars)):
            there.clear()
            there.update(here)
        ctx.invalidate()
