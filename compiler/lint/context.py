"""What all nodes of a model share: the target, and what the rules ask about the whole."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
from onnx import numpy_helper

from ..errors import CompressError
from ..graph.external import load_external_data
from ..targets import Target
from ..targets.operators import Version


@dataclass(frozen=True)
class LintContext:
    """The target that a model is checked for, and what surrounds its nodes.

    Attributes:
        opset: version of the default domain.
        folder: where external data lie, if known.
        plugins: names of TensorRT plugins beside those that ship with it.
    """

    target: Target
    opset: int
    folder: Path | None
    plugins: frozenset[str]

    @property
    def version(self) -> Version:
        """Of TensorRT; (0, 0) for another engine."""
        return self.target.tensorrt or (0, 0)

    def values(self, tensor: onnx.TensorProto) -> np.ndarray | None:
        """The numbers of a stored tensor; None where its file is not there."""
        try:
            return numpy_helper.to_array(self._loaded(tensor))
        except (CompressError, ValueError, TypeError):
            return None

    def _loaded(self, tensor: onnx.TensorProto) -> onnx.TensorProto:
        if tensor.data_location != onnx.TensorProto.EXTERNAL:
            return tensor
        if self.folder is None:
            raise CompressError("its data lie in a file", tensor.name, "give the folder")
        copy = onnx.TensorProto()
        copy.CopyFrom(tensor)
        load_external_data(copy, self.folder)
        return copy
