"""Optimization profiles: the sizes that an engine takes for the inputs whose dimensions a model leaves open.

Text form, that of trtexec: `name:1x3x224x224`, and here also `name:1x3x224x224/4x3x224x224/8x3x224x224` for least,
usual and greatest; a name may hold colons, the last one counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import onnx_graphsurgeon as gs

from ..errors import UsageError
from ..graph.shapes import Shapes, input_shapes

Dims = tuple[int, ...]
FORM = "NAME:1x3x224x224, or NAME:MIN/OPT/MAX"


@dataclass(frozen=True)
class Range:
    """The least, the usual and the greatest dimensions of an input; the engine is tuned for `opt`."""

    min: Dims
    opt: Dims
    max: Dims

    @property
    def fixed(self) -> bool:
        return self.min == self.opt == self.max


def parse_ranges(texts: Iterable[str]) -> dict[str, Range]:
    """Input name -> range, of texts in the form above; `UsageError` for any other."""
    return dict(_parse(text) for text in texts)


def _parse(text: str) -> tuple[str, Range]:
    name, colon, sizes = text.rpartition(":")
    parts = sizes.split("/")
    if not (name and colon) or len(parts) not in (1, 3) or not all(re.fullmatch(r"\d+(x\d+)*", part) for part in parts):
        raise UsageError(f"'{text}' is not a shape", "--shapes", FORM)
    dims = [tuple(int(size) for size in part.split("x")) for part in parts]
    low, usual, high = dims[0], dims[len(dims) // 2], dims[-1]
    ordered = len(low) == len(usual) == len(high) and all(a <= b <= c for a, b, c in zip(low, usual, high, strict=True))
    if not ordered:
        raise UsageError(f"'{text}': the sizes do not grow from MIN to MAX", "--shapes", FORM)
    return name, Range(low, usual, high)


def open_inputs(
    graph: gs.Graph, given: Mapping[str, Range] | None = None, sample: Shapes | None = None
) -> dict[str, Range]:
    """The range of every input of `graph` with an open dimension.

    Inputs that are not `given` get one size: batch 1, and what the `sample` has, or a nominal size.

    Raises:
        UsageError: `given` names no input, or does not fit what the model declares.
    """
    given = given or {}
    inputs = {tensor.name: tensor for tensor in graph.inputs if isinstance(tensor, gs.Variable)}
    nominal = input_shapes(graph, sample)
    for name, wanted in given.items():
        if name not in inputs:
            raise UsageError(f"the model has no input '{name}'", "--shapes", f"its inputs: {', '.join(inputs)}")
        _check(name, inputs[name].shape, wanted)
    return {
        name: given.get(name) or Range(nominal[name], nominal[name], nominal[name])
        for name, tensor in inputs.items()
        if _is_open(tensor) and (name in given or name in nominal)
    }


def _is_open(tensor: gs.Tensor) -> bool:
    return tensor.shape is None or not all(isinstance(dim, int) and dim >= 0 for dim in tensor.shape)


def _check(name: str, declared: list[int | str | None] | None, wanted: Range) -> None:
    if declared is None:
        return
    fits = len(declared) == len(wanted.min) and all(
        low == high == dim
        for dim, low, high in zip(declared, wanted.min, wanted.max, strict=True)
        if isinstance(dim, int) and dim >= 0
    )
    if not fits:
        shape = "x".join(str(dim) for dim in declared)
        raise UsageError(f"input '{name}' is {shape}", "--shapes", "only the dimensions with names can be chosen")
