"""One rule for every pass and budget: what is asked for by name and cannot be met is refused, and names the nearest."""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import builders
import numpy as np
import pytest
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.io import Model, digest
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.overrides import parse_override
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.passes.budgets import search

PASSES = ("basis", "sbf", "sparse-lowrank", "prune")
SPECS = (*PASSES, "sbf:form=stock", "sbf:select=threshold", "prune:criterion=l1:repair=none", "prune:division=even")
LIMITS = ("macs", "params", "bytes", "latency")
WIDE = """g (float[N,8,16,16] x) => (float[N,32] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1)
    r = Relu(a)
    c = Conv<pads=[1,1,1,1]>(r, w2)
    s = GlobalAveragePool(c)
    y = Flatten(s)
}"""
LONE = """g (float[N,2,8,8] x) => (float[N,2,8,8] y) {
    y = Conv<group=2, pads=[1,1,1,1]>(x, w)
}"""


def wide() -> Model:
    shapes = {"w1": (32, 8, 3, 3), "w2": (32, 32, 3, 3)}
    return builders.model(
        WIDE, **{n: builders.normal(*s, seed=i) / prod(s[1:]) for i, (n, s) in enumerate(shapes.items())}
    )


def lone() -> Model:
    """A depthwise Conv at the output: no pass can do anything with it."""
    return builders.model(LONE, w=builders.normal(2, 1, 3, 3))


def context(model: Model, **options: object) -> Context:
    return Context(RunOptions.of(options), original=model.graph.copy())


def apply(model: Model, spec: str, ctx: Context | None = None) -> PassResult:
    (entry,) = parse_pipeline(spec)
    ctx = ctx or context(model)
    ctx.running = entry.name
    return entry.run(model.graph, ctx)


def refused(model: Model, spec: str, ctx: Context | None = None) -> str:
    """The message; the model is as it was."""
    before = digest(model)
    with pytest.raises(CompressError, match="cannot be reached") as raised:
        apply(model, spec, ctx)
    assert raised.value.is_answer and raised.value.exit_code == 1
    assert digest(model) == before
    return str(raised.value)


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("spec", SPECS)
def test_too_small_a_limit_is_refused(spec: str, limit: str):
    said = refused(wide(), f"{spec}:{limit}=0.001")
    assert said.startswith(f"budget: {limit}=0.001 cannot be reached (the smallest ") and f" is {limit}=" in said


@pytest.mark.parametrize("limit", LIMITS)
@pytest.mark.parametrize("spec", SPECS)
def test_a_limit_on_a_network_of_which_nothing_can_go_is_refused(spec: str, limit: str):
    assert f" is {limit}=1.000" in refused(lone(), f"{spec}:{limit}=0.5")


@pytest.mark.parametrize("spec", SPECS)
def test_two_limits_name_the_one_that_cannot_be_reached(spec: str):
    said = refused(wide(), f"{spec}:macs=0.9:params=0.001")
    assert said.startswith("budget: macs=0.9:params=0.001 cannot be reached") and " is params=0." in said


@pytest.mark.parametrize("scope", [{"include": "nothing"}, {"exclude": ".*"}])
@pytest.mark.parametrize("name", PASSES)
def test_a_limit_that_the_scope_forbids_is_refused(name: str, scope: dict[str, str]):
    model = wide()
    assert " is macs=1.000" in refused(model, f"{name}:macs=0.7", context(model, **scope))


@pytest.mark.parametrize("name", PASSES)
def test_a_limit_that_single_nodes_forbid_is_refused(name: str):
    model, passes = wide(), parse_pipeline(f"{name}:macs=0.3")
    ctx = context(model)
    ctx.overrides = (parse_override(f".*:{name}.skip=true", passes),)
    assert " is macs=1.000" in refused(model, f"{name}:macs=0.3", ctx)


@pytest.mark.parametrize("name", ["basis", "sbf", "sparse-lowrank"])
def test_a_limit_that_the_size_of_a_node_forbids_is_refused(name: str):
    model, passes = wide(), parse_pipeline(f"{name}:macs=0.3")
    ctx = context(model)
    ctx.overrides = tuple(parse_override(f"{node}:{name}.energy=1.0", passes) for node in ("Conv_0", "Conv_2"))
    assert " is macs=1.000" in refused(model, f"{name}:macs=0.3", ctx)


@pytest.mark.parametrize("limit", ["bytes", "latency"])
@pytest.mark.parametrize("name", PASSES)
def test_a_limit_that_other_layers_exceed_is_refused(name: str, limit: str):
    """Nearly all bytes, and most of the time, are those of a Gemm."""
    weights = {"w": builders.normal(8, 8, 3, 3) / 72, "v": builders.normal(4096, 512) / 4096}
    text = """g (float[1,8,16,16] x) => (float[1,512] y) {
        a = Conv<pads=[1,1,1,1]>(x, w) b = Concat<axis=1>(a, x) c = Flatten(b) y = Gemm(c, v) }"""
    said = refused(builders.model(text, **weights), f"{name}:{limit}=0.2")
    assert float(said.split(f" is {limit}=")[1].split(")")[0]) > 0.5


@pytest.mark.parametrize("limit", ["macs", "params", "latency"])
@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("make", [wide, lone])
def test_a_limit_that_is_met_already_changes_nothing_and_says_so(make: Callable[[], Model], name: str, limit: str):
    model = make()
    before = digest(model)
    result = apply(model, f"{name}:{limit}=1")
    assert not result.changed and digest(model) == before
    assert f"{limit}=1 is met before this pass, by {limit}=1.000: it changes nothing" in result.notes


@pytest.mark.parametrize("name", PASSES)
def test_without_a_budget_nothing_is_refused(name: str):
    assert not apply(lone(), name).changed


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("option", ["agreement=1", "accuracy-drop=0"])
def test_an_agreement_that_no_trial_has_is_refused_by_name_only(
    name: str, option: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(search, "TRIALS", 1)
    judge = search.SampleJudge
    monkeypatch.setattr(judge, "of", lambda _, data, *__: judge(None, data, "agreement", None))
    monkeypatch.setattr(
        search.BudgetSearch, "judged", lambda self, share, macs, _: search.TrialOutcome(share, 0.25, 0.5, macs)
    )
    ctx = context(model := wide())
    ctx.data = builders.Images(builders.normal(64, 8, 16, 16), np.zeros(64, np.int64))
    nearest = {"agreement=1": "agreement=0.75", "accuracy-drop=0": "accuracy-drop=25"}[option]
    said = refused(model, f"{name}:{option}:objective=macs", ctx)
    assert said.startswith(f"budget: {option} cannot be reached (the nearest of 1 trials is {nearest} with macs=0.600")
    ctx.options = RunOptions(target="ort")  # on the others nothing is rewritten that gets slower, so nothing here
    assert not (result := apply(model, name, ctx)).changed
    assert any("every layer is left as it is" in note for note in result.notes)


@pytest.mark.parametrize("name", PASSES)
def test_an_error_of_what_stays_as_it_is_is_met(name: str):
    model = lone()
    ctx = context(model)
    ctx.data = builders.Images(builders.normal(64, 2, 8, 8), np.zeros(64, np.int64))
    assert not apply(model, f"{name}:error=0.1", ctx).changed
