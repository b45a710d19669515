"""Order, instruments, caches and failures."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx_graphsurgeon as gs
import pytest
from builders import listing, model, node, normal
from onnx_compress.compiler.errors import CompressError, UsageError
from onnx_compress.compiler.graph.io import Model, load
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.pipeline.base import Pass, PassRecord, PassResult
from onnx_compress.compiler.pipeline.context import Context, RunState
from onnx_compress.compiler.pipeline.instruments import Dump, Instrument, Timing
from onnx_compress.compiler.pipeline.manager import PassManager
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.reproduction import Reproduction


@dataclass(frozen=True)
class Step(Pass):
    name: ClassVar[str] = "step"
    action: Callable[[gs.Graph, Context], PassResult] = field(default=lambda graph, ctx: PassResult(), compare=False)

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        return self.action(graph, ctx)

    def __str__(self) -> str:
        return "step"


@dataclass
class Watch(Instrument):
    label: str
    log: list[str]
    veto: int = 0

    def should_run(self, position: int, entry: Pass, model: Model, ctx: Context) -> bool:
        return position != self.veto

    def before(self, position: int, entry: Pass, model: Model, ctx: Context) -> None:
        self.log.append(f"{self.label}<{position}")

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        self.log.append(f"{self.label}>{record.position}")


def small() -> Model:
    return model("g (float[2] x) => (float[2] y) { y = Relu(x) }")


def test_passes_run_in_order_with_instruments_nested_around_them():
    log: list[str] = []

    def work(graph: gs.Graph, ctx: Context) -> PassResult:
        log.append("run")
        return PassResult()

    records = PassManager([Step(work), Step(work)], [Watch("a", log), Watch("b", log)]).run(small(), Context())
    assert log == ["b<1", "a<1", "run", "a>1", "b>1", "b<2", "a<2", "run", "a>2", "b>2"]
    assert [(record.position, record.name, record.spec) for record in records] == [
        (1, "step", "step"),
        (2, "step", "step"),
    ]


def test_what_no_output_needs_goes_with_the_pass_that_freed_it():
    def work(graph: gs.Graph, ctx: Context) -> PassResult:
        Rewriter(graph).set_weight(node(graph, "Conv"), 1, normal(2, 3, 1, 1))
        return PassResult(changed=True)

    text = "g (float[1,3,4,4] x) => (float[1,2,4,4] y) { c = Cast<to = 1>(q) k = Mul(c, s) y = Conv(x, k) }"
    subject = model(text, q=np.ones((2, 3, 1, 1), np.uint8), s=normal(2, 1, 1, 1))
    PassManager([Step()]).run(subject, Context())
    assert [entry.op for entry in subject.graph.nodes] == ["Cast", "Mul", "Conv"]
    PassManager([Step(work)]).run(subject, Context())
    assert [entry.op for entry in subject.graph.nodes] == ["Conv"]
    assert not {"q", "s"} & set(subject.graph.tensors())


def test_an_instrument_can_veto_a_pass():
    log: list[str] = []
    records = PassManager([Step(), Step()], [Watch("a", log), Watch("b", log, veto=1)]).run(small(), Context())
    assert [record.position for record in records] == [2]
    assert log == ["b<2", "a<2", "a>2", "b>2"]


def test_the_original_is_kept_for_budgets():
    def rename(graph: gs.Graph, ctx: Context) -> PassResult:
        graph.nodes[0].op = "Neg"
        return PassResult(changed=True)

    ctx, source = Context(), small()
    PassManager([Step(rename)]).run(source, ctx)
    assert ctx.original is not None
    assert (listing(ctx.original), listing(source.graph)) == (["y = Relu(x)"], ["y = Neg(x)"])


def test_a_failure_names_the_pass():
    def fail(graph: gs.Graph, ctx: Context) -> PassResult:
        raise KeyError("lost")

    with pytest.raises(CompressError, match=r"pass 2 'step' failed: KeyError\('lost'\)"):
        PassManager([Step(), Step(fail)]).run(small(), Context())


def test_what_fails_on_a_model_with_a_fault_is_not_reported_as_a_bug(tmp_path: Path):
    ctx = Context(fault="an input has no type")
    with pytest.raises(CompressError, match=r"pass 1 'step' failed; .* before the run: an input has no type"):
        PassManager([Step(spoil)], [Reproduction(tmp_path, "onnx-compress m.onnx")]).run(small(), ctx)
    assert list(tmp_path.iterdir()) == []


def test_a_pass_that_runs_out_of_memory_says_what_helps():
    def fill(graph: gs.Graph, ctx: Context) -> PassResult:
        raise MemoryError

    with pytest.raises(CompressError, match=r"pass 1 'step' ran out of memory \(fewer --samples"):
        PassManager([Step(fill)]).run(small(), Context())


def test_the_graph_from_before_is_copied_where_it_changed_alone():
    seen: list[gs.Graph | None] = []

    def keep(graph: gs.Graph, ctx: Context) -> PassResult:
        seen.append(ctx.before)
        return PassResult()

    def change(graph: gs.Graph, ctx: Context) -> PassResult:
        graph.nodes[0].op = "Neg"
        return PassResult(changed=True)

    ctx, source = Context(), small()
    steps = [Step(keep), Step(spoil), Step(keep), Step(change), Step(keep), Step(spoil), Step(keep)]
    PassManager(steps, keep_going=True).run(source, ctx)
    first, second, third, last = (graph for graph in seen if graph is not None)
    assert first is second is ctx.original
    assert third is last
    assert (listing(first), listing(third), listing(source.graph)) == (["y = Relu(x)"], *[["y = Neg(x)"]] * 2)
    assert source.graph is not last and source.graph.nodes is not last.nodes


def test_a_users_error_goes_through_with_the_pass():
    def refuse(graph: gs.Graph, ctx: Context) -> PassResult:
        raise CompressError("no data", "node 'a'", "give --data")

    with pytest.raises(CompressError, match=r"^pass 1 'step', node 'a': no data \(give --data\)$"):
        PassManager([Step(refuse)]).run(small(), Context())


def test_wrong_usage_goes_through_as_it_is_even_with_keep_going(tmp_path: Path):
    def refuse(graph: gs.Graph, ctx: Context) -> PassResult:
        raise UsageError("no such form", "step", "another")

    with pytest.raises(UsageError, match=r"^step: no such form \(another\)$"):
        PassManager([Step(refuse)], [Reproduction(tmp_path, "onnx-compress m.onnx")], keep_going=True).run(
            small(), Context()
        )
    assert list(tmp_path.iterdir()) == []


def spoil(graph: gs.Graph, ctx: Context) -> PassResult:
    """Changes everything that a pass may change, and fails at a node."""
    node = graph.nodes[0]
    Rewriter(graph, ctx.origins).rename(node, "spoilt")
    node.op = "Spoilt"
    graph.opset = 9
    ctx.state.sidecars[".txt"] = "spoilt"
    raise KeyError("lost")


def test_a_failure_leaves_the_model_from_before_and_what_repeats_it(tmp_path: Path):
    source, ctx = small(), Context(RunOptions(exclude="head"))
    source.graph.nodes[0].name = "first"
    with pytest.raises(CompressError, match=r"pass 2 'step' failed at node 'first': KeyError\('lost'\)") as caught:
        PassManager([Step(), Step(spoil)], [Reproduction(tmp_path, "onnx-compress m.onnx")]).run(source, ctx)
    assert (listing(source.graph), source.graph.opset, source.graph.nodes[0].name) == (["y = Relu(x)"], 17, "first")
    assert ctx.state == RunState()
    folder = tmp_path / "fail-002-step"
    assert str(folder) in str(caught.value)
    assert listing(load(folder / "before.onnx").graph) == ["y = Relu(x)"]
    options = json.loads((folder / "options.json").read_text())
    assert (options["pass"], options["node"], options["options"]["exclude"]) == ("step", "first", "head")
    assert {"python", "onnx", "numpy"} <= set(options["versions"])
    assert "in spoil" in (folder / "traceback.txt").read_text()
    assert "--exclude head" in (folder / "command.txt").read_text()


def test_keep_going_continues_with_the_model_from_before_and_says_so(tmp_path: Path):
    source, ctx, seen = small(), Context(), list[str]()

    def look(graph: gs.Graph, ctx: Context) -> PassResult:
        seen.extend(listing(graph))
        return PassResult()

    manager = PassManager([Step(spoil), Step(look)], [Reproduction(tmp_path, "onnx-compress m.onnx")], keep_going=True)
    failed, record = manager.run(source, ctx)
    assert seen == ["y = Relu(x)"] and (failed.position, record.position) == (1, 2)
    (note,) = failed.result.notes
    assert "pass 1 'step' failed and was left out" in note and "fail-001-step" in note


def test_what_an_instrument_refuses_is_a_failure_too():
    class Refuse(Instrument):
        def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
            raise CompressError("outputs moved", f"pass {record.position} 'step'")

    def rename(graph: gs.Graph, ctx: Context) -> PassResult:
        graph.nodes[0].op = "Neg"
        return PassResult(changed=True)

    source = small()
    with pytest.raises(CompressError, match=r"^pass 1 'step': outputs moved$"):
        PassManager([Step(rename)], [Refuse()]).run(source, Context())
    assert listing(source.graph) == ["y = Relu(x)"]


def test_timing_and_dumps(tmp_path: Path):
    records = PassManager([Step(), Step()], [Timing(), Dump(tmp_path / "dumps")]).run(small(), Context())
    assert all(record.seconds >= 0 for record in records)
    assert sorted(path.name for path in (tmp_path / "dumps").iterdir()) == ["001-step.onnx", "002-step.onnx"]
    assert listing(load(tmp_path / "dumps" / "002-step.onnx").graph) == ["y = Relu(x)"]
