"""Measured times beside the decisions of a report."""

from __future__ import annotations

import json
from pathlib import Path

import front
import pytest
from onnx_compress import CompressError, compress
from onnx_compress.runtime.tensorrt.measured import add_times


def test_a_rewritten_conv_has_the_time_of_its_factors(tmp_path: Path):
    path = tmp_path / "run.json"
    result = compress(front.classifier(), "basis:rank=4,quantize", report=path)
    convs = [node.name for node in result.graph.nodes if node.op == "Conv"]
    assert len(convs) == 2
    assert add_times(path, dict(zip(convs, (0.25, 0.5), strict=True))) == 3
    decisions = {
        (entry["name"], decision["node"]): decision["figures"].get("measured_ms")
        for entry in json.loads(path.read_text())["passes"]
        for decision in entry["decisions"]
        if decision["action"] in ("rewritten", "quantized")
    }
    assert decisions[("basis", "Conv_0")] == 0.75
    assert [decisions[("quantize", name)] for name in convs] == [0.25, 0.5]


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_another_file_is_refused(tmp_path: Path, content: str):
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(CompressError, match=r"--report wrote"):
        add_times(tmp_path / "run.json", {})
    assert (tmp_path / "run.json").read_text() == content
