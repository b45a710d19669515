"""Reports to look at: of a small run with every pass that leaves something to draw."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import builders
import front
import numpy as np
import onnx
from onnx_compress import compress
from onnx_compress.compiler.report import Report, to_json
from onnx_compress.compiler.report.loading import checked

HOSTILE = "a\"'><script>alert(1)</script>&amp;"
PIPELINE = "basis:macs=0.6:sensitivity=output,quantize"


def hostile() -> onnx.ModelProto:
    """Two Convs, one of which has a name that no page should take literally."""
    graph = """g (float[N,3,8,8] x) => (float[N,7] y) {
        t = Conv<pads=[1,1,1,1]>(x, w)
        r = Relu(t)
        s = Conv<pads=[1,1,1,1]>(r, u)
        p = GlobalAveragePool(s)
        f = Flatten(p)
        y = Gemm<transB=1>(f, v)
    }"""
    weights = {"w": (16, 3, 3, 3), "u": (16, 16, 3, 3), "v": (7, 16)}
    proto = builders.proto(graph, **{name: builders.normal(*shape) for name, shape in weights.items()})
    proto.graph.node[0].name, proto.graph.node[2].name = HOSTILE, "plain"
    return proto


@lru_cache
def text() -> str:
    """The JSON report of a run over the hostile network."""
    data = {"data": front.images(96), "labels": np.zeros(96, int), "preprocess": "unit"}
    return to_json(compress(hostile(), PIPELINE, command="onnx-compress <b>", **data).report)


def report() -> Report:
    """A copy to change; a search and a training are added to what was run."""
    value: dict[str, Any] = json.loads(text())
    metrics = {"loss_1": 0.5, "loss_2": 0.25, "loss_10": 0.2, "divergence_1": 0.9, "divergence_2": 0.95, "loss_x": 3}
    value["passes"][3]["metrics"] |= metrics
    tried = [{"macs": macs, "value": 0.9 + macs / 20, "bound": 0.9, "passed": macs > 0.5} for macs in (0.6, 0.4)]
    value["passes"][3]["traces"]["searches"] = [{"rule": "agreement", "allowed": 0.92, "tried": tried}]
    return checked(value, "report")
