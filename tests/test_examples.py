"""The decomposition of examples/depthwise_separable.py: any weight at full size, its costs, its budget, its outputs."""

from __future__ import annotations

import json
from pathlib import Path

import builders
import front
import numpy as np
import onnx
import pytest
from onnx_compress import Rewriter, find_convs
from onnx_compress.compiler.costs.network_cost import graph_cost
from onnx_compress.compiler.costs.workload import chain_costs
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.pipeline.registry import load_file
from onnx_compress.passes.decomposition.forms import emit
from onnx_compress.passes.fitting.fits import plain_fits

FORM = load_file(Path(front.DEPTHWISE_SEPARABLE)).DepthwiseSeparableForm()
CONVS = {
    "plain": (6, (3, 3), "pads=[1,1,1,1]"),
    "more filters than taps": (12, (3, 3), "pads=[1,1,1,1]"),
    "strided": (6, (3, 3), "pads=[1,1,1,1], strides=[2,2]"),
    "dilated": (6, (3, 3), "pads=[2,2,2,2], dilations=[2,2]"),
    "same upper": (6, (3, 2), 'auto_pad="SAME_UPPER", strides=[2,1]'),
    "1-D": (6, (5,), "pads=[2,2]"),
}


def one_conv(case: str) -> Model:
    filters, kernel, attrs = CONVS[case]
    size, out = ",".join(["11"] * len(kernel)), ",".join("hw"[: len(kernel)])
    text = f"g (float[N,4,{size}] x) => (float[N,{filters},{out}] y) {{ y = Conv<{attrs}>(x, w, b) }}"
    return builders.model(text, w=builders.normal(filters, 4, *kernel), b=builders.normal(filters, seed=1))


def images(case: str) -> np.ndarray:
    return builders.normal(2, 4, *[11] * len(CONVS[case][1]), seed=2)


@pytest.mark.parametrize("case", CONVS)
def test_full_size_changes_nothing(case: str) -> None:
    model, x = one_conv(case), images(case)
    (conv,) = find_convs(model.graph)
    before, projection = builders.run(model, x=x)["y"], FORM.project(conv, plain_fits(conv), FORM.limit(conv))
    emit(Rewriter(model.graph), conv, projection.factors, conv.bias)
    assert [node.op for node in model.graph.nodes] == ["Conv", "Conv"]
    np.testing.assert_allclose(builders.run(model, x=x)["y"], before, atol=1e-4)


@pytest.mark.parametrize("case", CONVS)
def test_a_size_costs_loses_and_computes_what_it_promises(case: str) -> None:
    model, dense, x = one_conv(case), one_conv(case), images(case)
    (conv,), (other,) = find_convs(model.graph), find_convs(dense.graph)
    (fit,), costs = plain_fits(conv), chain_costs(FORM.workloads(conv, 2, infer_shapes(model.graph)))
    projection = FORM.project(conv, [fit], 2)
    curve = FORM.curve(conv, [fit], FORM.limit(conv))
    assert len(curve) == FORM.limit(conv) + 1 and np.all(np.diff(curve) < 0) and abs(curve[-1]) < 1e-9 * curve[0]
    assert curve[2] == pytest.approx(fit.lost(projection.dense[0]))
    emit(Rewriter(model.graph), conv, projection.factors, conv.bias)
    other.store(Rewriter(dense.graph), projection.dense[0], other.bias)
    cost = graph_cost(model.graph, infer_shapes(model.graph))
    assert (cost.macs, cost.params) == (costs["macs"], costs["params"])
    np.testing.assert_allclose(builders.run(model, x=x)["y"], builders.run(dense, x=x)["y"], atol=1e-4)


def test_it_is_a_plug_in_that_meets_a_budget_on_the_sample_network(place: Path) -> None:
    pipeline, data = "depthwise-separable:macs=0.7", ("--data", "models/cifar10_sample.npz#train_images")
    options = ("--plugin", front.DEPTHWISE_SEPARABLE, "-p", pipeline, *data, "--samples", 64, "--preprocess", "cifar10")
    written = ("-o", "small.onnx", "--report", "small.json", "-q")
    assert front.call("models/resnet20_cifar10.onnx", *options, *written) == 0
    report = json.loads(Path("small.json").read_text())
    assert 0.69 < report["after"]["macs"] / report["before"]["macs"] <= 0.7
    assert report["quality"]["agreement"] > 0.9
    names = [node.name for node in onnx.load("small.onnx").graph.node if node.op_type == "Conv"]
    assert {"depthwise", "pointwise"} <= {name.rpartition(".")[2] for name in names}
