"""How good trained parameters are: the network with them, on held-out samples, beside the original or the labels.

    divergence = T^2 KL(softmax(t / T) || softmax(s / T)), mean over samples       t, s: class scores before and after

Without labels this decides, where there are class scores: it is what the training drives down. The share of samples
that get the class the original gives is noise beside it, as both networks are sure of nearly all of their training
images, and the distance of the outputs is what the passes before have fitted already. Over seven states of one training
of ResNet-20 in spatial basis filters it follows the accuracy on test images but for two steps of 0.1 points or less.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs
from onnx import numpy_helper

from ...compiler.graph.comparable import comparable_tensors
from ...compiler.pipeline.data import Data
from ...runtime.evaluate import agreement
from ...runtime.session import Session, comparable_session, with_outputs
from .parameters import TrainableParameter
from .program import trained_name


class HeldOut:
    """See `runtime.training.loop.Judge`.

    score = (-divergence,) where outputs are distilled and the first has class scores; (accuracy,) where labels are
    given; (-error of the outputs,) otherwise. Parts that break ties come behind: `figures` names them.

    Args:
        labels: of the samples, where they are trained on.
        temperature: T, where outputs are distilled.
    """

    def __init__(
        self,
        graph: gs.Graph,
        parameters: Sequence[TrainableParameter],
        original: gs.Graph,
        data: Data,
        labels: np.ndarray | None,
        temperature: float | None,
    ):
        self._model = with_outputs(gs.export_onnx(graph, do_type_check=False), comparable_tensors(graph))
        self._stored = {constant.name: constant for constant in self._model.graph.initializer}
        self._parameters = parameters
        self._reference = comparable_session(original)
        self._data, self._labels, self._temperature = data, labels, temperature

    def __call__(self, values: Mapping[str, np.ndarray]) -> tuple[float, ...]:
        for parameter in self._parameters:
            array = parameter.stored(values[trained_name(parameter)])
            self._stored[parameter.name].CopyFrom(numpy_helper.from_array(array, parameter.name))
        found = agreement(
            self._reference,
            Session(self._model),
            self._data,
            labels=self._labels,
            temperature=self._temperature or 1.0,
        )
        parts = {
            "accuracy": None if found.correct is None else found.correct[1],
            "divergence": None if found.divergence is None else -found.divergence,
            "agreement": found.top1,
            "error": -found.error,
        }
        return tuple(value for name in self._order if (value := parts[name]) is not None)

    @property
    def _order(self) -> tuple[str, ...]:
        if self._labels is not None:
            return ("accuracy", "error")
        return ("error", "agreement") if self._temperature is None else ("divergence", "agreement", "error")

    def figures(self, score: Sequence[float]) -> dict[str, float]:
        """The parts of a score by name, distances as positive numbers."""
        names = self._order if len(score) == len(self._order) else ("error",)
        return {name: abs(value) for name, value in zip(names, score, strict=True)}
