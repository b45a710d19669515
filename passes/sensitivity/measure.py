"""How much a layer's error counts when a budget is divided: `sensitivity=energy` or `sensitivity=output`. For
decompositions `energy` is the default; `output` is better by a little and takes about twice the time of the whole pass,
until its table is cached.

energy    every layer's relative lost output energy counts the same: gain 1
output    Each layer alone gets weights that lose about `LEVELS` of its output energy; the divergence of the network's
          outputs is measured on samples that no fit has seen. Its slope through the origin, fitted on the log scale so
          that the largest error does not decide,
              slope = exp(mean log(divergence / error)),        gain = (slope / geometric mean of slopes) ^ TEMPER
          The root tempers it: what the layers after a layer make up for, when they are re-fitted, is not measured.

    divergence = mean over samples of sum_c p_c log(p_c / q_c)        where the outputs are rows of class scores, of the
                                                                      first, p and q the softmax of scores / T, before
                                                                      and after
    divergence = sum |a - b|^2 / sum |a|^2                            where they are a map of class scores
    divergence = squared error by channel                             of other outputs (`quality.comparison`)

T is 1, or so large that the likeliest class has a probability of `CONFIDENCE` on the mean: where a network is sure of
nearly all samples, the few others would decide alone. ResNet-56, `prune:macs=0.75`, divergence (T = 1) on 2,928 other
training images: 0.0031 with T = 1 and 128 samples, 0.0023 with 64; 0.0018 with T = 1, 192 samples and three levels.

Beside the relative distance of all outputs, the error by channel wins back what `prune:macs=0.8` loses on detectors,
mAP50: FastestDet (35.2) 27.3 instead of 21.1, with sensitivity=energy 21.7; YOLOX-nano (49.6) 22.9 instead of 14.0. On
the class map of DeepLab (35.9) the distance is better: mean IoU 37.3, by channel 28.5, by classes 29.4. 48 images each.

The network is walked once: what comes before a layer is not run again, and what comes after it is run with the weight
as an input, once per weight. The pass `prune` measures at one level (`pruning.sensitivity`).

Measured with the basis pass on 1,024 training images, judged on all CIFAR-10 test images (`benchmarks/sensitivity.py`):
top-1, and the Kullback-Leibler divergence of the class scores from the original's:

                                    energy           output           temper 0.25     0.75            1
    ResNet-20, half the MACs        90.07  0.1193    90.32  0.1105    90.22  0.1116   90.40  0.1103   90.36  0.1181
    ResNet-56, half the MACs        92.67            92.82  0.0558
    ResNet-56, 36 % of the MACs     91.40  0.1658    91.76  0.1442

Fewer points are cheaper and mostly worse, on ResNet-20: two levels and 128 samples 90.27, 0.1161; two levels and 40
samples 90.38, 0.1201; the smallest two of the three levels 90.26, 0.1119; the middle one alone 90.27, 0.1085.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs
from scipy.special import softmax

from ...compiler.costs.network_cost import graph_cost
from ...compiler.errors import CompressError
from ...compiler.graph.comparable import comparable_tensors, reads
from ...compiler.graph.convs import find_convs
from ...compiler.graph.copies import copy_graph
from ...compiler.graph.quantization.quantizers import Grid
from ...compiler.graph.shapes import static_shapes
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import ACTIVATIONS, Data, Feeds
from ...runtime.data import sized_batches
from ...runtime.quality.distances import NormalisedError, kullback_leibler
from ...runtime.quality.outputs import Kind, kind_of, log_scores
from ...runtime.rows import Layer
from ...runtime.segmented_executor import SegmentedExecutor
from ...runtime.session import Session, graph_session, segment_session
from ..fitting.fits import fitted_bias
from ..fitting.samples import held_out
from ..projection.fit import Array, Fit
from .table import LayerSensitivity, SensitivityTable, cache_file, table_key

MEASURED, FEWEST, BATCH = 192, 32, 64
WORK = 4e12  # multiply-accumulates that measuring may take, as far as `FEWEST` samples allow
LEVELS = (0.02, 0.08, 0.25)
TEMPER = 0.5
LEAST = 1e-9
CONFIDENCE = 0.6
TEMPERATURES = tuple(2 ** (step / 4) for step in range(25))
HOTTEST = TEMPERATURES[-1]
WEIGHT, BIAS = "trial.weight", "trial.bias"
PLAIN = {"transB": 1, "alpha": 1.0, "beta": 1.0}
Outputs = Sequence[np.ndarray]
Trial = tuple[float, Sequence[Array]]
"""A weight (n, d) per group to try in a layer, and the relative error of the layer's output under it."""


class SensitivityMeter:
    """The gain of each layer, from a table that is read, or measured while a pass walks the layers.

    A `file` that exists is used as it is. Otherwise the cache is looked up, and a new table goes there and into `file`.
    """

    def __init__(self, measure: str, file: str | None, most: int = MEASURED):
        self.measure, self._file, self._most = measure, None if file is None else Path(file), most
        self._table: SensitivityTable | None = None
        self._divergence: WeightDivergence | None = None
        self._points: dict[str, list[tuple[float, float]]] = {}
        self._cache: Path | None = None

    def prepare(self, graph: gs.Graph, ctx: Context, data: Data | None, options: Mapping[str, object]) -> None:
        """`CompressError` where the file is no table, or there is nothing to measure on; `options` are of the key."""
        if self._file is not None and self._file.exists():
            self._table = SensitivityTable.load(self._file)
            return
        if self.measure == "energy":
            return
        held = None if data is None else held_out(data, min(self._most, _affordable(graph, data)))
        if data is None or held is None:
            fix = "give --data, or more of them"
            raise CompressError(f"sensitivity={self.measure} needs data to hold out", "sensitivity", fix)
        key = {"measure": self.measure, "divergence": 5, "scope": ctx.scope(), **options}
        self._cache = cache_file(table_key(graph, data, key))
        with suppress(CompressError):
            self._table = SensitivityTable.load(self._cache)
        self._divergence = None if self._table else WeightDivergence(graph, held, ctx.activation_bytes, CONFIDENCE)

    @property
    def measures(self) -> bool:
        """Whether a new table is to be measured: after `prepare`, `add` every layer in graph order."""
        return self._divergence is not None

    def add(self, layer: Layer, fits: Sequence[Fit], trials: Sequence[Trial]) -> None:
        """Measure what the network's outputs lose under each of the trial weights of a layer."""
        assert self._divergence is not None
        weights = [(np.concatenate(list(dense)), fitted_bias(fits, dense)) for _, dense in trials]
        found = self._divergence.divergences(layer, weights)
        self._points[layer.name] = [(error, cost) for (error, _), cost in zip(trials, found, strict=True)]

    def slope(self, layer: Layer) -> float:
        """Of the divergence over the error of a layer that was measured."""
        return _slope(self._points[layer.name])

    def gains(self) -> dict[str, float]:
        """By layer, empty where all count the same; a table just measured is written."""
        if self.measures:
            self._table = tabulate(self._points)
        table = self._table
        if table is None:
            return {}
        if self._file is not None and not self._file.exists():
            table.save(self._file)
        if self.measures and self._cache is not None:
            with suppress(CompressError):  # a cache that cannot be written costs time only
                table.save(self._cache)
        return {name: entry.gain for name, entry in table.layers.items()}


def tabulate(points: Mapping[str, Sequence[tuple[float, float]]]) -> SensitivityTable:
    """The gains of layers by their (relative error, divergence)."""
    slopes = {name: _slope(measured) for name, measured in points.items()}
    middle = float(np.exp(np.mean([np.log(slope) for slope in slopes.values()] or [0.0])))
    gains = {name: (slope / middle) ** TEMPER for name, slope in slopes.items()}
    return SensitivityTable("output", {n: LayerSensitivity(gain, tuple(points[n])) for n, gain in gains.items()})


class WeightDivergence:
    """Tries other weights in the layers of `graph`, which is not changed; ask for the layers in graph order.

    `memory`: see `runtime.lockstep`; `confidence`: see `softening`.
    """

    def __init__(self, graph: gs.Graph, data: Data, memory: int = ACTIVATIONS, confidence: float | None = None):
        self._graph = copy_graph(graph)
        self._batches = batches = list(sized_batches(data, BATCH))
        self._names = comparable_tensors(graph)
        session = graph_session(graph, self._names)
        self._wanted = [[values[name] for name in self._names] for values in map(session.run, batches)]
        self._kind: Kind = outputs_kind(graph, batches[0], dict(zip(self._names, self._wanted[0], strict=True)))
        softens = confidence is not None and self._kind == "classes"
        self._temperature = softening(self._wanted, confidence or 1.0) if softens else 1.0
        self._executor = SegmentedExecutor(self._graph, batches, memory)

    def divergences(
        self, layer: Layer, weights: Sequence[tuple[np.ndarray, np.ndarray]], grid: Grid | None = None
    ) -> list[float]:
        """One per (weight (N, d), bias (N,)); `grid`: what the input of the layer is rounded to."""
        names = {use.name for use in layer.uses}
        nodes = [node for node in self._graph.nodes if node.name in names]
        self._executor.advance([layer.input.name])
        plan = self._executor.plan(self._names)
        made = {tensor.name for later in plan for tensor in later.outputs}
        held = {t.name for n in plan for t in reads(n) if isinstance(t, gs.Variable) and t.name not in made}
        changed = [name for name in self._names if name in made]
        if not changed:
            return [0.0] * len(weights)
        session = self._session(nodes, plan, held, layer, changed)
        rounded = {} if grid is None else {layer.input.name: grid}
        return [self._divergence(session, held, self._feeds(layer, *pair), rounded) for pair in weights]

    def of(self, network: gs.Graph) -> float:
        """Of another form of the whole network."""
        session = graph_session(network, comparable_tensors(network))
        return divergence(
            self._wanted, [list(session.run(feeds).values()) for feeds in self._batches], self._kind, self._temperature
        )

    def _session(
        self, nodes: list[gs.Node], plan: list[gs.Node], held: set[str], layer: Layer, names: Sequence[str]
    ) -> Session:
        """The rest of the network up to the named tensors, the weight and bias of `nodes` being inputs."""
        stored = [(node, list(node.inputs), node.attrs) for node in nodes]
        weight, bias = gs.Variable(WEIGHT, layer.dtype), gs.Variable(BIAS, layer.dtype)
        for node in nodes:
            node.inputs = [node.inputs[0], weight, bias]
            node.attrs = {**node.attrs, **(PLAIN if node.op == "Gemm" else {})}
        try:
            examples = {name: self._executor[name][0] for name in held}
            feeds = self._feeds(layer, layer.weight, np.zeros(layer.filters))
            return segment_session(self._graph, plan, {**examples, **feeds}, names)
        finally:
            for node, inputs, attrs in stored:
                node.inputs, node.attrs = inputs, attrs

    def _feeds(self, layer: Layer, weight: np.ndarray, bias: np.ndarray) -> dict[str, np.ndarray]:
        return {WEIGHT: weight.reshape(layer.weight.shape).astype(layer.dtype), BIAS: bias.astype(layer.dtype)}

    def _divergence(
        self, session: Session, held: set[str], weight: dict[str, Any], rounded: Mapping[str, Grid]
    ) -> float:
        """Outputs that were there before the layer are what they were."""
        found: list[Outputs] = []
        for index, wanted in enumerate(self._wanted):
            feeds = {name: self._executor[name][index] for name in held}
            feeds |= {name: grid.values(grid.codes(feeds[name])) for name, grid in rounded.items()}
            values = session.run({**feeds, **weight})
            found.append([values.get(name, before) for name, before in zip(self._names, wanted, strict=True)])
        return divergence(self._wanted, found, self._kind, self._temperature)


def softening(wanted: Sequence[Outputs], confidence: float) -> float:
    """What class scores are divided by, 1 or more, so that the mean probability of the likeliest class is no more than
    `confidence`."""
    scores = np.concatenate([log_scores(outputs[0], outputs[0])[0] for outputs in wanted])
    chances = (softmax(scores / each, axis=1).max(axis=1).mean() for each in TEMPERATURES)
    return next((each for each, chance in zip(TEMPERATURES, chances, strict=True) if chance <= confidence), HOTTEST)


def divergence(
    wanted: Sequence[Outputs], found: Sequence[Outputs], kind: Kind = "classes", temperature: float = 1.0
) -> float:
    """Of outputs, by batch: see the module docstring; `kind`: what they are."""
    if kind == "classes":
        pairs = [log_scores(a[0], b[0]) for a, b in zip(wanted, found, strict=True)]
        return float(np.mean(np.concatenate([kullback_leibler(a, b, temperature) for a, b in pairs])))
    if kind == "maps":
        gaps = [
            (float(np.square(a[0] - b[0]).sum()), float(np.square(a[0]).sum()))
            for a, b in zip(wanted, found, strict=True)
        ]
        distance, energy = (sum(part) for part in zip(*gaps, strict=True))
        return distance / max(energy, 1e-30)
    error = NormalisedError()
    for a, b in zip(wanted, found, strict=True):
        error.add(*({str(place): value for place, value in enumerate(side)} for side in (a, b)))
    return error.result().value ** 2


def outputs_kind(graph: gs.Graph, feeds: Feeds, outputs: Mapping[str, np.ndarray]) -> Kind:
    """The kind of outputs that a divergence is measured of; numbers of classes are values, as they have no scores."""
    if all(each.dtype.kind == "f" for each in outputs.values()):
        return kind_of(graph, feeds, outputs)
    return "values"


def _affordable(graph: gs.Graph, data: Data) -> int:
    """How many samples to measure on: for every layer and level, on average half of the network is run."""
    sample = {name: values.shape for name, values in next(iter(data.batches(1))).items()}
    macs = graph_cost(graph, static_shapes(graph, sample)).macs
    if macs is None:
        return FEWEST
    each = macs * len(list(find_convs(graph))) * len(LEVELS) / 2
    return int(min(MEASURED, max(FEWEST, WORK / max(each, 1))))


def _slope(points: Sequence[tuple[float, float]]) -> float:
    """Divergence per error, the geometric mean over the points."""
    rates = [max(cost, LEAST) / max(error, LEAST) for error, cost in points]
    return float(np.exp(np.mean(np.log(rates or [1.0]))))
