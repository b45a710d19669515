"""Rules about pooling.

Where no other source is given: onnx-tensorrt 8.5-GA, poolingHelper.
"""

from __future__ import annotations

from .node import Node
from .rule import TENSORRT, Problem, Problems, node_rule

POOLS = "AveragePool MaxPool LpPool"


@node_rule("pool-rank", POOLS, targets=TENSORRT, source="poolingHelper, 8.0 to 10")
def pool_rank(node: Node) -> Problems:
    """Pooling is 2-D or 3-D; the parser makes 2-D of 1-D, though the operator matrix does not say so."""
    size = node.attribute("kernel_shape", [])
    if len(size) > 3:
        yield Problem(f"{len(size)}-D pooling; TensorRT has 2-D and 3-D", "reshape the data, or pool in two steps")


@node_rule("pool-dilations", POOLS, targets=TENSORRT, source="poolingHelper; onnx-tensorrt 10.16 docs/operators.md")
def pool_dilations(node: Node) -> Problems:
    """Pooling has no dilations."""
    if any(step != 1 for step in node.attribute("dilations", [])):
        yield Problem(f"dilations={node.attribute('dilations')}", "only 1 is known; rewrite it with Slice and Max")


@node_rule("pool-indices", "MaxPool", targets=TENSORRT, source="importer of MaxPool")
def pool_indices(node: Node) -> Problems:
    """MaxPool gives no indices."""
    if len(node.proto.output) > 1:
        yield Problem("it has the output Indices", "keep the first output only")


RULES = (
    pool_rank,
    pool_dilations,
    pool_indices,
)
