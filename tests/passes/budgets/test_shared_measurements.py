"""Runs that share what they measure write what runs alone write."""

from __future__ import annotations

from typing import Any

import builders
import numpy as np
import onnx
import pytest
from onnx_compress.compiler.graph.io import to_proto
from onnx_compress.compiler.pipeline.measurements import Measurements
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.compiler.pipeline.progress import silent
from onnx_compress.drivers.compress import compress

SIDE, CHANNELS, BLOCKS = 12, 16, 3
SLOW = "precision=fp32:power=10W"
"""A device on which smaller Convs take less time."""


def network() -> onnx.ModelProto:
    lines = ["t0 = Conv<pads=[1,1,1,1]>(x, w0)", "x0 = Relu(t0)"]
    for i in range(1, BLOCKS + 1):
        lines += [f"a{i} = Conv<pads=[1,1,1,1]>(x{i - 1}, u{i})", f"r{i} = Relu(a{i})"]
        lines += [f"b{i} = Conv<pads=[1,1,1,1]>(r{i}, v{i})", f"s{i} = Add(x{i - 1}, b{i})", f"x{i} = Relu(s{i})"]
    lines += [f"p = GlobalAveragePool(x{BLOCKS})", "f = Flatten(p)", "y = Gemm<transB=1>(f, w9)"]
    weights: dict[str, Any] = {"w0": builders.normal(CHANNELS, 3, 3, 3) / np.float32(3), "w9": builders.normal(6, 16)}
    for seed, name in enumerate(f"{letter}{i}" for i in range(1, BLOCKS + 1) for letter in "uv"):
        weights[name] = builders.normal(CHANNELS, CHANNELS, 3, 3, seed=seed) / np.float32(20)
    return builders.proto(f"g (float[N,3,{SIDE},{SIDE}] x) => (float[N,6] y) {{ {' '.join(lines)} }}", **weights)


def written(pipeline: str, measurements: Measurements | None) -> bytes:
    options = RunOptions(data=builders.normal(96, 3, SIDE, SIDE, seed=9))
    done = compress(network(), pipeline, options, silent, None, measurements=measurements)
    return to_proto(done.model).graph.SerializeToString(deterministic=True)


@pytest.mark.parametrize(
    ("method", "limits", "others"),
    [
        ("depth:{}", ("latency=0.9", "latency=0.7"), "blocks=1"),
        (f"prune:{{}}:{SLOW}", ("latency=0.9", "latency=0.8"), "macs=0.7"),
        ("basis:{}", ("macs=0.8", "macs=0.6"), "params=0.8"),
        (f"fast:{{}}:{SLOW}", ("latency=0.9", "latency=0.6"), "agreement=0.5"),
    ],
)
def test_limits_of_one_cost_share_what_is_measured(method: str, limits: tuple[str, ...], others: str) -> None:
    shared = Measurements()
    for limit in (*limits, others):
        pipeline = method.format(limit)
        assert written(pipeline, shared) == written(pipeline, None), pipeline
    assert len(vars(shared)["_found"]) == 2
