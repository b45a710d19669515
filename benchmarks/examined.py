"""What is asked of a compressed model beside its original, by `mutations`, `coverage` and `structures`.

Every question gives what is wrong in a line, "" where nothing is:

    invalid       the ONNX checker takes it, and inputs and outputs keep names, types and shapes
    unlike_file   bytes and parameters that a report states are those of the file, every stored tensor counted once
    over_budget   the file keeps to budgets
    engine_gap    a default session of onnxruntime gives what the model gives as written, its optimizations off
    contradicted  what `check` passes, onnxruntime loads
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper

Feeds = dict[str, np.ndarray]
OF_ONE_DATUM = {
    *("Identity", "Cast", "Reshape", "Transpose", "Squeeze", "Unsqueeze", "Flatten", "Slice", "Pad"),
    *("QuantizeLinear", "DequantizeLinear", "ReduceL2", "ReduceSum", "Expand", "Tile"),
}
"""Operators whose first input alone holds values; the others say how."""
ROUNDING, SMALL = 0.05, 1e-3
FEW = 64


class Loaded:
    """A model in onnxruntime, loaded once.

    Attributes:
        refused: what onnxruntime says where it does not load it, "" where it does.
    """

    def __init__(self, model: onnx.ModelProto | Path, optimized: bool = False):
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.log_severity_level, options.intra_op_num_threads = 4, 1
        if not optimized:
            options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
        given = str(model) if isinstance(model, Path) else model.SerializeToString()
        self.refused = ""
        try:
            self._session = ort.InferenceSession(given, options, ["CPUExecutionProvider"])
        except Exception as problem:
            self.refused = str(problem) or repr(problem)

    def run(self, feeds: Feeds) -> list[np.ndarray] | None:
        """The outputs; None where onnxruntime cannot run it."""
        if self.refused:
            return None
        try:
            return [np.asarray(value) for value in self._session.run(None, feeds)]
        except Exception:
            return None


def random_values(
    entry: onnx.ValueInfoProto, sizes: Mapping[str, int], size: int, first: int | None = None, seed: int = 0
) -> np.ndarray:
    """For an input whose open dimensions have these sizes by name; without one `size`, and the first one `first`."""
    tensor, rng = entry.type.tensor_type, np.random.default_rng(seed)
    dims = [dim.dim_value if dim.dim_value > 0 else sizes.get(dim.dim_param, size) for dim in tensor.shape.dim]
    if first is not None and dims and tensor.shape.dim[0].dim_value <= 0:
        dims[0] = first
    kind = helper.tensor_dtype_to_np_dtype(tensor.elem_type)
    if kind.kind == "u":
        return rng.integers(0, 256, dims).astype(kind)
    return np.asarray(rng.standard_normal(dims) if kind.kind == "f" else np.ones(dims)).astype(kind)


def inputs(model: onnx.ModelProto) -> list[onnx.ValueInfoProto]:
    stored = {tensor.name for tensor in model.graph.initializer}
    return [entry for entry in model.graph.input if entry.name not in stored]


def interface(model: onnx.ModelProto) -> list[tuple[str, int, tuple[object, ...]]]:
    return [
        (entry.name, entry.type.tensor_type.elem_type, tuple(dim.dim_value for dim in entry.type.tensor_type.shape.dim))
        for entry in [*inputs(model), *model.graph.output]
    ]


def error(wanted: Iterable[np.ndarray], found: Iterable[np.ndarray]) -> float:
    """The largest ||a - b|| / ||a|| over the outputs; 1 where integers or shapes differ."""
    worst = 0.0
    for one, two in zip(wanted, found, strict=True):
        if one.dtype.kind != "f" or one.shape != two.shape:
            worst = max(worst, float(one.shape != two.shape or (one != two).any()))
            continue
        known = np.isfinite(one)
        gap = np.linalg.norm((one - two)[known].astype(np.float64))
        share = float(gap / max(np.linalg.norm(one[known].astype(np.float64)), 1e-12))
        worst = max(worst, np.inf if np.isnan(share) else share)
    return worst


def invalid(model: onnx.ModelProto, original: onnx.ModelProto, path: Path | None = None) -> str:
    """`path`: where the model lies, which is needed for external data."""
    try:
        onnx.checker.check_model(model if path is None else str(path))
    except Exception as problem:
        return f"checker: {problem}"
    if interface(model) != interface(original):
        return f"interface: {interface(original)} became {interface(model)}"
    return ""


def unlike_file(model: onnx.ModelProto, size: int, stated: Mapping[str, Any]) -> str:
    """`size`: bytes of the file and its external data; `stated`: the report's `after`."""
    if size != stated["bytes"]:
        return f"bytes: the file has {size:,}, the report says {stated['bytes']:,}"
    counted, said = parameter_range(model), stated["params"]
    slack = max(ROUNDING * said, FEW)
    if counted is not None and not counted[0] - slack <= said <= counted[1] + slack:
        return f"parameters: the file stores {counted[0]:,} to {counted[1]:,}, the report says {said:,}"
    return ""


def limits(pipeline: str) -> dict[str, float]:
    """The budgets of a pipeline that a file can be held against."""
    words = (word.split("=") for word in pipeline.replace(",", ":").split(":"))
    return {word[0]: float(word[1]) for word in words if word[0] in ("params", "bytes")}


def over_budget(shares: Mapping[str, float], before: Mapping[str, int | None], after: Mapping[str, int | None]) -> str:
    """`before` and `after`: `bytes` and `params` as the files have them."""
    for unit, share in shares.items():
        kept, whole = after.get(unit), before.get(unit)
        if kept is not None and whole and kept > share * whole * (1 + SMALL) + 1:
            return f"budget: {unit} are {kept / whole:.3f} of the original's, {share:g} were asked for"
    return ""


def parameters(model: onnx.ModelProto) -> int | None:
    """The most of `parameter_range`."""
    counted = parameter_range(model)
    return None if counted is None else counted[1]


def parameter_range(model: onnx.ModelProto) -> tuple[int, int] | None:
    """Values stored for weights and biases of the main graph's Convs, every tensor once: without what codes are scaled
    and shifted by, and with it. None where one is computed from an input."""
    makers = {name: node for node in model.graph.node for name in node.output}
    stored = {tensor.name: prod(tensor.dims) for tensor in model.graph.initializer}
    stored |= {name: _constant(node) for name, node in makers.items() if node.op_type == "Constant"}
    beside = {name for node in model.graph.node if node.op_type in ("Mul", "Sub") for name in node.input[1:]}
    found, seen = dict[str, int](), set[str]()
    stack = [name for node in model.graph.node if node.op_type == "Conv" for name in node.input[1:] if name]
    while stack:
        name = stack.pop()
        if name in seen:
            continue
        seen.add(name)
        if name in stored:
            found[name] = stored[name]
        elif name in makers:
            node = makers[name]
            stack.extend(node.input[:1] if node.op_type in OF_ONE_DATUM else filter(None, node.input))
        else:
            return None
    return sum(size for name, size in found.items() if name not in beside), sum(found.values())


def _constant(node: onnx.NodeProto) -> int:
    tensor = next((entry.t for entry in node.attribute if entry.name == "value"), None)
    return 1 if tensor is None else prod(tensor.dims)


def engine_gap(
    written: Sequence[np.ndarray] | None, engine: Sequence[np.ndarray] | None, wanted: Sequence[np.ndarray] | None
) -> str:
    """Outputs as written, of a default session, and of the original: the gap may be as large as the error anyway is."""
    if written is None:
        return ""
    if engine is None:
        return "a default session does not run what runs with optimizations off"
    if any(one.shape != two.shape or one.dtype.kind != "f" for one, two in zip(written, engine, strict=True)):
        return ""
    gap, cost = error(written, engine), 0.0 if wanted is None else error(wanted, written)
    return f"a default session is {gap:.3g} off, as written {cost:.3g}" if gap > max(ROUNDING, cost) else ""


def contradicted(model: onnx.ModelProto, written: Loaded, target: str = "ort", folder: Path | None = None) -> str:
    """`folder`: where external data lie."""
    from onnx_compress.compiler.lint import lint
    from onnx_compress.compiler.targets import find_target

    if not written.refused:
        return ""
    refused = any(finding.severity == "error" for finding in lint(model, find_target(target), folder))
    return "" if refused else f"check passes it, onnxruntime does not load it: {written.refused}"


def first(problems: Iterator[str]) -> str:
    """The first that is one; what would be asked behind it is not."""
    return next((problem for problem in problems if problem), "")
