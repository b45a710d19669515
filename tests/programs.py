"""Programs that tests train."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from builders import normal, proto
from onnx import TensorProto, helper, numpy_helper, parser
from onnx_compress.runtime.training.engine import Program

LOSS = "p = LogSoftmax <axis = -1> (scores) t = Mul (p, target) s = ReduceMean <keepdims = 0> (t) loss = Neg (s)"

BLOCK = f"""
g (float[4,3,8,8] x, float[4,5] target, float[8,3,3,3] w, float[8] b, float[16,8,3,3] w1, float[16,16,3,3] w2,
   float[5,16] f, float[5] c) => (float loss) {{
    y = Conv <pads = [1, 1, 1, 1]> (x, w, b)
    r = Relu (y)
    y1 = Conv <pads = [1, 1, 1, 1], strides = [2, 2]> (r, w1)
    r1 = Relu (y1)
    y2 = Conv <pads = [1, 1, 1, 1]> (r1, w2)
    h = AveragePool <kernel_shape = [2, 2], strides = [2, 2]> (r)
    d = Concat <axis = 1> (h, h)
    z = Add (y2, d)
    v = Relu (z)
    m = GlobalAveragePool (v)
    n = Flatten (m)
    scores = Gemm <transB = 1> (n, f, c)
    {LOSS}
}}"""


def program(graph: str, opset: int = 17, **parameters: np.ndarray) -> Program:
    """A program of text; the inputs that `parameters` names are trained."""
    return Program(proto(graph, opset=opset), parameters)


def block() -> tuple[Program, dict[str, np.ndarray]]:
    """A residual block with a classifier, and a batch."""
    shapes = {"w": (8, 3, 3, 3), "b": (8,), "w1": (16, 8, 3, 3), "w2": (16, 16, 3, 3), "f": (5, 16), "c": (5,)}
    parameters = {name: 0.2 * normal(*shape, seed=seed) for seed, (name, shape) in enumerate(shapes.items())}
    return program(BLOCK, **parameters), {"x": normal(4, 3, 8, 8), "target": np.eye(5, dtype=np.float32)[[0, 3, 1, 4]]}


def classifier(path: Path, batch: int) -> tuple[Program, dict[str, np.ndarray]]:
    """A network of ten classes with its weights as parameters, and a random batch of its images."""
    model = onnx.load(path)
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer if tensor.dims}
    parameters = {name: value for name, value in weights.items() if value.dtype == np.float32}
    kept = [tensor for tensor in model.graph.initializer if tensor.name not in parameters]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    (images,) = [value for value in model.graph.input if value.name not in parameters]
    images.type.tensor_type.shape.dim[0].dim_value = batch
    shape = [dim.dim_value for dim in images.type.tensor_type.shape.dim]
    inputs = {"target": (batch, 10), **{name: value.shape for name, value in parameters.items()}}
    listed = {value.name for value in model.graph.input}
    model.graph.input.extend(_declared(name, shape) for name, shape in inputs.items() if name not in listed)
    model.graph.node.extend(_loss(model.graph.output[0].name))
    model.graph.output[0].CopyFrom(_declared("loss", ()))
    target = np.eye(10, dtype=np.float32)[np.arange(batch) % 10]
    return Program(model, parameters), {images.name: normal(*shape), "target": target}


def _loss(scores: str) -> list[onnx.NodeProto]:
    graph = parser.parse_graph(f"g (float scores, float target) => (float loss) {{ {LOSS} }}")
    for node in graph.node:
        node.input[:] = [scores if name == "scores" else name for name in node.input]
    return list(graph.node)


def _declared(name: str, shape: tuple[int, ...]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)
