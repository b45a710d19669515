"""The verdict on a network holds until a pass changes it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import pytest
from builders import Images, model, normal
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.pipeline.base import Pass, PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.instruments import Failure, Instrument
from onnx_compress.compiler.pipeline.manager import PassManager
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.runtime.quality import after_passes, verdict
from onnx_compress.runtime.quality.after_passes import JudgeAfterPasses
from onnx_compress.runtime.quality.verdict import verdict_of_run
from onnx_compress.runtime.subsets import evenly

NET = "g (float[N,4] x) => (float[N,3] y) { y = MatMul(x, w) }"
DATA = Images(normal(50, 4))


@dataclass(frozen=True)
class Scale(Pass):
    """Multiplies the weight."""

    name: ClassVar[str] = "scale"
    by: float = 1.0
    exact: ClassVar[bool] = False

    def run(self, graph, ctx):
        if self.by != 1:
            Rewriter(graph, ctx.origins).set_weight(graph.nodes[0], 1, self.by * graph.nodes[0].inputs[1].values)
        return PassResult(changed=self.by != 1)


@dataclass(frozen=True)
class Exact(Scale):
    """The same, said to move nothing."""

    name: ClassVar[str] = "exact"
    exact: ClassVar[bool] = True


@dataclass(frozen=True)
class Failing(Exact):
    """Stops half way."""

    name: ClassVar[str] = "failing"

    def run(self, graph, ctx):
        graph.nodes.clear()
        raise ValueError("half way")


@pytest.mark.parametrize(
    ("passes", "known"), [([Scale(2.0), Scale(1.0)], True), ([Scale(2.0), Exact(1.001)], True), ([Scale(1.0)], False)]
)
def test_it_is_that_of_the_finished_network(passes: list[Pass], known: bool):
    judge, subject, ctx = JudgeAfterPasses(), model(NET, w=normal(4, 3)), Context(data=DATA)
    records = PassManager(passes, [judge]).run(subject, ctx)
    assert (judge.verdict is not None) == known
    if judge.verdict is not None:
        assert judge.verdict == verdict_of_run(ctx.original, subject.graph, ctx, DATA)
        assert judge.verdict.distance == pytest.approx(1.0, rel=3e-3)
        assert records[0].figures == {"agreement": judge.verdict.judged.value}


def test_what_only_exact_passes_follow_is_judged_once_behind_them(monkeypatch: pytest.MonkeyPatch):
    weight, judged = normal(4, 3), list[float]()

    def verdict_by(judge, original, graph, *others):
        judged.append(float((graph.nodes[0].inputs[1].values / weight).mean()))
        return verdict.verdict_by(judge, original, graph, *others)

    monkeypatch.setattr(after_passes, "verdict_by", verdict_by)
    passes = [Scale(2.0), Scale(2.0), Exact(1.001), Exact(1.0)]
    records = PassManager(passes, [JudgeAfterPasses()]).run(model(NET, w=weight), Context(data=DATA))
    assert judged == pytest.approx([2.0, 4.004])
    assert [list(record.figures) for record in records] == [["agreement"], ["agreement"], [], []]


def test_each_is_judged_as_it_ends_where_that_is_asked_for():
    judge, subject, ctx = JudgeAfterPasses(at_once=True), model(NET, w=normal(4, 3)), Context(data=DATA)
    figures = list[dict[str, float]]()

    class Kept(Instrument):
        def after(self, record, model, ctx):
            figures.append(dict(record.figures))

    PassManager([Scale(2.0), Exact(1.0)], [judge, Kept()]).run(subject, ctx)
    assert [list(each) for each in figures] == [["agreement"], []]


def test_where_the_last_exact_pass_fails_what_it_was_given_is_judged():
    judge, subject, ctx = JudgeAfterPasses(), model(NET, w=normal(4, 3)), Context(data=DATA)
    records = PassManager([Scale(2.0), Failing()], [judge], keep_going=True).run(subject, ctx)
    assert judge.verdict == verdict_of_run(ctx.original, subject.graph, ctx, DATA)
    assert records[0].figures == {"agreement": judge.verdict.judged.value}


def test_a_network_that_was_put_back_has_none():
    judge, subject, ctx = JudgeAfterPasses(), model(NET, w=normal(4, 3)), Context(data=DATA)
    PassManager([Scale(2.0)], [judge]).run(subject, ctx)
    judge.failed(Failure(1, [Scale(3.0)], ValueError()), subject, ctx)
    assert judge.verdict is None


def test_behind_the_last_pass_it_tells_of_samples_that_fits_have_seen_too():
    data, held_out = Images(normal(50, 4, seed=1)), Images(normal(20, 4, seed=2))
    ctx = Context(RunOptions(metric="error"), data=data, judging=held_out)
    judge, subject = JudgeAfterPasses(), model(NET, w=normal(4, 3))
    PassManager([Scale(0.8), Scale(0.9)], [judge]).run(subject, ctx)
    seen = verdict_of_run(ctx.original, subject.graph, ctx, evenly(data, 10))
    assert judge.verdict.judged == verdict_of_run(ctx.original, subject.graph, ctx, held_out).judged
    assert judge.verdict.fitted == seen.judged != judge.verdict.judged
