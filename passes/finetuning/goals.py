"""Where two networks are compared while one is trained: what both compute, with one shape, on the user's samples.

Of a network that ends in a Softmax the scores before it are compared: another Softmax of probabilities is nearly flat.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.errors import Unavailable
from ...compiler.graph.comparable import comparable_tensors
from ...compiler.pipeline.data import Feeds
from ...runtime.session import graph_session
from .channels import channel_scale
from .objective import Objective, feature_ends, objective, with_ortho
from .options import FinetuneOptions
from .parameters import TrainableParameter
from .unchanged import frontier, unchanged_tensors

PROBABILITIES = frozenset(("Softmax", "LogSoftmax"))
SHAPED = frozenset(("Identity", "Cast", "Flatten", "Reshape", "Squeeze", "Unsqueeze"))
NO_FLOATS = "no output is in floating point: nothing says in which direction the network is to learn"


@dataclass
class Goals:
    """Of a network and its original.

    Attributes:
        few: a batch of a few samples, to see what is still as it was.
        labels: there are some.
    """

    graph: gs.Graph
    original: gs.Graph
    options: FinetuneOptions
    few: Feeds
    labels: bool

    @cached_property
    def outputs(self) -> list[str]:
        """What both are judged by; of probabilities the scores."""
        return [self._scores(name) for name in comparable_tensors(self.graph) if name in self._known]

    @cached_property
    def rated(self) -> list[str]:
        """What may be class scores."""
        return [self._scores(tensor.name) for tensor in self.graph.outputs]

    @cached_property
    def _known(self) -> set[str]:
        return {tensor.name for node in self.original.nodes for tensor in node.outputs}

    def _scores(self, name: str) -> str:
        """What a Softmax at the end reads, where both networks have it; else the tensor itself."""
        tensor = self.graph.tensors()[name]
        while tensor.inputs and tensor.inputs[0].op in SHAPED:
            tensor = tensor.inputs[0].inputs[0]
        behind = tensor.inputs and tensor.inputs[0].op in PROBABILITIES
        scores = tensor.inputs[0].inputs[0].name if behind else name
        return scores if scores in self._known else name

    @cached_property
    def features(self) -> list[str]:
        if "features" not in self.options.losses:
            return []
        ends = feature_ends(self.graph, self.original, self.outputs)
        return [name for end in ends for name in end if name not in self.unchanged]

    @cached_property
    def unchanged(self) -> set[str]:
        """Tensors that are still as they were, where what gives them is to rest."""
        if not self.options.few or "ce" in self.options.losses:
            return set()
        return unchanged_tensors(self.graph, self.original, self.few)

    @cached_property
    def border(self) -> list[str]:
        """Behind which layers are trained."""
        return frontier(self.graph, self.unchanged)

    def objective(self, batch: Feeds, parameters: Sequence[TrainableParameter]) -> Objective | None:
        """For batches of that shape; None where all outputs are unchanged.

        Raises:
            Unavailable: nothing can be compared, or labels are wanted that are not there.
        """
        names = [*self.outputs, *self.features]
        here = graph_session(self.graph, names).run(batch)
        there = graph_session(self.original, [*names, *self.border]).run(batch)
        floats = [name for name in self.outputs if here[name].dtype.kind == "f"]
        if not floats:
            raise Unavailable(NO_FLOATS, "finetune", "export it with its scores, without ArgMax at the end")
        outputs = {
            name: (there[name].shape, channel_scale(here[name], there[name]))
            for name in floats
            if name not in self.unchanged
        }
        if not outputs:
            return None
        same = {name: there[name].shape for name in self.features if _comparable(here[name], there[name])}
        found = objective(self.options.losses, outputs, same, self.rated, self.options.temperature)
        if found.labelled and not self.labels:
            raise Unavailable("loss=ce needs labels", "finetune", "--labels, or loss=distill")
        found.taken = {name: found.of_teacher(name, there[name].shape) for name in self.border}
        return with_ortho(found, self.graph, parameters, self.options.ortho) if self.options.ortho else found


def _comparable(here: np.ndarray, there: np.ndarray) -> bool:
    return here.shape == there.shape and here.dtype.kind == "f"
