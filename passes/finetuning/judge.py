"""How good trained parameters are: the network with them, on held-out samples, beside the original or the labels."""

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

    score = (top-1 agreement with the original, or accuracy where labels are given; -error of the outputs), or the
    error alone where the first output has no class scores.
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
        rated = found.top1 if found.correct is None else found.correct[1]
        return (rated, -found.error)
