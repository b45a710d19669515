"""How good trained parameters are: the network with them, on held-out samples, beside the original or the labels.

Without labels the error of the outputs decides, not the share of samples that get the class the original gives. Both
networks are sure of nearly all of their training images, so of a thousand of these some ten change class: ResNet-20 in
spatial basis filters went from 88.2 to 89.5 top-1 on test images while the agreement on held-out ones stayed at 0.95
and the error fell from 0.29 to 0.26.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx
import onnx_graphsurgeon as gs
from onnx import numpy_helper

from ...compiler.context import Data
from ...runtime.evaluate import agreement
from ...runtime.session import Session, graph_session
from .parameters import Parameter
from .program import trained_name


class HeldOut:
    """See `runtime.training.loop.Judge`.

    score = (-error of the outputs, top-1 agreement with the original), the agreement only where the first output has
    class scores; where labels are given, (accuracy, -error).
    """

    def __init__(
        self,
        graph: gs.Graph,
        parameters: Sequence[Parameter],
        original: gs.Graph,
        data: Data,
        labels: np.ndarray | None,
    ):
        self._model: onnx.ModelProto = gs.export_onnx(graph, do_type_check=False)
        self._stored = {constant.name: constant for constant in self._model.graph.initializer}
        self._parameters = parameters
        self._reference = graph_session(original)
        self._data, self._labels = data, labels

    def __call__(self, values: Mapping[str, np.ndarray]) -> tuple[float, ...]:
        for parameter in self._parameters:
            array = parameter.stored(values[trained_name(parameter)])
            self._stored[parameter.name].CopyFrom(numpy_helper.from_array(array, parameter.name))
        found = agreement(self._reference, Session(self._model), self._data, labels=self._labels)
        if found.top1 is None:
            return (-found.error,)
        return (-found.error, found.top1) if found.correct is None else (found.correct[1], -found.error)

    def figures(self, score: Sequence[float]) -> dict[str, float]:
        """The parts of a score by name, an error as a positive number."""
        names = ("error", "agreement") if self._labels is None else ("accuracy", "error")
        return {name: abs(value) for name, value in zip(names, score, strict=False)}
