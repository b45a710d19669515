"""What a Conv, a chain in its place and a whole network cost, in every unit that a budget may have.

macs          multiply-accumulates of one sample                    } of the Convs
params        weights and biases                                    }
bytes         the model's file as it leaves the pass: the stored weights, and the nodes and names they come with
activations   bytes the Convs of one sample write                   (a figure of the report; no rewrite lowers it)
latency       milliseconds, where the target or a table of times has a price for a Conv
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cache

import onnx
import onnx_graphsurgeon as gs

from ...compiler.costs.network_cost import graph_cost
from ...compiler.costs.workload import ConvWorkload, LatencyModel, chain_costs, conv_workload
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
    """

    shapes: Shapes
    latency_model: LatencyModel | None = None
    timed: bool = False

    def geometry(self, conv: Conv) -> tuple[Hashable, ...]:
        """All that a price of `conv` and of its rewrites hangs on: everything but the values of its weight."""
        ends = (self.shapes.get(tensor.name) for tensor in (conv.input, conv.output))
        attrs = repr(sorted(conv.node.attrs.items()))
        return (conv.weight.shape, conv.dtype, conv.bias is None, attrs, len(conv.name), *ends)

    def dense(self, conv: Conv) -> Costs:
        return self.chain(conv, [conv_workload(conv, self.shapes)])

    def network(self, graph: gs.Graph) -> Costs:
        """The whole of `graph`, whose tensors have `shapes`."""
        cost = graph_cost(graph, self.shapes)
        workloads = [conv_workload(conv, self.shapes) for conv in find_convs(graph)]
        costs: Costs = {"macs": cost.macs, "params": cost.params, "bytes": graph_bytes(graph)}
        costs["activations"] = sum(workload.activations for workload in workloads)
        if self.latency_model is not None and self.timed:
            costs["latency"] = self.latency_model.graph(graph, self.shapes)
        return costs

    def chain(self, conv: Conv, workloads: Sequence[ConvWorkload]) -> Costs:
        """What stands in the place of `conv`."""
        stored = sum(workload.params * workload.itemsize for workload in workloads)
        known = conv.input.name in self.shapes and conv.output.name in self.shapes
        return {
            **chain_costs(workloads, self.latency_model if known else None),
            "bytes": stored + len(workloads) * structure_bytes(len(conv.name), len(conv.kernel)),
        }


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
