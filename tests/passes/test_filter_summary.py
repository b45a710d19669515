"""Filter summaries: exact at ratio 1, fitted starts no worse than even ones, and the graph equals its dense weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import builders
import numpy as np
import pytest
from builders import Images
from drawn import Drawn, convs
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx_compress.compiler.costs.network_cost import graph_cost
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.graph.storage.segments import SegmentVector, rebuild_segments
from onnx_compress.compiler.pipeline.base import PassResult
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.compiler.pipeline.options import RunOptions
from onnx_compress.passes.filter_summary import FilterSummary

LOCATIONS = st.sampled_from(["fit", "learned"])


def apply(model: Model, entry: FilterSummary, data: Images | None = None, target: str = "ort") -> PassResult:
    result = entry.run(model.graph, Context(RunOptions(target=target), data=data))
    model.graph.cleanup()
    check_graph(model)
    return result


def error(model: Model, reference: Model, x: np.ndarray) -> float:
    got, wanted = builders.run(model, x=x)["y"], builders.run(reference, x=x)["y"]
    return float(np.linalg.norm(got - wanted) / np.linalg.norm(wanted))


def one_conv() -> Model:
    return Drawn((16, 8, 3, 3), "pads=[1,1,1,1]", 8, 8, 0).model()


@settings(max_examples=20, deadline=None)
@given(convs(), st.sampled_from([1.0, 1.5, 3.0]), st.sampled_from([8, 32]), LOCATIONS, st.booleans())
def test_the_graph_equals_its_dense_weight(
    drawn: Drawn, ratio: float, bits: int, locations: Literal["fit", "learned"], with_data: bool
) -> None:
    models = drawn.model(), drawn.model()
    for model, storage in zip(models, ("shared", "full"), strict=True):
        entry = FilterSummary(ratio=ratio, bits=bits, storage=storage, locations=locations)
        apply(model, entry, Images(drawn.x(8)) if with_data else None)
    assert error(*models, drawn.x()) < 1e-4


@settings(max_examples=10, deadline=None)
@given(convs(), LOCATIONS, st.booleans())
def test_ratio_1_changes_nothing(drawn: Drawn, locations: Literal["fit", "learned"], with_data: bool) -> None:
    model = drawn.model()
    entry = FilterSummary(ratio=1, storage="shared", locations=locations)
    apply(model, entry, Images(drawn.x(8)) if with_data else None)
    assert error(model, drawn.model(), drawn.x()) < 1e-4


def test_fitted_starts_lose_less_and_both_are_reported() -> None:
    result = apply(one_conv(), FilterSummary(ratio=3), Images(Drawn((16, 8, 3, 3), "", 8, 8, 0).x(32)))
    figures = result.decisions[0].figures
    assert figures["lost"] < figures["even_lost"]
    assert figures["length"] == 16 * 72 // 3
    assert any("destroyed" in note for note in result.notes)


def test_starts_between_elements_lose_less() -> None:
    data = Images(Drawn((16, 8, 3, 3), "", 8, 8, 0).x(32))
    for scales in ("filter", "none"):
        entry = FilterSummary(ratio=3, scales=scales)
        whole, between = (
            apply(one_conv(), replace(entry, locations=locations), data).decisions[0].figures["lost"]
            for locations in ("fit", "learned")
        )
        assert between < whole


def test_eight_bits_cost_little() -> None:
    wide, narrow = (apply(one_conv(), FilterSummary(ratio=2, bits=bits)).decisions[0].figures for bits in (32, 8))
    assert narrow["lost"] < wide["lost"] + 1e-3


def test_what_is_stored_is_the_vector_starts_and_scales() -> None:
    model = one_conv()
    apply(model, FilterSummary(ratio=4))
    stored = graph_cost(model.graph, infer_shapes(model.graph)).params
    assert stored == 16 * 72 // 4 + 16 + 2 * 16 + 16 + 9  # scales, starts, bias; range (3), 256, length, shape (4)
    assert max(t.values.size for t in model.graph.tensors().values() if t.dtype in (np.uint8, np.int32)) == 16


def test_starts_beyond_16_bits_and_bytes() -> None:
    model = builders.model(
        "g (float[N,2,8,8] x) => (float[N,3,6,6] y) { y = Conv(x, w) }", w=builders.normal(3, 2, 3, 3)
    )
    codes = np.random.default_rng(0).integers(0, 256, 70_000).astype(np.uint8)
    starts = np.array([0, 69_990, 66_000])
    rewriter, conv = Rewriter(model.graph), builders.node(model.graph, "Conv")
    rebuild_segments(
        rewriter,
        conv,
        SegmentVector(codes, np.array(0.1, np.float32), np.array(-12.8, np.float32)),
        starts,
        (3, 2, 3, 3),
    )
    check_graph(model)
    weight = 0.1 * codes[(starts[:, None] + np.arange(18)) % 70_000].astype(np.float32) - np.float32(12.8)
    dense = builders.model(
        "g (float[N,2,8,8] x) => (float[N,3,6,6] y) { y = Conv(x, w) }", w=weight.reshape(3, 2, 3, 3)
    )
    assert error(model, dense, builders.normal(2, 2, 8, 8)) < 1e-5


def test_left_alone_and_folded() -> None:
    small = builders.model(
        "g (float[N,1,8,8] x) => (float[N,4,6,6] y) { y = Conv(x, w) }", w=builders.normal(4, 1, 3, 3)
    )
    result = apply(small, FilterSummary())
    assert not result.changed
    assert "no smaller" in result.decisions[0].reason
    model = one_conv()
    notes = apply(model, FilterSummary(), target="xavier").notes
    assert [node.op for node in model.graph.nodes] == ["Conv"]
    assert any("constants" in note for note in notes)


def test_options() -> None:
    for options in ({"ratio": 0.5}, {"bits": 4}):
        with pytest.raises(ValueError, match=next(iter(options))):
            FilterSummary(**options)
