"""Without a budget nothing is done that could harm: what is rewritten is as good and takes less time on the target."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import builders
import numpy as np
import pytest
from onnx_compress import compress
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.overrides import parse_override
from onnx_compress.compiler.pipeline.spec import parse_pipeline
from onnx_compress.drivers.compress import Compressed
from onnx_compress.passes.basis import Basis
from onnx_compress.passes.budgets import search
from onnx_compress.passes.decomposition import base

ROOT = Path(__file__).resolve().parents[3]
SHARED = ROOT.parent / "shared" / "models"
WIDE = "g (float[N,128,56,56] x) => (float[N,192,56,56] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"
NARROW = "g (float[N,8,8,8] x) => (float[N,8,8,8] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"


def lowrank(rank: int, filters: int, channels: int, noise: float = 0.0) -> np.ndarray:
    """(filters, channels, 3, 3) of that rank, but for noise of that share of its energy."""
    exact = builders.normal(filters, rank) @ builders.normal(rank, channels * 9, seed=1) / rank**0.5
    return (exact + noise**0.5 * builders.normal(filters, channels * 9, seed=2)).reshape(filters, channels, 3, 3)


def applied(model: Model, spec: str, data: Any = None, overrides: tuple[str, ...] = (), **options: Any) -> PassResult:
    (entry,) = parse_pipeline(spec)
    ctx = Context(RunOptions.of(options), data, original=model.graph.copy(), running=entry.name)
    ctx.overrides = tuple(parse_override(text, [entry]) for text in overrides)
    return entry.run(model.graph, ctx)


def milliseconds(result: Compressed) -> tuple[float, float]:
    before, after = result.report["before"]["latency"], result.report["after"]["latency"]
    assert before is not None and after is not None
    return before["ms"], after["ms"]


def test_without_data_what_has_low_rank_is_found_and_becomes_faster() -> None:
    result = compress(builders.proto(WIDE, w=lowrank(16, 192, 128)), "basis")
    before, after = milliseconds(result)
    assert after < 0.7 * before
    assert result.report["after"]["macs"] < 0.2 * (result.report["before"]["macs"] or 0)
    x = builders.normal(1, 128, 56, 56, seed=5)
    wanted = builders.run(builders.model(WIDE, w=lowrank(16, 192, 128)), x=x)["y"]
    assert np.linalg.norm(builders.run(result.model, x=x)["y"] - wanted) < 1e-5 * np.linalg.norm(wanted)


@pytest.mark.parametrize("noise", [1e-5, 1e-3])
def test_without_data_what_would_lose_a_little_stays(noise: float) -> None:
    model = builders.model(WIDE, w=lowrank(16, 192, 128, noise))
    result = applied(model, "basis")
    assert not result.changed
    assert applied(model, "basis:energy=0.99").changed


def test_without_data_what_gets_no_faster_stays() -> None:
    model = builders.model(NARROW, w=lowrank(2, 8, 8))
    assert not applied(model, "basis").changed
    assert applied(model, "basis:energy=0.99").changed


@pytest.mark.parametrize(("size", "changed"), [("1x256x14x14", False), ("8x256x14x14", True), ("1x256x40x40", True)])
def test_what_pays_hangs_on_the_batch_and_the_sizes_that_are_asked_for(size: str, changed: bool) -> None:
    text = "g (float[N,256,H,W] x) => (float[N,256,H,W] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"
    model = builders.model(text, w=lowrank(16, 256, 256))
    assert applied(model, "basis:form=channel", shapes=(f"x:{size}",)).changed == changed


def test_where_no_times_are_known_fewer_macs_are_taken_and_a_note_says_so() -> None:
    result = applied(builders.model(NARROW, w=lowrank(2, 8, 8)), "basis", target="ort")
    assert result.changed
    assert base.UNTIMED in result.notes


@pytest.mark.parametrize("spec", ["basis", "sbf", "sparse-lowrank"])
def test_with_data_nothing_is_tried_where_nothing_gets_faster(spec: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("samples were run")

    monkeypatch.setattr(base, "search_smallest", fail)
    monkeypatch.setattr("onnx_compress.passes.decomposition.survey.curve_fits", fail)
    images = builders.Images(builders.normal(80, 8, 8, 8))
    result = applied(builders.model(NARROW, w=builders.normal(8, 8, 3, 3)), spec, images)
    assert not result.changed
    assert base.ONLY_FASTER in result.notes


def test_with_data_what_is_faster_in_half_precision_alone_stays() -> None:
    """INT8 takes channels 32 at a time, half precision 8."""
    graph = builders.model(WIDE, w=builders.normal(192, 128, 3, 3)).graph
    alone, both = (
        {choice.size for choice in Basis(form="channel").surveyed(graph, Context(data=data)).candidates[0].choices[1:]}
        for data in (None, builders.Images(builders.normal(64, 128, 56, 56)))
    )
    assert both < alone


def test_what_could_save_too_little_is_not_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(search, "WORTH", 0.99)
    images = builders.Images(builders.normal(64, 128, 56, 56))
    result = applied(builders.model(WIDE, w=lowrank(16, 192, 128)), "basis", images)
    assert not result.changed
    assert result.decisions[0].reason == "all that could be rewritten would save less than 99% of the time"


def test_a_size_that_is_set_by_name_is_taken_whatever_it_saves() -> None:
    model = builders.model(NARROW, w=builders.normal(8, 8, 3, 3))
    result = applied(model, "basis", overrides=("Conv:basis.rank=4",))
    assert [decision.figures["size"] for decision in result.decisions] == [4]


@pytest.mark.parametrize(("weight", "gone"), [(0.0, 2), (0.05, 0)])
def test_without_data_only_units_that_do_nothing_are_pruned(weight: float, gone: int) -> None:
    text = """g (float[N,3,8,8] x) => (float[N,4,8,8] y) {
        a = Conv<pads=[1,1,1,1]>(x, v) b = Relu(a) y = Conv<pads=[1,1,1,1]>(b, w) }"""
    v, w = builders.normal(8, 3, 3, 3), builders.normal(4, 8, 3, 3)
    w[:, 2:4] *= weight
    model = builders.model(text, v=v, w=w)
    assert applied(model, "prune").changed == bool(gone)
    assert next(find_convs(model.graph)).filters == 8 - gone


@pytest.mark.skipif(not SHARED.is_dir(), reason="the third-party networks are not here")
@pytest.mark.parametrize("name", sorted(str(path.relative_to(SHARED)) for path in SHARED.rglob("*.onnx")))
def test_without_data_no_network_gets_slower(name: str) -> None:
    before, after = milliseconds(compress(SHARED / name, "basis,quantize"))
    assert after <= before
