from __future__ import annotations

import json
from typing import Any, cast

import numpy as np
from onnx_compress.compiler.base import Decision, PassRecord, PassResult
from onnx_compress.compiler.report import Report, pass_report, to_json


def test_decisions_name_the_node_of_the_input_model():
    result = PassResult(True, [Decision("conv.basis", "rewritten", figures={"size": np.int64(3)})])
    entry = pass_report(PassRecord(1, "basis", "basis:macs=0.5", result), {"conv.basis": "conv"})
    assert entry["decisions"][0]["origin"] == "conv"


def test_json_holds_what_json_can_hold():
    values: dict[str, Any] = {"a": np.float32(0.5), "b": float("nan"), "c": np.inf, "d": (np.int64(1), True, None)}
    assert json.loads(to_json(cast("Report", values))) == {"a": 0.5, "b": None, "c": None, "d": [1, True, None]}
