"""What a Conv, a chain in its place and a whole network cost, in every unit that a budget may have.

macs          multiply-accumulates of one sample                    } of the Convs (`network_cost`)
params        weights and biases                                    }
bytes         the model's file as it leaves the pass: the stored weights, and the nodes and names they come with
activations   bytes the Convs of one sample write                   (a figure of the report; no rewrite lowers it)
latency       milliseconds, where the target or a table of times has a price for a Conv
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cache

import onnx
import onnx_graphsurgeon as gs

from ...compiler.costs.network_cost import graph_cost
from ...compiler.costs.workload import ConvWorkload, LatencyModel, chain_costs, conv_workload, total
from ...compiler.graph.convs import Conv, find_convs
from ...compiler.graph.shapes import Shapes
from ...compiler.graph.weightless import graph_bytes

Costs = dict[str, float]
SUFFIX = len(".horizontal")
TENSOR = 24  # an initializer without its name and values; a name and type in the list of tensors


@dataclass(frozen=True, eq=False)
class CostEvaluator:
    """Prices of the Convs of one graph.

    Attributes:
        latency_model: of latency; a Conv has one where its shapes are known.
        timed: the network has one, too.
        others: models by which a rewrite has to be `faster`, too.
    """

    shapes: Shapes
    latency_model: LatencyModel | None = None
    timed: bool = False
    others: Sequence[LatencyModel] = ()

    def geometry(self, conv: Conv) -> tuple[Hashable, ...]:
        """All that a price of `conv` and of its rewrites hangs on: everything but the values of its weight."""
        return (conv.weight.shape, conv.dtype, conv.bias is None, *map(self._place, conv.uses))

    def _place(self, use: Conv) -> Hashable:
        ends = (self.shapes.get(tensor.name) for tensor in (use.input, use.output))
        return (repr(sorted(use.node.attrs.items())), len(use.name), *ends)

    def dense(self, conv: Conv) -> Costs:
        return self.rewritten(conv, lambda use: [conv_workload(use, self.shapes)])

    def rewritten(self, conv: Conv, chain: Callable[[Conv], Sequence[ConvWorkload]]) -> Costs:
        """What stands in the place of `conv`: in that of every use its own `chain`, over the same stored weights."""
        chains = [chain(use) for use in conv.uses]
        costs = [self._chain(use, each) for use, each in zip(conv.uses, chains, strict=True)]
        total = {unit: sum(each[unit] for each in costs) for unit in costs[0] if all(unit in each for each in costs)}
        again = (len(chains) - 1) * _stored(chains[0])
        return {**total, "params": costs[0]["params"], "bytes": total["bytes"] - again}

    def faster(self, conv: Conv, chain: Callable[[Conv], Sequence[ConvWorkload]]) -> bool:
        """Whether what stands in the place of a Conv whose shapes are known takes less time by each of `others`."""

        def saved(price: Callable[[ConvWorkload], float], use: Conv) -> float:
            return price(conv_workload(use, self.shapes)) - sum(map(price, chain(use)))

        return all(sum(saved(model.conv, use) for use in conv.uses) > 0 for model in self.others)

    def network(self, graph: gs.Graph) -> Costs:
        """The whole of `graph`, whose tensors have `shapes`; without what cannot be counted, since a shape is unknown.

        `UnknownShape` where that is the latency of a network that is timed.
        """
        cost = graph_cost(graph, self.shapes)
        written = total(conv_workload(conv, self.shapes).activations for conv in find_convs(graph))
        costs: Costs = {"params": cost.params, "bytes": graph_bytes(graph)}
        if cost.macs is not None and written is not None:
            costs |= {"macs": cost.macs, "activations": written}
        if self.latency_model is not None and self.timed:
            costs["latency"] = self.latency_model.graph(graph, self.shapes)
        return costs

    def _chain(self, conv: Conv, workloads: Sequence[ConvWorkload]) -> Costs:
        """What stands in the place of one use."""
        known = conv.input.name in self.shapes and conv.output.name in self.shapes
        structure = len(workloads) * structure_bytes(len(conv.name), len(conv.kernel))
        costs = chain_costs(workloads, self.latency_model if known else None)
        return {**costs, "bytes": _stored(workloads) + structure}


def _stored(workloads: Sequence[ConvWorkload]) -> int:
    return sum(workload.params * workload.itemsize for workload in workloads)


@cache
def structure_bytes(letters: int, rank: int) -> int:
    """What one Conv of a chain adds to the file beside its values: a node, names, attributes.

    Args:
        letters: of the name of the Conv in whose place the chain stands.
        rank: of its kernel.
    """
    name, ones = "n" * (letters + SUFFIX), [1] * rank
    tensors = [f"{name}.weight", f"{name}.bias", f"{name}.output"]
    node = onnx.helper.make_node("Conv", [tensors[2], *tensors[:2]], tensors[2:], name)
    spatial = {"kernel_shape": ones, "strides": ones, "dilations": ones, "pads": ones * 2, "group": 1}
    node.attribute.extend(onnx.helper.make_attribute(key, value) for key, value in spatial.items())
    return node.ByteSize() + sum(len(tensor) + TENSOR for tensor in tensors)
