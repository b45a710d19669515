"""Where two models of the same task differ: every output, and every layer that both have, on the same samples.

A layer of the second model answers for a layer of the first where

1. both write a tensor of the same name (a rewritten Conv keeps the name of its output);
2. or both have a node of the same name, and their first outputs are compared;
3. or a report says that the node stands for that of the first model (`origins`); of several the last is taken.

Rules 2 and 3 do not hold for a tensor that the first model knows as another layer's: the Conv that BatchNormalization
was folded into writes what that wrote. What is stored shifted (`compiler.graph.quantization.shifts`) goes by the name
that it had and is compared as it was; a result on the way to it is not.

    error   = ||a - b|| / ||a||        over all samples, a of the first model
    largest = max |a - b|

Scales that cross-layer equalization put on the channels between two Convs are divided out (`drivers.rescaled`), and the
error starts where a layer adds to that of its inputs what counts at the outputs (`drivers.onset`).

Tensors that are not floating-point, or differ in shape, are not compared; of an output whose shape depends on values
(NonMaxSuppression) what it is made of is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.errors import CompressError
from ..compiler.graph.comparable import comparable_tensors
from ..compiler.graph.io import Model
from ..compiler.graph.quantization.shifts import shifts_of, unshifted_name
from ..compiler.pipeline.data import Data, Feeds
from ..compiler.pipeline.progress import Progress, silent
from ..runtime.quality.comparison import chosen
from ..runtime.quality.distances import RelativeError
from ..runtime.quality.outputs import is_row
from ..runtime.session import model_session
from .onset import inherited_errors, onset
from .rescaled import ChannelSums, reader_results, undone

BATCH = 16
Order = Literal["worst", "network"]


@dataclass(frozen=True)
class Pair:
    """Tensors that answer for each other: `node` and `op` of the first model make `first`; `second` is less by
    `shift`."""

    node: str
    op: str
    first: str
    second: str
    shift: float = 0.0

    def unshifted(self, values: np.ndarray) -> np.ndarray:
        """What `values` of the second stand for."""
        return np.maximum(values + np.float32(self.shift), 0) if self.shift else values


@dataclass(frozen=True)
class Difference:
    """Of one tensor.

    Attributes:
        error, largest: see the module docstring; with scales divided out, `largest` is None.
        inherited: the largest error of what the tensor is made of.
        rescaled: the scales of its channels were divided out.
        agreement: the share of samples with the same class, in [0, 1]; None but for class scores.
    """

    node: str
    op: str
    tensor: str
    other: str
    error: float
    largest: float | None
    agreement: float | None = None
    inherited: float = 0.0
    rescaled: bool = False


@dataclass(frozen=True)
class Comparison:
    """`outputs` in the order of the model, `layers` as asked for; `apart`: tensors of both, of different shapes;
    `start`: the tensor in which the error starts, None where it builds up little by little."""

    samples: int
    outputs: list[Difference]
    layers: list[Difference]
    apart: list[str]
    start: str | None


@dataclass
class _Measured:
    """A pair, and what is streamed over the batches.

    Attributes:
        rated: it is an output of the network, whose classes are compared.
        channels: of a map whose scales may have to be divided out.
        apart: it cannot be compared.
    """

    pair: Pair
    rated: bool = False
    channels: ChannelSums | None = None
    apart: bool = False
    relative: RelativeError = field(default_factory=RelativeError)
    largest: float = 0.0
    same: list[np.ndarray] = field(default_factory=list[np.ndarray])

    def add(self, a: np.ndarray, b: np.ndarray) -> None:
        if _unlike(a, b):
            self.apart = True
            return
        self.relative.add({"": a}, {"": b})
        self.largest = max(self.largest, float(np.abs(a.astype(np.float64) - b).max(initial=0.0)))
        if self.channels is not None:
            self.channels.add(a, b)
        if self.rated and is_row(a):
            self.same.append(chosen(a) == chosen(b))

    @property
    def error(self) -> float:
        return self.relative.result().value

    def difference(self, divided: Mapping[str, float], inherited: Mapping[str, float]) -> Difference:
        """`divided`: errors without the scales that a reader undoes; `inherited`: see `Difference`."""
        name, agreement = self.pair.first, float(np.concatenate(self.same).mean()) if self.same else None
        return Difference(
            node=self.pair.node,
            op=self.pair.op,
            tensor=name,
            other=self.pair.second,
            error=divided.get(name, self.error),
            largest=None if name in divided else self.largest,
            agreement=agreement,
            inherited=inherited.get(name, 0.0),
            rescaled=name in divided,
        )


def compare_models(
    first: Model,
    second: Model,
    data: Data,
    origins: Mapping[str, str] | None = None,
    batch: int = BATCH,
    progress: Progress = silent,
    order: Order = "worst",
) -> Comparison:
    """See the module docstring.

    Args:
        origins: node of the second model -> node of the first.
        order: of the layers: worst first, or as the first model has them.

    Raises:
        CompressError: the outputs differ in number, or onnxruntime cannot run a model.
    """
    ends = {tensor.name for tensor in first.graph.outputs}
    outputs = [_Measured(pair, pair.first in ends) for pair in output_pairs(first.graph, second.graph)]
    inner = layer_pairs(first.graph, second.graph, origins or {})
    results = reader_results(first.graph, {pair.first for pair in (*(each.pair for each in outputs), *inner)})
    inside = [_Measured(pair, channels=ChannelSums() if pair.first in results else None) for pair in inner]
    every = [*outputs, *inside]
    count = _measure(first, second, data, every, batch, progress)
    errors = {each.pair.first: each.error for each in every if not each.apart}
    without = {each.pair.first: each.channels.error for each in every if each.channels and not each.apart}
    divided = undone(results, errors, without)
    inherited = inherited_errors(first.graph, errors | divided)
    whole, layers = (
        [each.difference(divided, inherited) for each in part if not each.apart] for part in (outputs, inside)
    )
    if order == "worst":
        layers.sort(key=lambda entry: (-entry.error, entry.node))
    start = onset(first.graph, errors | divided, [entry.tensor for entry in whole])
    return Comparison(count, whole, layers, [each.pair.first for each in every if each.apart], start)


def _measure(first: Model, second: Model, data: Data, every: list[_Measured], batch: int, progress: Progress) -> int:
    """Add all samples to `every`; how many there were."""
    a = model_session(first, [each.pair.first for each in every])
    b = model_session(second, [each.pair.second for each in every])
    count = 0
    with progress("compare", -(-data.samples // batch)) as advance:
        for feeds in data.batches(batch):
            left, right = a.run(feeds), b.run(_renamed(feeds, first.graph, second.graph))
            count += len(next(iter(feeds.values())))
            for each in every:
                each.add(left[each.pair.first], each.pair.unshifted(right[each.pair.second]))
            advance()
    return count


def output_pairs(first: gs.Graph, second: gs.Graph) -> list[Pair]:
    """What the models are judged by (`compiler.graph.comparable`), by position; `CompressError` where that differs in
    number."""
    names, others = comparable_tensors(first), comparable_tensors(second)
    if len(first.outputs) != len(second.outputs) or len(names) != len(others):
        found = f"{len(first.outputs)} and {len(second.outputs)} outputs"
        raise CompressError(f"the models have {found}", "compare", "name two models of the same task")
    known = first.tensors()
    return [Pair(*_maker(known[one]), one, other) for one, other in zip(names, others, strict=True)]


def layer_pairs(first: gs.Graph, second: gs.Graph, origins: Mapping[str, str]) -> list[Pair]:
    """The floating-point tensors inside that answer for each other, in the order of the first model."""
    made = {unshifted_name(tensor.name): tensor.name for node in second.nodes for tensor in node.outputs}
    named = {node.name: node.outputs[0].name for node in second.nodes if node.name and node.outputs}
    named |= {origins[node.name]: node.outputs[0].name for node in second.nodes if node.name in origins}
    known = {tensor.name for node in first.nodes for tensor in node.outputs}
    named = {name: tensor for name, tensor in named.items() if unshifted_name(tensor) not in known}
    ends, shifts, pairs = {tensor.name for tensor in first.outputs}, shifts_of(second), list[Pair]()
    for node in first.nodes:
        for position, tensor in enumerate(node.outputs):
            other = made.get(tensor.name, named.get(node.name) if position == 0 else None)
            if other is None or (unshifted_name(other) != other and other not in shifts):
                continue
            if tensor.name and tensor.name not in ends:
                pairs.append(Pair(node.name, node.op, tensor.name, other, shifts.get(other, 0.0)))
    return pairs


def _maker(tensor: gs.Tensor) -> tuple[str, str]:
    return (tensor.inputs[0].name, tensor.inputs[0].op) if tensor.inputs else ("", "")


def _renamed(feeds: Feeds, first: gs.Graph, second: gs.Graph) -> Feeds:
    """The same values for the inputs of the second model, by position."""
    names = {one.name: other.name for one, other in zip(first.inputs, second.inputs, strict=False)}
    return {names.get(name, name): value for name, value in feeds.items()}


def _unlike(x: np.ndarray, y: np.ndarray) -> bool:
    """One is no float array (onnxruntime gives lists for sequences), or the shapes differ."""
    return any(getattr(value, "dtype", np.dtype(bool)).kind != "f" for value in (x, y)) or x.shape != y.shape
