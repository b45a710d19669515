"""Operators whose form or meaning changed, one adapter each; see the package's docstring.

Reduce*     18  axes: an input instead of an attribute; an empty one may mean "reduce nothing"
Split       18  num_outputs: the last part may be smaller
Pad         18  axes: a fourth input
Resize      18  axes: sizes and scales for some of them only
Shape       15  start, end: a part of the shape
Reshape     14  allowzero: 0 means an empty dimension
GridSample  20  modes are called linear and cubic instead of bilinear and bicubic
RoiAlign    16  coordinates are shifted by half a pixel
DFT         20  axis: an input instead of an attribute
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_graphsurgeon as gs

from ..rewriter import Rewriter
from ..weights import resolve

Shapes = Mapping[str, tuple[int | None, ...]]
LAST = np.iinfo(np.int64).max
MODES = {"linear": "bilinear", "cubic": "bicubic"}


@dataclass(frozen=True)
class Adapter:
    """Rewrites nodes of an operator for opsets before `version`.

    `rewrite` edits the node in place, and returns why it cannot, or None.
    """

    version: int
    rewrite: Callable[[gs.Node, Rewriter, Shapes], str | None]


def _reduce(node: gs.Node, rewriter: Rewriter, shapes: Shapes) -> str | None:
    keeps_all = bool(node.attrs.pop("noop_with_empty_axes", 0))
    axes = _constant(node, 1)
    if axes is None and _has_input(node, 1):
        return "its axes are computed"
    if (axes is None or axes.size == 0) and keeps_all:
        return "it reduces nothing"
    if axes is not None and axes.size:
        node.attrs["axes"] = [int(axis) for axis in axes.reshape(-1)]
    node.inputs = list(node.inputs)[:1]
    return None


def _split(node: gs.Node, rewriter: Rewriter, shapes: Shapes) -> str | None:
    count = node.attrs.pop("num_outputs", None)
    if count is None:
        return None
    dims, axis = shapes.get(node.inputs[0].name), int(node.attrs.get("axis", 0))
    size = None if dims is None else dims[axis]
    if size is None:
        return "the size that it splits is not known"
    part = -(-size // count)
    sizes = [min(part, size - part * i) for i in range(count)]
    rewriter.set_input(node, 1, rewriter.constant(f"{node.name}.split", np.array(sizes, np.int64)))
    return None


def _pad(node: gs.Node, rewriter: Rewriter, shapes: Shapes) -> str | None:
    if not _has_input(node, 3):
        node.inputs = list(node.inputs)[:3]
        return None
    dims, axes, pads = shapes.get(node.inputs[0].name), _constant(node, 3), _constant(node, 1)
    if dims is None or axes is None or pads is None:
        return "its pads, their axes or the rank are not known"
    full = np.zeros((2, len(dims)), np.int64)
    full[:, axes.reshape(-1)] = pads.reshape(2, -1)
    rewriter.set_input(node, 1, rewriter.constant(f"{node.name}.pads", full.reshape(-1)))
    node.inputs = list(node.inputs)[:3]
    return None


def _resize(node: gs.Node, rewriter: Rewriter, shapes: Shapes) -> str | None:
    if node.attrs.get("coordinate_transformation_mode") == "half_pixel_symmetric":
        return "its coordinate_transformation_mode is half_pixel_symmetric"
    axes = node.attrs.pop("axes", None)
    dims = shapes.get(node.inputs[0].name)
    if axes is None or list(axes) == list(range(len(dims or ()))):
        return None
    index = 2 if _has_input(node, 2) else 3
    values = _constant(node, index)
    if dims is None or values is None:
        return "its sizes or the rank are not known"
    if index == 3 and any(dim is None for dim in dims):
        return "the sizes of the axes that it leaves alone are not known"
    full = np.array([1 if index == 2 else dim for dim in dims], values.dtype)
    full[list(axes)] = values
    rewriter.set_input(node, index, rewriter.constant(f"{node.name}.{'scales' if index == 2 else 'sizes'}", full))
    return None


def _shape(node: gs.Node, rewriter: Rewriter, shapes: Shapes) -> str | None:
    start, end = int(node.attrs.pop("start", 0)), node.attrs.pop("end", None)
    if start == 0 and end is None:
        return None
    result = node.outputs[0]
    whole = rewriter.variable(f"{node.name}.whole", np.int64)
    bounds = [np.array([start]), np.array([LAST if end is None else end]), np.array([0])]
    inputs = [whole, *(rewriter.constant(f"{node.name}.slice", bound.astype(np.int64)) for bound in bounds)]
    source = rewriter.node("Shape", list(node.inputs), [whole], f"{node.name}.Shape", origin=node.name)
    rewriter.replace(node, [source, rewriter.node("Slice", inputs, [result], f"{node.name}.Slice", origin=node.name)])
    return None


def _reshape(node: gs.Node, rewriter: Rewriter, shapes: Shapes) -> str | None:
    target = _constant(node, 1)
    if node.attrs.pop("allowzero", 0) and (target is None or 0 in target):
        return "0 stands for an empty dimension (allowzero)"
    return None


def _grid_sample(node: gs.Node, rewriter: Rewriter, shapes: Shapes) -> str | None:
    mode = node.attrs.get("mode", "linear")
    node.attrs["mode"] = MODES.get(mode, mode)
    return None


def _roi_align(node: gs.Node, rewriter: Rewriter, shapes: Shapes) -> str | None:
    if node.attrs.pop("coordinate_transformation_mode", "half_pixel") == "half_pixel":
        return "its coordinates are shifted by half a pixel"
    return None


def _dft(node: gs.Node, rewriter: Rewriter, shapes: Shapes) -> str | None:
    axis = _constant(node, 2)
    if axis is None and _has_input(node, 2):
        return "its axis is computed"
    node.attrs["axis"] = -2 if axis is None else int(axis.reshape(-1)[0])
    node.inputs = list(node.inputs)[:2]
    return None


def _has_input(node: gs.Node, index: int) -> bool:
    return len(node.inputs) > index and not node.inputs[index].is_empty()


def _constant(node: gs.Node, index: int) -> np.ndarray | None:
    return resolve(node.inputs[index]) if _has_input(node, index) else None


REDUCTIONS = ("L1", "L2", "LogSum", "LogSumExp", "Max", "Mean", "Min", "Prod", "SumSquare")
ADAPTERS: dict[str, Adapter] = {
    **{f"Reduce{name}": Adapter(18, _reduce) for name in REDUCTIONS},
    "Split": Adapter(18, _split),
    "Pad": Adapter(18, _pad),
    "Resize": Adapter(18, _resize),
    "Shape": Adapter(15, _shape),
    "Reshape": Adapter(14, _reshape),
    "GridSample": Adapter(20, _grid_sample),
    "RoiAlign": Adapter(16, _roi_align),
    "DFT": Adapter(20, _dft),
}
