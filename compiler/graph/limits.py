"""What tensors of a small file may grow to, found from shapes before anything is computed.

1. A tensor has at most `ELEMENTS`, which is what engines count in.
2. What depends on constants alone is computed when the network is loaded, by this tool as by engines. All of it may
   take `BYTES`, or `TIMES` what the file stores.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import prod

import onnx_graphsurgeon as gs

from ..errors import CompressError
from .comparable import mark
from .shapes import infer_shapes
from .weights import stored_tensors

BYTES = 2**31
"""VGG-19 whose weights are written as ConstantOfShape takes a quarter of it."""
TIMES = 32
ELEMENTS = 2**31 - 1
MAKERS = frozenset({"ConstantOfShape", "Expand", "Tile", "Range", "Pad", "Resize", "OneHot", "EyeLike", "Upsample"})
"""Operators whose inputs are small and whose outputs need not be."""


def check_elements(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a tensor that no engine can hold."""
    for name, shape in shapes.items():
        if prod(shape) > ELEMENTS:
            sizes = " x ".join(map(str, shape))
            what = f"{sizes} are more than the {ELEMENTS} elements that engines can count"
            raise CompressError(what, f"tensor '{name}'", "export the network for smaller inputs")


def check_constants(graph: gs.Graph, shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuse a model that computes far more from its constants than it stores; a size that is not known counts nothing.

    Args:
        shapes: as far as ONNX's inference knows them; 0 for an unknown dimension.
    """
    varying = mark(graph).varying
    nodes = [n for n in graph.nodes if n.op != "Constant" and not any(t.name in varying for t in n.outputs)]
    if any(node.op in MAKERS and not prod(shapes.get(node.outputs[0].name, (0,))) for node in nodes):
        shapes = {**shapes, **infer_shapes(graph)}
    stored = sum(map(_bytes, stored_tensors(graph).values()))
    total, limit = 0, max(BYTES, TIMES * stored)
    for node in nodes:
        total += sum(4 * prod(shapes.get(tensor.name, (0,))) for tensor in node.outputs)
        if total > limit:
            raise CompressError(
                f"constants that the network computes take {total >> 20} MiB here, more than {limit >> 20}",
                f"node '{node.name}'",
                "store them, or export the network again",
            )


def _bytes(tensor: gs.Constant) -> int:
    return prod(tensor.shape) * getattr(tensor.dtype, "itemsize", 1)
