"""Two networks side by side, layer by layer: one that is being rewritten, and `reference`, what it was before.

For each layer in graph order `lockstep` yields the second moments of its input **in the network as rewritten so far**
and of the output it is wanted to have: the one it has in the reference, which is called the original here. The caller
rewrites the layer before it asks for the next, so every fit makes up for the errors of the layers before it.

Where a layer feeds nothing but a residual Add, the block's sum is what is wanted:

    target = y + (shortcut - compressed shortcut)

A caller may ask for the sampled rows too; they come with the activation that is after the layer, or after the Add and
then with the compressed shortcut as their shift.

Where channels were removed, the target is what the original gives for those that are left.

Where nothing is rewritten, what is wanted is what the layer computes, and follows from its inputs.

A layer with several uses (`graph.ties`) has one set of moments, from as many rows of each; it comes before every layer
that depends on one of them (`dependency_order`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from math import prod

import numpy as np
import onnx_graphsurgeon as gs

from ..compiler.errors import unseen
from ..compiler.graph.activations import Activation, activation_after
from ..compiler.graph.comparable import reads
from ..compiler.graph.gemms import Gemm
from ..compiler.jobs import matrices_of
from ..compiler.pipeline.data import ACTIVATIONS, Data, Feeds
from .data import sized_batches
from .disk_backed_arrays import DiskBackedArrays
from .moments import InputSum, Moments, MomentSum, SampledRows, blocks, joined, own_moments, parted_blocks
from .patches import EVERY, output_shape
from .rows import Layer, Positions, input_rows, row_positions, stored_weight, target_rows
from .segmented_executor import SegmentedExecutor
from .subsets import spread

ROWS, ENOUGH, PER_INPUT = 2**15, 2**14, 16
"""Top-1 of ResNet-20 at half the MACs, mean of three seeds: 90.14 with `ROWS`, 90.11 with `ENOUGH`; 90.02 with 16 rows
per input and no more, 89.58 with 8."""
KEPT_BYTES = 2**28
FEWEST = 64
"""Samples that every layer is fitted on, however many positions each has."""
FEW = 4
"""Rows for every input of a layer, below which its moments come in two parts."""


def lockstep(
    graph: gs.Graph,
    reference: gs.Graph,
    layers: Sequence[Layer],
    data: Data,
    rng: np.random.Generator,
    rows: int = ROWS,
    kept_channels: Mapping[str, np.ndarray] | None = None,
    keep: int = 0,
    memory: int = ACTIVATIONS,
    parted: bool = False,
    spare: int | None = None,
) -> Iterator[tuple[Layer, Moments]]:
    """Moments of each of `layers` (of `graph`, in graph order), see the module docstring.

    Args:
        graph: the network being rewritten; the caller may edit a layer once it has been yielded.
        reference: the network from before the pass, which has the output tensor of every layer under the same name;
            `graph` itself where nothing is rewritten.
        rows: at most about so many input rows (Conv patches) are sampled per layer; `ENOUGH` of them where that is
            `PER_INPUT` or more for every input.
        kept_channels: by tensor, the channels (axis 1) of the original that `graph` still has; all where not named.
        keep: at most about so many of the rows themselves come with the moments, or `KEPT_BYTES` of them.
        memory: bytes of activations of each network that are held in RAM.
        parted: the moments of all layers come in two parts, not only of those with few rows.
        spare: samples are added on the way, as layers come to have fewer positions: so many that there are `spare`
            positions for every row that is sampled, and `FEWEST`. None: all samples from the beginning.
    """
    batches = sized_batches(data if spare is None else spread(data))
    current = SegmentedExecutor(graph, batches if spare is None else islice(batches, 1), memory)
    original = None if reference is graph else current.beside(reference)
    waiting = WaitingSamples(batches, [each for each in (current, original) if each is not None])
    pending = {id(use.node): use.input.name for layer in layers for use in layer.uses}
    wanted = {id(use.node): use.output.name for layer in layers for use in layer.uses}
    for layer in layers:
        uses = layer.uses
        shortcuts = [None if original is None else _shortcut(use, current, original, set(pending)) for use in uses]
        also = [name for name in shortcuts if name is not None]
        current.advance([*(use.input.name for use in uses), *also], pending.values())
        limit = min(rows, max(ENOUGH, PER_INPUT * layer.fan_in)) // len(uses)
        if spare is not None:
            waiting.fetch(current, uses, spare * limit)
        samples = [RowSampler(use, current[use.input.name], rng, limit) for use in uses]
        kept = _kept(uses, shortcuts, _affordable(layer, keep), limit)
        with matrices_of(layer.fan_in):
            if original is None:
                yield layer, _own(layer, samples, kept)
            else:
                original.advance([*(use.output.name for use in uses), *also], wanted.values())
                targets = [
                    WantedOutputs(use, current, original, shortcut, kept_channels or {})
                    for use, shortcut in zip(uses, shortcuts, strict=True)
                ]
                yield layer, _wanted(layer, samples, targets, kept, parted)
        for use in uses:
            del pending[id(use.node)], wanted[id(use.node)]


def dependency_order(graph: gs.Graph, layers: Sequence[Layer]) -> tuple[list[Layer], list[Layer]]:
    """The layers so that none comes before one that an input of any of its uses depends on.

    Returns:
        Layers with a use that depends, perhaps by way of other layers, on another of their uses: no order is right for
        them. And the rest, in order: that of the graph where every layer has one use.
    """
    before = _layers_before(graph, layers)
    waiting, circular, ordered = list(range(len(layers))), list[Layer](), list[Layer]()
    done = 0
    while waiting:
        ready = next((i for i in waiting if not before[i] & ~done), None)
        chosen = next(i for i in waiting if layers[i].others) if ready is None else ready
        (circular if ready is None else ordered).append(layers[chosen])
        waiting.remove(chosen)
        done |= 1 << chosen
    return circular, ordered


def _layers_before(graph: gs.Graph, layers: Sequence[Layer]) -> list[int]:
    """By layer, those that it depends on, as bits."""
    number = {id(use.node): index for index, layer in enumerate(layers) for use in layer.uses}
    behind: dict[str, int] = {}
    found = [0] * len(layers)
    for node in graph.nodes:
        bits = 0
        for tensor in reads(node):
            bits |= behind.get(tensor.name, 0)
        if id(node) in number:
            found[number[id(node)]] |= bits
            bits |= 1 << number[id(node)]
        behind.update((tensor.name, bits) for tensor in node.outputs)
    return found


def _shortcut(layer: Layer, current: SegmentedExecutor, original: SegmentedExecutor, pending: set[int]) -> str | None:
    """The other operand of the Add that `layer` feeds, if both networks can compute it without a pending layer."""
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


def _kept(uses: Sequence[Layer], shortcuts: Sequence[str | None], keep: int, of: int) -> KeptRows:
    """No rows are kept of uses with different activations behind them."""
    activations = [_activation(use, shortcut) for use, shortcut in zip(uses, shortcuts, strict=True)]
    alike = len(uses) == 1 or (not any(shortcuts) and all(each == activations[0] for each in activations))
    return KeptRows(activations[0], any(shortcuts), keep if alike else 0, of * len(uses))


def _affordable(layer: Layer, keep: int) -> int:
    return min(keep, KEPT_BYTES // (4 * (layer.group * layer.fan_in + 2 * layer.filters)))


@dataclass(frozen=True, eq=False)
class WaitingSamples:
    """The samples that the executors have not begun with."""

    batches: Iterator[Feeds]
    executors: Sequence[SegmentedExecutor]

    def fetch(self, current: SegmentedExecutor, uses: Sequence[Layer], positions: int) -> None:
        """As many as it takes until `current` has so many positions of the input of every use, and `FEWEST` samples;
        no fewer than there are, so that networks are run from the beginning a few times only."""
        inputs = [current[use.input.name] for use in uses]
        wanted = max(max(FEWEST, -(-positions // _positions(use, x))) for use, x in zip(uses, inputs, strict=True))
        held = sum(inputs[0].lengths)
        if held >= wanted:
            return
        wanted, takes = max(wanted, 2 * held), [executor.catch_up() for executor in self.executors]
        while held < wanted and (feeds := next(self.batches, None)) is not None:
            for take in takes:
                take(feeds)
            held = sum(inputs[0].lengths)


def _positions(layer: Layer, inputs: DiskBackedArrays) -> int:
    """Rows that the layer has of one sample."""
    return 1 if isinstance(layer, Gemm) else prod(output_shape(layer, inputs.shape(0)[2:]))


@dataclass(frozen=True, eq=False)
class RowSampler:
    """About `limit` input rows of a layer, out of `inputs` by batch."""

    layer: Layer
    inputs: DiskBackedArrays
    rng: np.random.Generator
    limit: int

    def __iter__(self) -> Iterator[tuple[Positions, np.ndarray]]:
        """The positions and the rows (samples, g, d), batch by batch."""
        total = sum(self.inputs.lengths)
        if not total:
            raise unseen(f"the input '{self.layer.input.name}' of '{self.layer.name}'")
        share = self.limit / total
        for x in self.inputs:
            positions = row_positions(self.layer, x, self.rng, int(share * len(x)))
            yield positions, input_rows(self.layer, x, positions)


@dataclass
class KeptRows:
    """At most about `limit` rows, evenly out of those of every batch; `shifted`: the activation is after a sum.

    `of`: how many rows all batches will bring.
    """

    activation: Activation | None
    shifted: bool
    limit: int
    of: int
    parts: list[tuple[np.ndarray, ...]] = field(default_factory=list["tuple[np.ndarray, ...]"])

    def add(self, *rows: np.ndarray) -> None:
        """Rows of one batch."""
        if self.limit:
            step = max(1, -(-self.of // self.limit))
            self.parts.append(tuple(np.ascontiguousarray(part[::step]) for part in rows))

    def result(self) -> SampledRows | None:
        if not self.parts:
            return None
        x, y, *shift = (np.concatenate(part) for part in zip(*self.parts, strict=True))
        return SampledRows(x, y, shift[0] if shift else None, self.activation if bool(shift) == self.shifted else None)


@dataclass(frozen=True, eq=False)
class WantedOutputs:
    """What a layer is wanted to give: see the module docstring.

    Attributes:
        shortcut: the tensor that its output is added to.
        kept_channels: by tensor, those of the original that are left.
    """

    layer: Layer
    current: SegmentedExecutor
    original: SegmentedExecutor
    shortcut: str | None
    kept_channels: Mapping[str, np.ndarray]

    def rows(self, batch: int, positions: Positions) -> tuple[np.ndarray, ...]:
        """(samples, g, n) of a batch, and of the compressed shortcut where it is added as it is, not broadcast."""
        layer, name = self.layer, self.layer.output.name
        y = self.original[name][batch]
        wanted = target_rows(layer, y, positions, self.kept_channels.get(name, EVERY))
        if self.shortcut is None:
            return (wanted,)
        before, after = self.original[self.shortcut][batch], self.current[self.shortcut][batch]
        if before.shape != y.shape or after.shape != (len(y), layer.filters, *y.shape[2:]):
            return (wanted,)
        missed = target_rows(layer, before, positions, self.kept_channels.get(self.shortcut, EVERY))
        shift = target_rows(layer, after, positions)
        return wanted + (missed - shift), shift


def _own(layer: Layer, samples: Sequence[RowSampler], kept: KeptRows) -> Moments:
    """Moments of a layer as it is: what it computes is what is wanted."""
    weight, bias = stored_weight(layer)
    total = InputSum(layer.group, layer.fan_in)
    for (x,) in blocks((x,) for sample in samples for _, x in sample):
        total.add(x)
        if kept.limit:
            y = np.matmul(x.transpose(1, 0, 2), weight.transpose(0, 2, 1)).transpose(1, 0, 2) + bias
            kept.add(x, y.astype(np.float32))
    return replace(own_moments(total.result(), weight, bias), rows=kept.result())


def _wanted(
    layer: Layer,
    samples: Sequence[RowSampler],
    targets: Sequence[WantedOutputs],
    kept: KeptRows,
    parted: bool,
) -> Moments:
    few = parted or sum(map(_rows, samples, targets)) < FEW * layer.fan_in
    sums = [MomentSum(layer.group, layer.fan_in, layer.filters // layer.group) for _ in range(1 + few)]
    for sample, target in zip(samples, targets, strict=True):
        for part, (x, y, *shift) in parted_blocks(_halves(sample, target) if few else _whole(sample, target)):
            sums[part].add(x, y)
            kept.add(x, y, *shift)
    found = [each.result() for each in sums]
    return replace(joined(*found) if few else found[0], rows=kept.result())


def _rows(sample: RowSampler, target: WantedOutputs) -> int:
    """About as many as will be sampled."""
    positions = prod(target.original[sample.layer.output.name].shape(0)[2:])
    return min(sample.limit, sum(sample.inputs.lengths) * positions)


def _whole(sample: RowSampler, target: WantedOutputs) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:
    return ((0, (x, *target.rows(batch, at))) for batch, (at, x) in enumerate(sample))


def _halves(sample: RowSampler, target: WantedOutputs) -> Iterator[tuple[int, tuple[np.ndarray, ...]]]:
    """The rows of every batch in two, those of one sample together."""
    for batch, (_, (x, *rest)) in enumerate(_whole(sample, target)):
        count = sample.inputs.lengths[batch]
        cut = count // 2 * (len(x) // count)
        yield batch % 2, tuple(part[:cut] for part in (x, *rest))
        yield 1 - batch % 2, tuple(part[cut:] for part in (x, *rest))
