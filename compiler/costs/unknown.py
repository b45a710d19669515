"""Costs that cannot be counted, since a shape is not known: which one, and what would make it known."""

from __future__ import annotations

import onnx_graphsurgeon as gs

from ..errors import Unavailable
from ..graph.shapes import Shapes

OTHERWISE = "budget by params= or bytes="
UNTIMED = "budget by macs=, params= or bytes="


class UnknownShape(Unavailable):
    """A cost hangs on a shape that neither the rules of ONNX nor a run tell."""


def unknown_shape(graph: gs.Graph, shapes: Shapes, tensor: gs.Tensor, otherwise: str = OTHERWISE) -> UnknownShape:
    """The error for `tensor`, which `shapes` lacks; it names the node or the input that the shape hangs on."""
    inputs = {id(each) for each in graph.inputs}
    source, seen = tensor, set[int]()
    while id(source) not in inputs and source.inputs and id(source) not in seen:
        seen.add(id(source))
        unknown = [each for each in source.inputs[0].inputs if not each.is_empty() and not _is_known(each, shapes)]
        if not unknown:
            break
        source = unknown[0]
    if id(source) in inputs:
        what = f"the size of input '{source.name}' is open"
        return UnknownShape(what, "", f"give --data or --shapes {source.name}:{_to_fill(source)}, or {otherwise}")
    maker = f" behind {source.inputs[0].op} '{source.inputs[0].name}'" if source.inputs else ""
    return UnknownShape(f"the shape of '{source.name}'{maker} is not known", "", otherwise)


def size(tensor: gs.Tensor, shapes: Shapes) -> tuple[int, ...] | None:
    """The shape of a tensor, or None."""
    if tensor.name in shapes:
        return shapes[tensor.name]
    return tuple(tensor.shape) if isinstance(tensor, gs.Constant) else None


def _to_fill(source: gs.Tensor) -> str:
    """The sizes of an input, with ? for those that are open: 1x3x?x?"""
    dims = source.shape or ["?"]
    sizes = [str(dim) if isinstance(dim, int) and dim > 0 else "?" for dim in dims]
    return "x".join(["1" if sizes[0] == "?" and len(sizes) > 1 else sizes[0], *sizes[1:]])


def _is_known(tensor: gs.Tensor, shapes: Shapes) -> bool:
    return size(tensor, shapes) is not None
