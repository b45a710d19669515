"""Measured times beside the decisions of a report."""

from __future__ import annotations

import json
from pathlib import Path

import front
import pytest
from onnx_compress import CompressError, compress
from onnx_compress.compiler.report import MeasuredReport
from onnx_compress.runtime.tensorrt.measured import add_engine


def engine(network: str = "after") -> MeasuredReport:
    figures = {"ms": 1.0, "watts": None, "idle_watts": None, "mj": None, "mj_above_idle": None}
    return MeasuredReport(network=network, mode=None, precision="int8", tensorrt="8.5.2", rails={}, **figures)


def test_a_rewritten_conv_has_the_time_of_its_factors(tmp_path: Path):
    path = tmp_path / "run.json"
    result = compress(front.classifier(), "basis:rank=4,quantize", report=path)
    convs = [node.name for node in result.graph.nodes if node.op == "Conv"]
    assert len(convs) == 2
    add_engine(path, engine("before"), {"Conv_0": 2.0})
    add_engine(path, engine(), dict(zip(convs, (0.25, 0.5), strict=True)))
    report = json.loads(path.read_text())
    assert [each["network"] for each in report["measured"]] == ["before", "after"]
    decisions = {
        (entry["name"], decision["node"]): [decision["figures"].get(f"measured{when}_ms") for when in ("_before", "")]
        for entry in report["passes"]
        for decision in entry["decisions"]
        if decision["action"] in ("rewritten", "quantized")
    }
    assert decisions[("basis", "Conv_0")] == [2.0, 0.75]
    assert [decisions[("quantize", name)] for name in convs] == [[2.0, 0.25], [2.0, 0.5]]


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_another_file_is_refused(tmp_path: Path, content: str):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(CompressError, match=r"--report wrote"):
        add_engine(tmp_path / "run.json", engine(), {})
    assert (tmp_path / "run.json").read_text() == content
