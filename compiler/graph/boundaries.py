"""The ends of blocks: where the inside of a network can be compared with that of another one.

1. A block ends where branches with a layer in them meet again: in a sum, a product or a Concat.
2. What a layer gives ends one, too, where all ways to an output of the network lead through it (`dominators`).

What is compared at an end is what it is before any activation, where all values have a direction: the sum of a layer,
not what a Relu makes of it. Concats are compared part by part, pools and the like by what they read. So x * sigmoid(x)
is compared by its x; but a gate that layers compute is an end of its own (rule 1).

    Conv a -> Relu -> Concat -> MaxPool -> ...        the end of a fire module: tensors (a, b)
    Conv b -> Relu ---^

Source for the place before the activation: Heo et al., "A comprehensive overhaul of feature distillation", ICCV 2019.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import onnx_graphsurgeon as gs

from .blocks import ACTIVATIONS, KEEPS_RANGE, SUMS
from .comparable import reads
from .dominators import DominatorTree
from .quantization.quantizable import is_layer

End = tuple[str, ...]
"""Names of the tensors that are compared at one end."""
PASSED = KEEPS_RANGE | ACTIVATIONS | {"Flatten", "Reshape", "Squeeze", "Unsqueeze", "Transpose"}


def block_ends(graph: gs.Graph, outputs: Iterable[str]) -> list[End]:
    """Of the main graph, in graph order, each once; the `outputs` themselves are none.

    Args:
        outputs: names of the tensors that the network is judged by.
    """
    search, last = _Search(graph), set(outputs)
    through = {above for name in last & set(search.tree.parents) for above in search.tree.above(name)}
    return [end for end in dict.fromkeys(search.ends(through)) if not last.issuperset(end)]


class _Search:
    def __init__(self, graph: gs.Graph):
        self.tree = DominatorTree(graph)
        self._graph, self._tensors = graph, graph.tensors()

    def ends(self, through: set[str]) -> Iterator[End]:
        """`through`: tensors that all ways to an output lead through."""
        for node in self._graph.nodes:
            if len(node.outputs) != 1 or node.outputs[0].name not in self.tree.parents:
                continue
            result = node.outputs[0]
            on_the_way = is_layer(node) and result.name in through
            if on_the_way or (self._branches(node) and self._joins(node)):
                yield tuple(dict.fromkeys(self._before(result)))

    def _branches(self, node: gs.Node) -> bool:
        return sum(tensor.name in self.tree.parents for tensor in node.inputs) > 1

    def _joins(self, node: gs.Node) -> bool:
        """Whether there is a layer between a node and where its branches begin."""
        first, waiting, seen = self.tree.parents[node.outputs[0].name], [node], set[int]()
        while waiting:
            here = waiting.pop()
            if is_layer(here) and here is not node:
                return True
            for tensor in reads(here):
                if tensor.name != first and tensor.name in self.tree.parents and id(tensor) not in seen:
                    seen.add(id(tensor))
                    waiting += tensor.inputs
        return False

    def _before(self, tensor: gs.Tensor) -> Iterator[str]:
        """The tensors that `tensor` is made of, before any activation."""
        node = tensor.inputs[0] if tensor.inputs else None
        if node is None or node.domain or node.op in SUMS:
            yield tensor.name
        elif node.op == "Concat":
            for part in node.inputs:
                yield from self._before(part) if part.name in self.tree.parents else ()
        elif node.op in PASSED:
            yield from self._before(node.inputs[0])
        elif self._branches(node) and self.tree.parents[tensor.name] and not self._joins(node):
            yield from self._before(self._tensors[self.tree.parents[tensor.name]])
        else:
            yield tensor.name
