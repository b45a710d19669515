"""The fast pass: budgets hold, the better bargain is taken, and it is never worse than blocks alone."""

from __future__ import annotations

from math import prod
from pathlib import Path
from typing import Any

import builders
import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.api import Compressed, compress
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.io import to_proto
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.data import Data
from onnx_compress.passes.depth_removal.gaps import Gaps
from onnx_compress.passes.depth_removal.repair import refit
from onnx_compress.runtime import measured_latency
from onnx_compress.runtime.kernel_timing import TimedKernel
from onnx_compress.runtime.measured_latency import Geometry

BLOCKS, CHANNELS = 2, 32
SLOW = "precision=fp32:power=10W"
"""A device on which these Convs take more than the time that any kernel takes."""


def text(side: int, residual: bool) -> str:
    """A stem, pairs of Convs with or without a shortcut, and a classifier."""
    lines = ["t0 = Conv<pads=[1,1,1,1]>(x, w0)", "x0 = Relu(t0)"]
    for i in range(1, BLOCKS + 1):
        lines += [f"a{i} = Conv<pads=[1,1,1,1]>(x{i - 1}, u{i})", f"r{i} = Relu(a{i})"]
        lines += [f"b{i} = Conv<pads=[1,1,1,1]>(r{i}, v{i})"]
        lines += [f"s{i} = Add(x{i - 1}, b{i})" if residual else f"s{i} = Identity(b{i})", f"x{i} = Relu(s{i})"]
    lines += [
        f"p = MaxPool<kernel_shape=[{side // 2},{side // 2}], strides=[{side // 2},{side // 2}]>(x{BLOCKS})",
        "f = Flatten(p)",
        "y = Gemm<transB=1>(f, w9)",
    ]
    return f"g (float[N,3,{side},{side}] x) => (float[N,6] y) {{ {' '.join(lines)} }}"


def network(side: int = 8, residual: bool = True, idle: int = 0) -> onnx.ModelProto:
    """`idle`: so many filters of each Conv are zero."""
    shapes: dict[str, tuple[int, ...]] = {"w0": (CHANNELS, 3, 3, 3), "w9": (6, 4 * CHANNELS)}
    shapes |= {f"{name}{i}": (CHANNELS, CHANNELS, 3, 3) for i in range(1, BLOCKS + 1) for name in "uv"}
    found: dict[str, Any] = {
        name: builders.normal(*shape, seed=i) / np.float32(np.sqrt(prod(shape[1:]) / 2))
        for i, (name, shape) in enumerate(shapes.items())
    }
    found |= {name: value * np.float32(0.5) for name, value in found.items() if name[0] == "v" and residual}
    if idle:
        found |= {name: np.concatenate([v[:-idle], 0 * v[-idle:]]) for name, v in found.items() if name != "w9"}
    return builders.proto(text(side, residual), **found)


def images(count: int = 128, side: int = 8) -> np.ndarray:
    return builders.normal(count, 3, side, side, seed=9)


def of_pass(result: Compressed, name: str = "fast") -> PassResult:
    return next(record.result for record in result.records if record.name == name)


@pytest.mark.parametrize("limit", [0.9, 0.7])
def test_a_limit_of_time_holds(limit: float) -> None:
    result = of_pass(compress(network(), f"fast:latency={limit}", data=images()))
    assert result.changed and result.metrics["latency_kept"] <= limit


def test_a_limit_in_milliseconds() -> None:
    found = of_pass(compress(network(), "fast:latency=0.12ms", data=images(64)))
    assert found.changed and any(note.startswith("latency=0.12ms is met") for note in found.notes)


def test_a_limit_of_measured_time(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By a clock by which Convs take time by their weights, and nothing else takes any."""
    in_int8 = set[bool]()

    def conv_times(conv: Geometry, batch: int, threads: int, int8: bool = False) -> list[float]:
        in_int8.add(int8)
        return [1e-6 * conv.macs, 1.0]

    monkeypatch.setattr(measured_latency, "conv_times", conv_times)
    monkeypatch.setattr(measured_latency, "kernel_times", lambda *_: [TimedKernel("a", "Conv", 1.0)])
    for pipeline, target, timed, said in (
        ("", "xavier", False, False),
        (",quantize", "xavier", False, True),
        (",quantize", "ort", True, False),
    ):
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"{target}{pipeline}"))
        in_int8.clear()
        spec = f"fast:latency=0.8:clock=measured{pipeline}"
        found = of_pass(compress(network(), spec, data=images(64), target=target))
        assert found.changed and found.metrics["latency_kept"] <= 0.8 and (True in in_int8) == timed
        assert any("times kernels in FP32" in note for note in found.notes) == said


def test_where_filters_save_nothing_it_is_depth() -> None:
    fast, depth = (compress(network(), f"{name}:latency=0.8", data=images()) for name in ("fast", "depth"))
    assert to_proto(fast.model).graph == to_proto(depth.model).graph
    assert "units_removed" not in of_pass(fast).metrics


def test_where_time_is_work_filters_go() -> None:
    proto = network(16, residual=False, idle=16)
    result = compress(proto, f"fast:latency=0.9:{SLOW}", data=images(64, 16))
    found = of_pass(result)
    assert found.metrics["units_removed"] > 0 and found.metrics["latency_kept"] <= 0.9
    saved = [float(d.figures["latency_saved"]) for d in found.decisions if "latency_saved" in d.figures]
    assert saved and all(0 < each < 1 for each in saved)
    x = images(32, 16)
    before, after = builders.run(proto, x=x)["y"], builders.run(result.model, x=x)["y"]
    assert np.linalg.norm(before - after) < 0.02 * np.linalg.norm(before)


def test_blocks_and_filters_are_compared_and_the_best_is_kept() -> None:
    proto = network(16, idle=16)
    found = of_pass(compress(proto, f"fast:latency=0.5:{SLOW}", data=images(64, 16)))
    assert found.metrics["latency_kept"] <= 0.5
    (note,) = (note for note in found.notes if "the outputs lose" in note)
    losses = [float(part.split()[0].rstrip(";")) for part in note.split("the outputs lose ")[1:]]
    assert len(losses) >= 2 and losses == sorted(losses)
    assert "filters pruned" in note.split("the outputs lose")[0]


def test_fits_of_a_trial_are_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    fits: list[object] = []

    def counted(gaps: Gaps, before: gs.Graph, ctx: Context, data: Data, *options: Any) -> Any:
        fits.append(data)
        return refit(gaps, before, ctx, data, *options)

    for module in ("depth", "depth_removal.strength"):
        monkeypatch.setattr(f"onnx_compress.passes.{module}.refit", counted)
    compress(network(), "fast:latency=0.8", data=images())
    assert len(fits) == 2 and len(set(map(id, fits))) == 2


@pytest.mark.parametrize("rule", ["agreement=0.7", "error=0.5"])
def test_a_quality_holds_on_held_out_samples(rule: str) -> None:
    found = of_pass(compress(network(), f"fast:{rule}", data=images(128)))
    name, value = rule.split("=")
    assert found.changed and found.metrics["latency_kept"] < 1
    assert found.metrics[name] >= float(value) if name == "agreement" else found.metrics[name] <= float(value)


def test_a_quality_that_nothing_keeps() -> None:
    result = compress(network(), "fast:error=0.001", data=images(128))
    assert not of_pass(result).changed
    assert of_pass(result).notes[0].startswith("error=0.001 cannot be reached")


def test_no_budget_and_no_data_do_nothing() -> None:
    found = of_pass(compress(network(), "fast"))
    assert not found.changed and "nothing is done" in found.notes[0]


def test_a_limit_without_data() -> None:
    found = of_pass(compress(network(), "fast:latency=0.8"))
    assert found.metrics["latency_kept"] <= 0.8
    assert any("no data" in note for note in found.notes)


def test_what_is_fast_enough_stays() -> None:
    found = of_pass(compress(network(), "depth:latency=0.7,fast:latency=0.8", data=images()))
    assert not found.changed and "is met before this pass" in found.notes[-1]


FIRE = """g (float[N,8,9,9] x) => (float[N,14,9,9] y) {
    a = Conv(x, w1) ra = Relu(a) b = Conv<pads=[1,1,1,1]>(x, w3) rb = Relu(b) y = Concat<axis=1>(ra, rb)
}"""


@pytest.mark.parametrize("budget", ["latency=0.9", "error=0.1"])
def test_convs_of_one_input_become_one_before_anything_is_lost(budget: str) -> None:
    before = builders.proto(FIRE, w1=builders.normal(6, 8, 1, 1, seed=1), w3=builders.normal(8, 8, 3, 3, seed=2))
    x = builders.normal(64, 8, 9, 9)
    result = compress(before, f"fast:{budget}", data=x)
    found = of_pass(result)
    assert [node.op for node in result.model.graph.nodes] == ["Conv", "Relu"]
    assert found.metrics["fused"] == 1 and found.metrics["latency_kept"] < 0.9
    assert {d.node: d.action for d in found.decisions} == {"Conv_0": "rewritten", "Conv_2": "rewritten"}
    np.testing.assert_allclose(builders.run(result.model, x=x)["y"], builders.run(before, x=x)["y"], atol=1e-4)


def test_fusing_can_be_switched_off() -> None:
    before = builders.proto(FIRE, w1=builders.normal(6, 8, 1, 1, seed=1), w3=builders.normal(8, 8, 3, 3, seed=2))
    with pytest.raises(CompressError, match=r"latency=0.9 cannot be reached"):
        compress(before, "fast:latency=0.9:fuse=false", data=builders.normal(64, 8, 9, 9))


def test_a_limit_that_cannot_be_reached() -> None:
    with pytest.raises(CompressError, match=r"latency=0.01 cannot be reached"):
        compress(network(residual=False), "fast:latency=0.01", data=images())


@pytest.mark.parametrize("option", ["macs=0.5", "latency=0.5:params=0.5", "agreement=0.9:objective=macs"])
def test_only_time_is_saved(option: str) -> None:
    with pytest.raises(CompressError, match="fast makes a network faster"):
        compress(network(), f"fast:{option}")


def test_a_target_without_times() -> None:
    with pytest.raises(CompressError, match="has no cost model"):
        compress(network(), "fast:agreement=0.9", data=images(), target="ort")


def test_the_same_seed_gives_the_same_bytes() -> None:
    first, second = (
        to_proto(compress(network(16, idle=8), f"fast:latency=0.7:{SLOW}", data=images(32, 16)).model) for _ in range(2)
    )
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_time_is_counted_as_the_pipeline_ends() -> None:
    result = compress(network(16), "fast:latency=0.8,quantize", data=images(64, 16))
    assert of_pass(result).metrics["latency_kept"] <= 0.8
    assert any(d.action == "quantized" for d in of_pass(result, "quantize").decisions)


def test_layers_that_are_left_alone() -> None:
    result = compress(network(16), f"fast:latency=0.8:{SLOW}", data=images(64, 16), exclude="Conv_7|Conv_9")
    touched = {d.node for d in of_pass(result).decisions if d.action in ("removed", "rewritten")}
    assert touched and touched.isdisjoint({"Conv_7", "Conv_9"})
