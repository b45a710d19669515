"""The file of measured times: what is written is read back, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress import CompressError
from onnx_compress.compiler.costs.layer_times import KEY, LayerTimes, TimedConv, read_layer_times
from onnx_compress.compiler.costs.workload import ConvWorkload

SIZES = st.integers(1, 4096)
WORKLOADS = st.builds(ConvWorkload, SIZES, SIZES, st.tuples(SIZES, SIZES), SIZES, SIZES, SIZES, batch=SIZES)
TIMED = st.builds(TimedConv, WORKLOADS, st.sampled_from(["fp32", "fp16", "int8"]), st.integers(1, 10**6).map(float))
TIMES = LayerTimes("xavier", "MAXN", (TimedConv(ConvWorkload(3, 16, (3, 3), 1, 64, 64), "int8", 0.25),), 0.5)


@given(st.lists(TIMED, max_size=4), st.sampled_from([None, "MAXN"]), st.integers(0, 9).map(float))
def test_what_is_written_is_read_back(tmp_path_factory: Any, convs: list[TimedConv], mode: str | None, others: float):
    times = LayerTimes("xavier", mode, tuple(convs), others)
    path = tmp_path_factory.mktemp("times") / "layers.json"
    path.write_text(json.dumps([{"count": 9, KEY: times.plain()}, {"name": "conv1", "averageMs": 1}]))
    assert read_layer_times(path) == times


def test_a_profile_of_trtexec_alone_does_not_know_its_convs(tmp_path: Path):
    path = tmp_path / "layers.json"
    for content in ("[]", "{}", "3", '[{"count": 9}, {"name": "conv1", "averageMs": 1}]', "no JSON"):
        path.write_text(content)
        with pytest.raises(CompressError, match="build --profile"):
            read_layer_times(path)
    with pytest.raises(CompressError, match="cannot be read"):
        read_layer_times(tmp_path / "none.json")


@pytest.mark.parametrize(
    "change",
    [
        {"others_ms": -1},
        {"others_ms": None},
        {"convs": [{}]},
        {"convs": 3},
        {"convs": [{**TIMES.plain()["convs"][0], "ms": 0}]},
        {"convs": [{**TIMES.plain()["convs"][0], "ms": float("nan")}]},
        {"convs": [{**TIMES.plain()["convs"][0], "precision": "int4"}]},
        {"convs": [{**TIMES.plain()["convs"][0], "channels_in": 0}]},
        {"convs": [{**TIMES.plain()["convs"][0], "kernel": []}]},
    ],
)
def test_times_that_cannot_be_are_refused(tmp_path: Path, change: dict[str, Any]):
    path = tmp_path / "layers.json"
    path.write_text(json.dumps([{KEY: TIMES.plain() | change}]))
    with pytest.raises(CompressError, match="holds no times of Convs"):
        read_layer_times(path)
