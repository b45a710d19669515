"""Small models as text, and what tests look at in them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import onnxruntime
from onnx import numpy_helper, parser
from onnx_compress.compiler.graph.io import Model, from_proto, to_proto
from onnx_compress.runtime.session import Session

RUNTIME = tuple(int(part) for part in onnxruntime.__version__.split(".")[:2])
"""1.23 is the last one for Python 3.10, and does not run all that newer ones do."""


def proto(graph: str, opset: int = 17, ir: int = 8, domains: str = "", **weights: np.ndarray) -> onnx.ModelProto:
    """`proto("g (float[N,3,8,8] x) => (float[N,4,8,8] y) { y = Conv(x, w) }", w=array)`."""
    model = parser.parse_model(f'<ir_version: {ir}, opset_import: ["" : {opset}{domains}]> {graph}')
    model.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in weights.items())
    return model


def model(graph: str, opset: int = 17, ir: int = 8, domains: str = "", **weights: np.ndarray) -> Model:
    return from_proto(proto(graph, opset, ir, domains, **weights))


def listing(graph: gs.Graph) -> list[str]:
    """One line per node: `y = Conv(x, w)`."""
    return [
        f"{', '.join(t.name for t in node.outputs)} = {node.op}({', '.join(t.name for t in node.inputs)})"
        for node in graph.nodes
    ]


def node(graph: gs.Graph, op: str) -> gs.Node:
    """The only node of that operator."""
    (found,) = [node for node in graph.nodes if node.op == op]
    return found


def run(model: Model | onnx.ModelProto, **feeds: np.ndarray) -> dict[str, np.ndarray]:
    """The outputs of a model in onnxruntime."""
    return Session(to_proto(model) if isinstance(model, Model) else model, threads=1).run(feeds)


def normal(*shape: int, seed: int = 0, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


class Unlabelled:
    """What a Data says of itself where there is nothing to say; stand-ins add `samples`, `batches` and `take`."""

    labels: np.ndarray | None = None
    digest, description = "0" * 64, "here"
    fixed_batch, largest_batch = None, None
    shapes: np.ndarray | None = None


@dataclass(frozen=True)
class Images(Unlabelled):
    """A Data of the one input `x`, in memory."""

    x: np.ndarray
    labels: np.ndarray | None = None

    @property
    def samples(self) -> int:
        return len(self.x)

    def batches(self, size: int) -> Iterator[dict[str, np.ndarray]]:
        for start in range(0, len(self.x), size):
            yield {"x": self.x[start : start + size]}

    def take(self, rows: np.ndarray) -> dict[str, np.ndarray]:
        return {"x": self.x[rows]}
