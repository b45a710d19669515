"""Resize as products with matrices.

Whatever the mode, an output is a weighted sum of inputs, and the weights of several axes multiply: Y = R_h X R_w^T,
with one matrix of sizes (out, in) per axis. The matrix of an axis is what Resize itself makes of unit vectors.
"""

from __future__ import annotations

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ....session import Session
from .formula import Expansion, ExpansionContext, Term

FORM = ("coordinate_transformation_mode", "cubic_coeff_a", "exclude_outside", "mode", "nearest_mode", "antialias")


def _resize(ctx: ExpansionContext) -> Term:
    if ctx.get("coordinate_transformation_mode") == "tf_crop_and_resize":
        ctx.refuse("it crops")
    if ctx.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        ctx.refuse("it keeps the aspect ratio")
    x, shape, scales = ctx.x, ctx.x.shape, _scales(ctx)
    for axis, (size, scale, target) in enumerate(zip(shape, scales, ctx.result, strict=True)):
        if (size, scale) != (target, 1.0):
            x = _along(x, axis, len(shape), _matrix(ctx, size, scale, target))
    return x if ctx.made else x.apply("Identity")


def _scales(ctx: ExpansionContext) -> list[float]:
    """By axis; sizes, where they are given, divide."""
    shape, given = ctx.x.shape, ctx.constant(2)
    if given is None or given.size == 0:
        return [target / size for target, size in zip(ctx.result, shape, strict=True)]
    axes = ctx.get("axes") or range(len(shape))
    chosen = {axis % len(shape): float(scale) for axis, scale in zip(axes, given, strict=True)}
    return [chosen.get(axis, 1.0) for axis in range(len(shape))]


def _along(x: Term, axis: int, rank: int, matrix: np.ndarray) -> Term:
    """The axis `axis` of x times `matrix` (out, in)."""
    if axis == rank - 1:
        return x.apply("MatMul", np.ascontiguousarray(matrix.T))
    if axis == rank - 2:
        return x.ctx.apply("MatMul", [matrix, x])
    order = list(range(rank))
    order[axis], order[-1] = order[-1], order[axis]
    return x.transpose(order).apply("MatMul", np.ascontiguousarray(matrix.T)).transpose(order)


def _matrix(ctx: ExpansionContext, size: int, scale: float, target: int) -> np.ndarray:
    """What becomes of unit vectors, (target, size)."""
    attrs = {key: ctx.node.attrs[key] for key in FORM if key in ctx.node.attrs}
    graph = helper.make_graph(
        [helper.make_node("Resize", ["x", "", "scales"], ["y"], **attrs)],
        "resize",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, size, target])],
        [numpy_helper.from_array(np.array([1, 1, 1, scale], np.float32), "scales")],
    )
    opset = helper.make_opsetid("", ctx.opset)
    model = helper.make_model(graph, opset_imports=[opset], ir_version=8)
    units = np.eye(size, dtype=np.float32)[None, None]
    return np.ascontiguousarray(_run(model, units)[0, 0].T)


def _run(model: onnx.ModelProto, units: np.ndarray) -> np.ndarray:
    return Session(model, threads=1).run({"x": units})["y"]


RESIZE: dict[str, Expansion] = {"Resize": _resize}
