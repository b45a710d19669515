"""The pass and the node that break a model are found, whatever the order; the folder shows them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from builders import Images, listing, model, normal, run
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.errors import CompressError, UsageError
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import Model, load
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.pipeline.base import Decision, Pass, PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.drivers.bisect import bisect, first_bad
from onnx_compress.drivers.checks import parse_check
from onnx_compress.drivers.culprit import write_culprit
from onnx_compress.passes.basis import Basis
from onnx_compress.runtime.data import Samples
from onnx_compress.runtime.quality.judge import SampleJudge

SIZE, CONVS = 8, 5
INPUT = normal(32, SIZE, 6, 6)
SOME = Context(data=Samples({"t0": INPUT}, 32, None, "x"))


@dataclass(frozen=True)
class Shrink(Pass):
    """Scales the weight of every Conv; heedless of `held` where `whole`."""

    name: ClassVar[str] = "shrink"
    factor: float = 0.5
    whole: bool = False

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        rewriter, decisions = Rewriter(graph, ctx.origins), list[Decision]()
        for conv in list(find_convs(graph)):
            if self.whole or ctx.out_of_scope(conv.name) is None:
                rewriter.set_weight(conv.node, 1, (self.factor * conv.weight).astype(np.float32))
                decisions.append(Decision(conv.name, "rewritten"))
        return PassResult(True, decisions)


def network() -> Model:
    lines = [f"[c{i}] t{i + 1} = Conv<pads=[1,1,1,1]>(t{i}, w{i})" for i in range(CONVS)]
    text = f"g (float[N,{SIZE},6,6] t0) => (float[N,{SIZE},6,6] t{CONVS}) {{ {' '.join(lines)} }}"
    return model(text, **{f"w{i}": normal(SIZE, SIZE, 3, 3, seed=i) for i in range(CONVS)})


def shrunk(graph: gs.Graph) -> list[str]:
    """The Convs whose weight is not what it was."""
    before = {conv.name: conv.weight for conv in find_convs(network().graph)}
    return [conv.name for conv in find_convs(graph) if not np.array_equal(conv.weight, before[conv.name])]


@pytest.mark.parametrize("culprit", range(CONVS))
def test_the_node_is_found(culprit: int):
    name = f"c{culprit}"
    found = bisect(network(), [Shrink(1.0), Shrink()], Context(), lambda each: name not in shrunk(each.graph))
    assert (found.position, found.node, found.number, found.nodes) == (2, name, culprit + 1, CONVS)
    assert shrunk(found.bad) == [*shrunk(found.good), name]


@given(st.integers(1, 40), st.data())
def test_first_bad_is_where_good_turns_bad(count: int, data: st.DataObject):
    bad = data.draw(st.integers(1, count))
    asked: list[int] = []
    assert first_bad(count, lambda i: (asked.append(i), i < bad)[1]) == bad
    assert len(asked) <= count.bit_length() and 0 not in asked and count not in asked


def test_a_pass_that_holds_nothing_is_named_whole():
    found = bisect(network(), [Shrink(whole=True), Shrink(1.0)], Context(), lambda each: shrunk(each.graph) == [])
    assert (found.position, found.node) == (1, None) and "node by node" in found.reason
    assert (shrunk(found.good), len(shrunk(found.bad))) == ([], CONVS)


@pytest.mark.parametrize(("check", "words"), [(lambda each: False, "before any pass"), (lambda each: True, "nothing")])
def test_there_has_to_be_something_to_find(check: Callable[[Model], bool], words: str):
    with pytest.raises(CompressError, match=words):
        bisect(network(), [Shrink()], Context(), check)


@dataclass(frozen=True)
class Named(Images):
    def batches(self, size: int):
        yield {"t0": self.x}


def test_a_decomposition_is_held_without_dividing_its_budget_anew(tmp_path: Path):
    """The last good and the first bad model differ in one Conv, and what the others became is what the run made."""
    data = Named(np.random.default_rng(0).standard_normal((32, SIZE, 6, 6)).astype(np.float32))
    ctx, entry = Context(data=data), Basis(macs=0.6)
    source = network()
    whole = source.graph.copy()
    entry.run(whole, Context(data=data))
    limit = 0.6 * SampleJudge.of(network().graph, data, "error").judge(whole).value
    check = parse_check(f"error<={limit}", network(), Context(data=Samples({"t0": data.x}, 32, None, "x")))
    found = bisect(source, [entry], ctx, check)
    assert found.node is not None and 1 < found.number <= found.nodes
    good, bad = listing(found.good), listing(found.bad)
    same = next(i for i, (one, other) in enumerate(zip(good, bad, strict=False)) if one != other)
    assert same > 0 and bad[: same + 2] == listing(whole)[: same + 2], "no budget is divided anew"
    folder = write_culprit(found, source, [entry], ctx, "error<=x", tmp_path)
    assert sorted(path.name for path in folder.iterdir()) == [
        "after.onnx",
        "before.onnx",
        "node-after.onnx",
        "node-before.onnx",
        "options.json",
    ]
    options = json.loads((folder / "options.json").read_text())
    assert (options["node"], options["check"]) == (found.node, "error<=x")
    assert listing(load(folder / "after.onnx").graph) == bad
    parts = [onnx.load(folder / f"node-{name}.onnx") for name in ("before", "after")]
    assert len(parts[0].graph.node) == 1 and len(parts[1].graph.node) >= 1
    name = parts[0].graph.input[0].name
    shapes = [run(part, **{name: data.x}) for part in parts]
    assert [list(each) for each in shapes] == [[f"t{int(found.node[1:]) + 1}"]] * 2


@pytest.mark.parametrize(
    ("check", "words"),
    [
        ("agreement<=0.9", "no check 'agreement<='"),
        ("beauty>=1", "no check 'beauty>='"),
        ("agreement>=much", "'much' is no number"),
        ("accuracy>=0.5", "needs labels"),
        ("agreement 1", "neither a bound nor a command"),
    ],
)
def test_wrong_checks(check: str, words: str):
    with pytest.raises(UsageError, match=words):
        parse_check(check, network(), SOME)


@pytest.mark.parametrize("check", ["agreement>=0.5", "metric>=0.5"])
def test_figures_want_data(check: str):
    with pytest.raises(UsageError, match="needs samples"):
        parse_check(check, network(), Context())


@pytest.mark.parametrize("check", ["metric>=0.95", "agreement>=0.95", "error<=0.3"])
def test_figures_are_those_of_the_run(check: str):
    holds = parse_check(check, network(), SOME)
    assert holds(network())
    other = network()
    Shrink(-0.5).run(other.graph, Context())
    assert not holds(other)


def test_a_metric_is_good_in_one_direction():
    with pytest.raises(UsageError, match=r"pixels is good where metric>= .metric>=0.5"):
        parse_check("metric<=0.5", network(), SOME)
    with pytest.raises(UsageError, match="error is good where metric<="):
        parse_check("metric>=0.5", network(), replace(SOME, options=RunOptions(metric="error")))


def test_the_metric_may_be_the_users_own():
    ctx = Context(RunOptions(metric=lambda predict: float(np.abs(predict({"t0": INPUT})[f"t{CONVS}"]).sum())))
    whole = float(np.abs(run(network(), t0=INPUT)[f"t{CONVS}"]).sum())
    assert parse_check(f"metric>={0.9 * whole}", network(), ctx)(network())
    assert not parse_check(f"metric>={1.1 * whole}", network(), ctx)(network())


def test_a_command_says_yes_or_no():
    assert parse_check("test -s {}", network(), Context())(network())
    assert not parse_check("test ! -s {}", network(), Context())(network())
    with pytest.raises(CompressError, match="exit code 127"):
        parse_check("no-such-command {}", network(), Context())(network())
