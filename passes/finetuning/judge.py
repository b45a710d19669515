"""How good trained parameters are: the network with them, on held-out samples, beside the original or the labels.

    divergence = T^2 KL(softmax(t / T) || softmax(s / T)), mean over samples       t, s: class scores before and after

The metric of the run decides, or a finer measure of the same thing. Of class scores that is the divergence: it is what
the training drives down. The share of samples that get the class the original gives is noise beside it, as both
networks are sure of nearly all of their training images, and the distance of the outputs is what the passes before have
fitted already. Over seven states of one training of ResNet-20 in spatial basis filters it follows the accuracy on test
images but for two steps of 0.1 points or less. Shares of fewer than `ENOUGH` samples only break ties.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs
from onnx import numpy_helper

from ...compiler.graph.comparable import comparable_tensors
from ...compiler.graph.copies import copy_graph
from ...compiler.pipeline.context import Context
from ...compiler.pipeline.data import Data
from ...runtime.quality.comparison import Accuracy, Comparison
from ...runtime.quality.distances import Divergence
from ...runtime.quality.judge import BY_NAME, SampleJudge, judge_of_run
from ...runtime.quality.walk import compared
from ...runtime.session import Session, with_outputs
from .parameters import TrainableParameter
from .program import trained_name

ENOUGH = 64
SHARES = ("accuracy", "agreement")
DECIDING: Mapping[str, Sequence[str]] = {
    "agreement": ("divergence", "agreement", "error"),
    "accuracy": ("accuracy", "divergence", "error"),
    "pixels": ("pixels", "error"),
    "error": ("error",),
}
"""What decides, by the metric of the run, and what breaks ties."""
DISTANCES = ("divergence", "error")


class HeldOut:
    """See `runtime.training.loop.Judge`.

    Attributes:
        parameters: that are trained.
        names: the parts of a score, the first of which decides: of the user's own metric its value, else `DECIDING`;
            (accuracy, error) where labels are trained on, (error, agreement) of class scores that are not.

    Args:
        data: samples that are not trained on.
        labelled: their labels are those of samples that are trained on.
        temperature: T, where outputs are distilled.
    """

    def __init__(
        self,
        graph: gs.Graph,
        parameters: Sequence[TrainableParameter],
        original: gs.Graph,
        data: Data,
        ctx: Context,
        labelled: bool = False,
        temperature: float | None = None,
    ):
        self._graph, self.parameters = graph, parameters
        self._model = with_outputs(gs.export_onnx(graph, do_type_check=False), comparable_tensors(graph))
        self._stored = {constant.name: constant for constant in self._model.graph.initializer}
        judge = judge_of_run(original, ctx, data)
        self._sampled = judge if isinstance(judge, SampleJudge) else SampleJudge.of(original, data)
        self._own = None if judge is self._sampled else judge
        self._temperature = temperature or 1.0
        names = ("accuracy", "error") if labelled else DECIDING[self._sampled.metric]
        if temperature is None and self._sampled.metric == "agreement" and not labelled:
            names = ("error", "agreement")
        if data.samples < ENOUGH:
            names = sorted(names, key=SHARES.__contains__)
        self.names = (*(() if self._own is None else (self._own.metric,)), *names)

    def __call__(self, values: Mapping[str, np.ndarray]) -> tuple[float, ...]:
        stored = {one.name: one.stored(values[trained_name(one)]) for one in self.parameters}
        for name, array in stored.items():
            self._stored[name].CopyFrom(numpy_helper.from_array(array, name))
        own = [] if self._own is None else [self._own.judge(self._trained(stored))]
        comparisons = [self._comparison(name) for name in self.names[len(own) :]]
        found = compared(self._sampled.original, Session(self._model), self._sampled.data, *comparisons)
        figures = zip(self.names, (*own, *found), strict=True)
        return tuple(-each.value if name in DISTANCES else each.value for name, each in figures)

    def _trained(self, stored: Mapping[str, np.ndarray]) -> gs.Graph:
        graph = copy_graph(self._graph)
        tensors = graph.tensors()
        for name, array in stored.items():
            constant = tensors[name]
            assert isinstance(constant, gs.Constant)
            constant.values = array
        return graph

    def _comparison(self, name: str) -> Comparison:
        if name == "accuracy" and self._sampled.labels is not None:
            return Accuracy(self._sampled.labels)
        return Divergence(self._temperature) if name == "divergence" else BY_NAME[name]()

    def figures(self, score: Sequence[float]) -> dict[str, float]:
        """The parts of a score by name, distances as positive numbers."""
        return {name: -part if name in DISTANCES else part for name, part in zip(self.names, score, strict=True)}
