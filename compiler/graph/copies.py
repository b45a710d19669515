"""Copies of graphs.

`gs.Graph.copy` gives every subgraph a constant of its own for one that it reads from outside, or that another subgraph
reads too: whoever looks at the copy would take a shared weight for two.
"""

from __future__ import annotations

import onnx_graphsurgeon as gs


def copy_graph(graph: gs.Graph) -> gs.Graph:
    """A copy with its own nodes and tensors; what is one constant in `graph` is one in the copy, values are shared."""
    copy, known = graph.copy(), dict[int, gs.Tensor]()
    parts = zip((graph, *graph.subgraphs(recursive=True)), (copy, *copy.subgraphs(recursive=True)), strict=True)
    for part, copied in parts:
        places = [(part.outputs, copied.outputs)]
        places += [(node.inputs, other.inputs) for node, other in zip(part.nodes, copied.nodes, strict=True)]
        for tensors, others in places:
            for index, tensor in enumerate(tensors):
                if isinstance(tensor, gs.Constant) and known.setdefault(id(tensor), others[index]) is not others[index]:
                    others[index] = known[id(tensor)]
    return copy
