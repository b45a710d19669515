"""The original and the compressed network side by side, layer by layer.

For each layer in graph order `lockstep` yields the second moments of its input **in the network as rewritten so far**
and of the output it is wanted to have: the one it has in the original network. The caller rewrites the layer before it
asks for the next, so every fit sees the errors of the layers before it and makes up for them.

Where a layer feeds nothing but a residual Add, the block's sum is what is wanted:

    target = y + (shortcut - compressed shortcut)

A caller may ask for the sampled rows too; they come with the activation that is after the layer, or after the Add and
then with the compressed shortcut as their shift.

Where channels were removed, the target is what the original gives for those that are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.activation import Activation
from ..compiler.context import ACTIVATIONS, Data
from ..compiler.graph.activations import activation_after
from ..compiler.graph.convs import Conv
from ..compiler.graph.gemms import Gemm
from .moments import Moments, MomentSum, Rows
from .patches import conv_patches, output_rows, sample_positions
from .spool import Spool
from .walk import Walk

Layer = Conv | Gemm
BATCH = 128
ROWS = 2**15
KEPT_BYTES = 2**28
LARGEST = 8192
"""Inputs of a fully connected layer whose moments are taken: 512 MB of float64."""


def lockstep(
    graph: gs.Graph,
    reference: gs.Graph,
    layers: Sequence[Layer],
    data: Data,
    rng: np.random.Generator,
    rows: int = ROWS,
    left: Mapping[str, np.ndarray] | None = None,
    keep: int = 0,
    memory: int = ACTIVATIONS,
) -> Iterator[tuple[Layer, Moments]]:
    """Moments of each of `layers` (of `graph`, in graph order), see the module docstring.

    Args:
        graph: the network being rewritten; the caller may edit a layer once it has been yielded.
        reference: the original network; it must produce the output tensor of every layer under the same name. The same
            object as `graph` where nothing is rewritten.
        rows: at most about so many input rows (Conv patches) are sampled per layer.
        left: by tensor, the channels (axis 1) of the original that `graph` still has; all where not named.
        keep: at most about so many of the rows themselves come with the moments, or `KEPT_BYTES` of them.
        memory: bytes of activations of each network that are held in RAM.
    """
    current = Walk(graph, data.batches(BATCH), memory)
    original = current if reference is graph else current.beside(reference)
    pending = {id(layer.node) for layer in layers}
    for layer in layers:
        shortcut = _shortcut(layer, current, original, pending)
        also = [shortcut] if shortcut else []
        if original is current:
            current.advance([layer.input.name, layer.output.name])
        else:
            current.advance([layer.input.name, *also])
            original.advance([layer.output.name, *also])
        targets = _targets(layer, current, original, shortcut, left or {})
        kept = Kept(_activation(layer, shortcut), bool(shortcut), _affordable(layer, keep))
        yield layer, _moments(layer, current[layer.input.name], targets, rng, rows, kept)
        pending.discard(id(layer.node))


def _shortcut(layer: Layer, current: Walk, original: Walk, pending: set[int]) -> str | None:
    """The other operand of the Add that `layer` feeds, if both networks can compute it without a pending layer."""
    if original is current:
        return None
    consumers = layer.output.outputs
    if len(consumers) != 1 or consumers[0].op != "Add":
        return None
    other = next((tensor for tensor in consumers[0].inputs if tensor is not layer.output), None)
    if other is None or isinstance(other, gs.Constant) or not original.produces(other.name):
        return None
    if any(id(node) in pending for node in current.plan([other.name])):
        return None
    return other.name


def _activation(layer: Layer, shortcut: str | None) -> Activation | None:
    """The one after the layer, or after the Add that joins it with its shortcut."""
    return activation_after(layer.output.outputs[0].outputs[0] if shortcut else layer.output)


def _affordable(layer: Layer, keep: int) -> int:
    return min(keep, KEPT_BYTES // (4 * (layer.group * layer.fan_in + 2 * layer.filters)))


@dataclass
class Kept:
    """At most about `limit` rows, evenly out of those of every batch; `shifted`: the activation is after a sum."""

    activation: Activation | None
    shifted: bool
    limit: int
    parts: list[tuple[np.ndarray, ...]] = field(default_factory=list["tuple[np.ndarray, ...]"])

    def add(self, of: int, *rows: np.ndarray) -> None:
        """Rows of one batch; `of`: how many all batches will bring."""
        step = max(1, -(-of // self.limit))
        self.parts.append(tuple(part[::step] for part in rows))

    def result(self) -> Rows | None:
        if not self.parts:
            return None
        x, y, *shift = (np.concatenate(part) for part in zip(*self.parts, strict=True))
        return Rows(x, y, shift[0] if shift else None, self.activation if bool(shift) == self.shifted else None)


def _moments(
    layer: Layer,
    inputs: Spool,
    targets: Iterable[tuple[np.ndarray, ...]],
    rng: np.random.Generator,
    rows: int,
    kept: Kept,
) -> Moments:
    total = MomentSum(layer.group, layer.fan_in, layer.filters // layer.group)
    share = rows / sum(inputs.lengths)
    for x, outputs in zip(inputs, targets, strict=True):
        sampled = sampled_rows(layer, x, outputs, rng, int(share * len(x)))
        total.add(*sampled[:2])
        if kept.limit:
            kept.add(rows, *sampled)
    return replace(total.result(), rows=kept.result())


def _targets(
    layer: Layer, current: Walk, original: Walk, shortcut: str | None, left: Mapping[str, np.ndarray]
) -> Iterator[tuple[np.ndarray, ...]]:
    """The wanted output, batch by batch, and the compressed shortcut where it is added to it."""
    for index, y in enumerate(original[layer.output.name]):
        y = _left(y, layer.output.name, left)
        compressed = current[shortcut][index] if shortcut else None
        if shortcut and compressed is not None and compressed.shape == y.shape:
            wanted = _left(original[shortcut][index], shortcut, left)
            yield (_corrected(y, wanted, compressed), compressed)
        else:
            yield (y,)


def _left(values: np.ndarray, name: str, left: Mapping[str, np.ndarray]) -> np.ndarray:
    return values[:, left[name]] if name in left else values


def _corrected(y: np.ndarray, shortcut: np.ndarray, compressed: np.ndarray) -> np.ndarray:
    return y + (shortcut - compressed) if shortcut.shape == y.shape else y


def layer_rows(
    layer: Layer, x: np.ndarray, y: np.ndarray, rng: np.random.Generator, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """About `limit` pairs of input row (samples, g, d) and output row (samples, g, n) of one batch."""
    rows, outputs = sampled_rows(layer, x, [y], rng, limit)
    return rows, outputs


def sampled_rows(
    layer: Layer, x: np.ndarray, outputs: Sequence[np.ndarray], rng: np.random.Generator, limit: int
) -> tuple[np.ndarray, ...]:
    """`layer_rows` for several tensors of the shape of the output, at the same positions."""
    if isinstance(layer, Gemm):
        return tuple(rows[:, None, :].astype(np.float32, copy=False) for rows in (x, *outputs))
    positions = sample_positions(rng, len(x), outputs[0].shape[2:], limit)
    found = (output_rows(y, positions, layer.group) for y in outputs)
    return conv_patches(layer, x, positions), *found
