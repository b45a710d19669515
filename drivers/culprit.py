"""Where good turned into bad, and the folder that shows it: `bisect-004-basis/`.

before.onnx, after.onnx   the last good model and the first bad one; they differ by one node, or by the pass
node-before.onnx          that node alone, and what stands in its place
node-after.onnx
options.json              pass, node, pipeline, options of the run, versions
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import onnx_graphsurgeon as gs

from ..compiler.files import writing
from ..compiler.graph.extraction import extract
from ..compiler.graph.io import Model, save
from ..compiler.graph.shapes import infer_shapes
from ..compiler.pipeline.base import Pass
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.reproduction import describe_run, versions


@dataclass(frozen=True)
class Culprit:
    """Where good turns into bad.

    Attributes:
        position: of the pass, 1 for the first.
        node: that was rewritten last, as it is called in the model before the pass; None where the pass is all
            that is known, `reason` says why.
        number, nodes: it is the n-th of so many that the pass rewrites.
        good, bad: the last good graph and the first bad one; they differ by that node, or by the pass.
        origins: of the nodes of `bad`.
        checks: how many models were checked.
        notes: what was assumed about the model and the samples.
    """

    position: int
    entry: Pass
    node: str | None
    number: int
    nodes: int
    reason: str
    good: gs.Graph
    bad: gs.Graph
    origins: dict[str, str]
    checks: int
    notes: tuple[str, ...] = ()

    def figures(self) -> dict[str, Any]:
        """As JSON can hold it."""
        known = {"position": self.position, "pass": str(self.entry), "node": self.node, "number": self.number}
        return {**known, "nodes": self.nodes, "reason": self.reason, "checks": self.checks, "notes": list(self.notes)}


def write_culprit(found: Culprit, model: Model, passes: Sequence[Pass], ctx: Context, check: str, parent: Path) -> Path:
    """Write the folder below `parent` and return it; `CompressError` where it cannot be written."""
    folder = parent / f"bisect-{found.position:03d}-{found.entry.name}"
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, graph in (("before", found.good), ("after", found.bad)):
            save(replace(model, graph=graph), folder / f"{name}.onnx")
            part = _around(found, graph, ctx)
            if part is not None:
                (folder / f"node-{name}.onnx").write_bytes(part)
        pipeline = [str(entry) for entry in passes]
        content = {**found.figures(), "check": check, "pipeline": pipeline, **describe_run(ctx), "versions": versions()}
        (folder / "options.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return folder


def _around(found: Culprit, graph: gs.Graph, ctx: Context) -> bytes | None:
    """The node, or the nodes that stand for it, as a model; None where no node is known."""
    if found.node is None:
        return None
    origin = found.origins.get(found.node, found.node)
    names = [node.name for node in graph.nodes if found.origins.get(node.name, node.name) == origin]
    part = extract(graph, names, infer_shapes(graph, ctx.sample_shapes()))
    return None if part is None else part.SerializeToString(deterministic=True)
