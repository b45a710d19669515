"""The cost_model says what the network costs before its channels are removed."""

from __future__ import annotations

from collections.abc import Mapping

import builders
import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.compiler.costs.cost_model import device_latency_model
from onnx_compress.compiler.costs.network_cost import graph_cost
from onnx_compress.compiler.costs.workload import ConvWorkload, conv_workload
from onnx_compress.compiler.graph.channels import Channels, Group, find_channels, remove
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import Model
from onnx_compress.compiler.graph.rewriter import Rewriter
from onnx_compress.compiler.graph.shapes import Shapes, infer_shapes
from onnx_compress.compiler.targets import TARGETS
from onnx_compress.passes.pruning.cost_model import PRICED, PruningCostModel

TEXT = """g (float[N,4,16,16] x) => (float[N,4,h,w] y) {
    a = Conv<pads=[1,1,1,1]>(x, w1, b1)
    r = Relu(a)
    d = Conv<pads=[1,1,1,1], group=8, strides=[2,2]>(r, w2)
    c = Conv<pads=[1,1,1,1], group=2>(d, w3)
    y = Conv(c, w4)
}"""
PRICING = device_latency_model(TARGETS["xavier"], "fp16", "MAXN")


def network() -> tuple[Model, Channels, dict[Group, np.ndarray]]:
    shapes = {"w1": (8, 4, 3, 3), "b1": (8,), "w2": (8, 1, 3, 3), "w3": (12, 4, 3, 3), "w4": (4, 12, 1, 1)}
    model = builders.model(TEXT, **{name: builders.normal(*shape) for name, shape in shapes.items()})
    channels = find_channels(model.graph)
    rng = np.random.default_rng(0)
    orders = {group: rng.permutation(group.size) for group in channels.groups if group.frozen is None}
    return model, channels, orders


def every(orders: Mapping[Group, np.ndarray]) -> list[np.ndarray]:
    """Any number of units may go."""
    return [np.arange(len(order) + 1) for order in orders.values()]


@pytest.mark.parametrize("gone", [(0, 0), (1, 0), (2, 3), (3, 5)])
def test_costs_are_those_of_the_pruned_network(gone: tuple[int, int]) -> None:
    model, channels, orders = network()
    cost_model = PruningCostModel(
        model.graph, channels, infer_shapes(model.graph), orders, every(orders), PRICED, PRICING
    )
    for index, count in enumerate(gone):
        cost_model.move(index, count)
    kept = {group: np.sort(order[count:]) for (group, order), count in zip(orders.items(), gone, strict=True)}
    remove(channels, kept, Rewriter(model.graph))
    shapes = infer_shapes(model.graph)
    cost = graph_cost(model.graph, shapes)
    total = cost_model.total()
    assert (total["macs"], total["params"], total["bytes"]) == (cost.macs, cost.params, 4 * cost.params)
    assert PRICING is not None
    priced = sum(PRICING.conv(conv_workload(conv, shapes)) for conv in find_convs(model.graph))
    np.testing.assert_allclose(total["latency"], priced)


def test_a_curve_is_what_the_moves_along_it_cost() -> None:
    model, channels, orders = network()
    cost_model = PruningCostModel(model.graph, channels, infer_shapes(model.graph), orders, every(orders), ("macs",))
    cost_model.move(1, 2)
    curve, totals = cost_model.curve(0)["macs"], []
    for gone in range(len(curve)):
        cost_model.move(0, gone)
        totals.append(cost_model.total()["macs"])
    np.testing.assert_array_equal(np.diff(totals), np.diff(curve))


def test_groups_that_share_a_conv_are_neighbours() -> None:
    model, channels, orders = network()
    cost_model = PruningCostModel(model.graph, channels, infer_shapes(model.graph), orders, every(orders), ("macs",))
    assert cost_model.neighbours(0) == [0, 1]


def test_times_are_asked_for_where_units_may_go_alone() -> None:
    asked: list[ConvWorkload] = []

    class ByFilters:
        def conv(self, workload: ConvWorkload) -> float:
            asked.append(workload)
            return workload.channels_out

        def graph(self, graph: gs.Graph, shapes: Shapes) -> float:
            return 0.0

    model, channels, orders = network()
    sizes = [np.array([0, 2]), np.array([0, 4])]
    shapes = infer_shapes(model.graph)
    cost_model = PruningCostModel(model.graph, channels, shapes, orders, sizes, ("latency",), ByFilters())
    curve = cost_model.curve(0)["latency"]
    assert curve[1] == curve[0] > curve[2] == curve[3] and len(curve) == len(next(iter(orders.values()))) + 1
    assert len(asked) == 2 * 3, "the Conv, its depthwise follower and the one that reads it"
