"""Steps count while their key and their model file are the expected ones; what is restored is what was left."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import onnx_graphsurgeon as gs
import pytest
from builders import listing, model
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.pipeline.base import Decision, Pass, PassRecord, PassResult
from onnx_compress.compiler.pipeline.checkpoints import Checkpoints, step_keys
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.manager import PassManager
from onnx_compress.compiler.pipeline.serialization import from_plain, to_plain
from onnx_compress.compiler.pipeline.traces import ErrorCurve, Traces

RAN: list[str] = []


@dataclass(frozen=True)
class Become(Pass):
    """Renames the only node, remembers its origin, and says so."""

    name: ClassVar[str] = "become"
    op: str = "Neg"

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        RAN.append(self.op)
        if self.op == "Stop":
            raise KeyboardInterrupt
        Rewriter(graph, ctx.origins).rename(graph.nodes[0], self.op)
        graph.nodes[0].op = self.op
        ctx.state.sidecars[".txt"] = self.op
        ctx.state.declared_operators.append(self.op)
        curve = ErrorCurve("n", "", (1,), (2,), (float("inf"),), 3)
        decision = Decision("n", "rewritten", "why", {"size": 3})
        return PassResult(True, [decision], traces=Traces([curve]))


def go(folder: Path, *ops: str, run: str = "a", prepared: int = 0) -> tuple[Model, Context, list[PassRecord]]:
    RAN.clear()
    source, ctx, passes = model("g (float[2] x) => (float[2] y) { y = Relu(x) }"), Context(), [*map(Become, ops)]
    kept = Checkpoints(folder, step_keys(passes, [run]), prepared)
    return source, ctx, PassManager(passes, [kept]).run(source, ctx, kept.restore(source, ctx))


def test_a_run_goes_on_behind_the_last_finished_pass(tmp_path: Path):
    with pytest.raises(KeyboardInterrupt):
        go(tmp_path, "Neg", "Abs", "Stop")
    assert RAN == ["Neg", "Abs", "Stop"]
    source, ctx, records = go(tmp_path, "Neg", "Abs", "Exp", prepared=1)
    assert RAN == ["Exp"]
    assert (listing(source.graph), ctx.state.sidecars) == (["y = Exp(x)"], {".txt": "Exp"})
    assert ctx.state.declared_operators == ["Neg", "Abs", "Exp"]
    assert ctx.original is not None and listing(ctx.original) == ["y = Neg(x)"], "budgets refer to the prepared model"
    assert [record.position for record in records] == [1, 2, 3]
    assert (records[0].result.decisions, records[0].result.traces) == (
        records[2].result.decisions,
        records[2].result.traces,
    )
    assert records[1].result.notes == [f"passes 1 to 2 were taken from {tmp_path}, where an earlier run left them"]


def test_origins_reach_back_over_the_interruption(tmp_path: Path):
    whole = go(tmp_path / "a", "Neg", "Abs")[1].origins
    go(tmp_path / "b", "Neg")
    assert go(tmp_path / "b", "Neg", "Abs")[1].origins == whole and whole["Abs"] == whole["Neg"] != "Neg"


def test_another_run_starts_anew(tmp_path: Path):
    go(tmp_path, "Neg", "Abs")
    go(tmp_path, "Neg", "Abs", run="b")
    assert RAN == ["Neg", "Abs"]


def test_another_pipeline_shares_its_first_passes(tmp_path: Path):
    go(tmp_path, "Neg", "Abs", "Exp")
    go(tmp_path, "Neg", "Sin", "Exp")
    assert RAN == ["Sin", "Exp"]
    go(tmp_path, "Neg", "Abs", "Exp")
    assert RAN == ["Abs", "Exp"], "what was behind the other Abs is no longer valid"
    go(tmp_path, "Neg")
    go(tmp_path, "Sin")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["001-become.json", "001-become.onnx"]


@pytest.mark.parametrize("file", ["002-become.onnx", "002-become.json"])
@pytest.mark.parametrize("content", [b"", None])
def test_a_damaged_step_does_not_count(tmp_path: Path, file: str, content: bytes | None):
    go(tmp_path, "Neg", "Abs")
    (tmp_path / file).unlink() if content is None else (tmp_path / file).write_bytes(content)
    assert listing(go(tmp_path, "Neg", "Abs")[0].graph) == ["y = Abs(x)"]
    assert RAN == ["Abs"]


def test_a_finished_run_is_read_only(tmp_path: Path):
    go(tmp_path, "Neg")
    assert listing(go(tmp_path, "Neg")[0].graph) == ["y = Neg(x)"] and RAN == []


def test_records_survive_json():
    record = PassRecord(1, "p", "p:a=1", PassResult(True, [Decision("n", "kept", "", {"a": 1.5, "b": "x"})]), 0.5)
    assert from_plain(PassRecord, to_plain(record)) == record
