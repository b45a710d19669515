"""A budget of bytes is kept by the file itself."""

from __future__ import annotations

from pathlib import Path

import builders
import numpy as np
import onnx
import pytest
from onnx_compress import compress
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.passes.budgets.budget import Budget, BudgetUnreachable
from onnx_compress.passes.budgets.file_size import file_bytes, rewrite_within

TEXT = "g (float[N,16,8,8] x) => (float[N,16,8,8] y) { a = Conv(x, w) b = Relu(a) y = Conv(b, v) }"
SHAPES = {"w": (16, 16, 1, 3), "v": (16, 16, 3, 1)}


def source(folder: Path, metadata: int = 0) -> Path:
    proto = builders.proto(TEXT, **{name: builders.normal(*shape) for name, shape in SHAPES.items()})
    if metadata:
        proto.metadata_props.add(key="classes", value="x" * metadata)
    onnx.save(proto, folder / "in.onnx")
    return folder / "in.onnx"


@pytest.mark.parametrize("target", ["xavier", "trt10", "ort"])
@pytest.mark.parametrize("share", [0.9, 0.8, 0.7])
@pytest.mark.parametrize("pipeline", ["basis", "prune"])
def test_the_written_file_keeps_it(pipeline, share, target, tmp_path):
    before = source(tmp_path)
    result = compress(before, f"{pipeline}:bytes={share}", target=target, output=tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").stat().st_size <= share * before.stat().st_size
    record = next(each for each in result.records if each.name == pipeline)
    assert record.result.metrics["bytes_kept"] <= share


def test_what_lies_beside_the_graph_counts(tmp_path):
    before = source(tmp_path, metadata=600)
    compress(before, "basis:bytes=0.9", output=tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").stat().st_size <= 0.9 * before.stat().st_size
    with pytest.raises(CompressError, match=r"bytes=0\.3 cannot be reached"):
        compress(before, "basis:bytes=0.3", output=tmp_path / "no.onnx")
    assert not (tmp_path / "no.onnx").exists()


def test_what_no_estimate_knows_of_is_made_up_for():
    graph = builders.model(TEXT, **{name: builders.normal(*shape) for name, shape in SHAPES.items()}).graph
    tried: list[float] = []

    def rewrite(budget: Budget) -> dict[str, float]:
        """Adds a weight so that the file takes 0.05 more than it counts."""
        tried.append(budget.limits["bytes"])
        size = int((tried[-1] + 0.05) * 40_000 - before) // 4
        Rewriter(graph).set_weight(graph.nodes[1], 1, builders.normal(size))
        return {"bytes": tried[-1]}

    before = file_bytes(graph, Context())
    weighed = rewrite_within(graph, Context(), Budget({"bytes": 0.5}), {"bytes": 40_000}, rewrite)
    assert tried[0] == 0.5
    assert len(tried) == 2
    assert weighed["bytes"] == file_bytes(graph, Context()) / 40_000 <= 0.5


@pytest.mark.parametrize("pipeline", ["basis", "sbf", "prune"])
def test_biases_that_a_fit_adds_count(pipeline, tmp_path):
    """The Convs come without, and those that stay dense are fitted, too."""
    weights = {name: builders.normal(*shape) for name, shape in SHAPES.items()}
    text = TEXT.replace("y = Conv(b, v)", "c = Conv(b, u) d = Relu(c) y = Conv(d, v)")
    before = builders.proto(text, **weights, u=builders.normal(16, 16, 1, 1))
    data = builders.normal(64, 16, 8, 8)
    allowed = 0.8 * sum(tensor.dims[0] * np.prod(tensor.dims[1:]) for tensor in before.graph.initializer)
    found = compress(before, f"{pipeline}:params=0.8", data=data)
    assert found.report["after"]["params"] <= allowed
    record = next(each for each in found.records if each.name == pipeline)
    assert record.result.metrics["params_kept"] <= 0.8


def test_a_weight_that_subgraphs_share_is_weighed_once(tmp_path):
    text = """g (float[N,16,8,8] x, bool c) => (float[N,16,8,8] y) {
        a = Conv<pads=[1,1,1,1]>(x, w)
        b = If(c) <then_branch = then () => (float[N,16,8,8] t) { t = Conv<pads=[1,1,1,1]>(a, v) },
                   else_branch = other () => (float[N,16,8,8] e) { d = Conv<pads=[1,1,1,1]>(a, v) e = Neg(d) }>
        y = Conv<pads=[1,1,1,1]>(b, v)
    }"""
    before = tmp_path / "in.onnx"
    shape = (16, 16, 3, 3)
    onnx.save(builders.proto(text, w=builders.normal(*shape), v=builders.normal(*shape)), before)
    compress(before, "basis:bytes=0.7", output=tmp_path / "out.onnx")
    assert (tmp_path / "out.onnx").stat().st_size <= 0.7 * before.stat().st_size


def test_what_cannot_be_kept_is_refused_with_the_nearest():
    graph = builders.model(TEXT, **{name: builders.normal(*shape) for name, shape in SHAPES.items()}).graph
    whole = file_bytes(graph, Context())
    with pytest.raises(BudgetUnreachable, match=r"bytes=0\.5 cannot be reached .*bytes=1\.000"):
        rewrite_within(graph, Context(), Budget({"bytes": 0.5}), {"bytes": whole}, lambda budget: {"bytes": 0.9})


def test_a_file_that_outgrows_the_budget_later_says_so(tmp_path):
    """For this target weights stay in float, with pairs beside them."""
    result = compress(source(tmp_path), "basis:bytes=0.8,quantize:balance=none", target="xavier")
    share = result.report["after"]["bytes"] / result.report["before"]["bytes"]
    assert share > 0.8
    assert result.report["notes"][0].startswith("bytes=0.8 was kept by basis, but the file written has")
