"""The original and the compressed network side by side, layer by layer.

For each layer in graph order `lockstep` yields the second moments of its input **in the network as rewritten so far**
and of the output it is wanted to have: the one it has in the original network. The caller rewrites the layer before it
asks for the next, so every fit sees the errors of the layers before it and makes up for them.

Where a layer feeds nothing but a residual Add, the block's sum is what is wanted:

    target = y + (shortcut - compressed shortcut)

Where channels were removed, the target is what the original gives for those that are left.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.context import Data
from ..compiler.graph.convs import Conv
from ..compiler.graph.gemms import Gemm
from .moments import Moments, MomentSum
from .patches import conv_patches, output_rows, sample_positions
from .walk import Walk

Layer = Conv | Gemm
BATCH = 128
ROWS = 2**15


def lockstep(
    graph: gs.Graph,
    reference: gs.Graph,
    layers: Sequence[Layer],
    data: Data,
    rng: np.random.Generator,
    rows: int = ROWS,
    left: Mapping[str, np.ndarray] | None = None,
) -> Iterator[tuple[Layer, Moments]]:
    """Moments of each of `layers` (of `graph`, in graph order), see the module docstring.

    Args:
        graph: the network being rewritten; the caller may edit a layer once it has been yielded.
        reference: the original network; it must produce the output tensor of every layer under the same name. The same
            object as `graph` where nothing is rewritten.
        rows: at most about so many input rows (Conv patches) are sampled per layer.
        left: by tensor, the channels (axis 1) of the original that `graph` still has; all where not named.
    """
    batches = list(data.batches(BATCH))
    current = Walk(graph, batches)
    original = current if reference is graph else Walk(reference, batches)
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
        yield layer, _moments(layer, current[layer.input.name], targets, rng, rows)
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


def _moments(
    layer: Layer, inputs: Sequence[np.ndarray], targets: Iterable[np.ndarray], rng: np.random.Generator, rows: int
) -> Moments:
    total = MomentSum(layer.group, layer.fan_in, layer.filters // layer.group)
    share = rows / sum(len(x) for x in inputs)
    for x, y in zip(inputs, targets, strict=True):
        total.add(*layer_rows(layer, x, y, rng, int(share * len(x))))
    return total.result()


def _targets(
    layer: Layer, current: Walk, original: Walk, shortcut: str | None, left: Mapping[str, np.ndarray]
) -> Iterator[np.ndarray]:
    """The wanted output, batch by batch."""
    for index, y in enumerate(original[layer.output.name]):
        y = _left(y, layer.output.name, left)
        if shortcut:
            y = _corrected(y, _left(original[shortcut][index], shortcut, left), current[shortcut][index])
        yield y


def _left(values: np.ndarray, name: str, left: Mapping[str, np.ndarray]) -> np.ndarray:
    return values[:, left[name]] if name in left else values


def _corrected(y: np.ndarray, shortcut: np.ndarray, compressed: np.ndarray) -> np.ndarray:
    return y + (shortcut - compressed) if shortcut.shape == y.shape else y


def layer_rows(
    layer: Layer, x: np.ndarray, y: np.ndarray, rng: np.random.Generator, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """About `limit` pairs of input row (samples, g, d) and output row (samples, g, n) of one batch."""
    if isinstance(layer, Gemm):
        return x[:, None, :].astype(np.float32, copy=False), y[:, None, :].astype(np.float32, copy=False)
    positions = sample_positions(rng, len(x), y.shape[2:], limit)
    return conv_patches(layer, x, positions), output_rows(y, positions, layer.group)
