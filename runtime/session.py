"""Running a graph, or a piece of one, with onnxruntime.

Q/DQ pairs are run as they are written, not fused into INT8 kernels. On x86-64 processors without VNNI onnxruntime's
kernels add products in 16 bits and saturate, which TensorRT's (and those of newer processors) do not: a ResNet-20 whose
Convs are factorized and quantized loses 1.3 points of accuracy to that alone.

From version 1.29 on, onnxruntime sends names and hashes of models to its maker by default, also on Linux, and keeps
them in ~/.cache/Microsoft until then. Networks of users are nobody else's business: that is off here, unless
ORT_DISABLE_TELEMETRY has a value already.

Weights of `LARGE` bytes or more are handed over as arrays, not serialized: a model may have more than the 2 GB that a
protobuf message holds.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx
import onnx_graphsurgeon as gs

from ..compiler.errors import CompressError, Unavailable
from ..compiler.graph.comparable import comparable_tensors
from ..compiler.graph.external import EXTERNAL
from ..compiler.graph.io import Model, to_weightless
from ..compiler.graph.protobuf_writer import Weights
from ..compiler.graph.weightless import export_weightless
from ..compiler.jobs import inner_threads

PROVIDERS = ("CPUExecutionProvider",)
UNFUSED, SPINNING = "session.disable_quant_qdq", "session.intra_op.allow_spinning"
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY"
LARGE = 2**20
LOSES_OUTPUTS = "ConvAddActivationFusion"
"""Fuses an Add with one of two Convs before it even where the result of that Conv is an output of the model."""


def import_onnxruntime() -> Any:
    """The onnxruntime module; an error that names the install command where it is missing."""
    os.environ.setdefault(NO_TELEMETRY, "1")
    try:
        import onnxruntime
    except ImportError as error:
        raise Unavailable(
            "onnxruntime is not installed", "calibration data needs it", "pip install 'onnx-compress[cpu]' or '[gpu]'"
        ) from error
    return onnxruntime


class Session:
    """An onnxruntime session over a ModelProto.

    Args:
        model: the model; its graph outputs are what `run` returns.
        threads: intra-op threads; None takes all cores, inside a job one.
        fused: Q/DQ pairs become INT8 kernels, see the module docstring.
        weights: those that the model leaves out (`compiler.graph.weightless`).
        optimized: rewritten for speed first, which takes longer than a few samples do.
        streamed: for many runs. Memory that a run gives back is kept for the next, which saves half of the time where
            many tensors are outputs; it rounds up, and is of no use to the next session.

    Raises:
        CompressError: onnxruntime is missing or cannot load the model (a custom op, say).
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        threads: int | None = None,
        fused: bool = False,
        weights: Weights | None = None,
        optimized: bool = True,
        streamed: bool = False,
    ):
        runtime = import_onnxruntime()
        options = runtime.SessionOptions()
        options.log_severity_level = 4
        if not optimized:
            options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.enable_cpu_mem_arena = streamed
        options.add_session_config_entry(SPINNING, "0")
        options.add_session_config_entry(UNFUSED, "0" if fused else "1")
        threads = threads or inner_threads()
        if threads is not None:
            options.intra_op_num_threads = threads
        absent = [entry.name for entry in model.graph.initializer if entry.data_location == EXTERNAL]
        if weights and absent:
            values = [np.ascontiguousarray(weights[name].values) for name in absent]
            self._weights = [runtime.OrtValue.ortvalue_from_numpy(value) for value in values]
            options.add_external_initializers(absent, self._weights)
        self.outputs = [output.name for output in model.graph.output]
        read = {name for node in model.graph.node for name in node.input}
        try:
            self._session = runtime.InferenceSession(
                model.SerializeToString(),
                options,
                providers=list(PROVIDERS),
                disabled_optimizers=[] if read.isdisjoint(self.outputs) else [LOSES_OUTPUTS],
                enable_fallback=0,  # to the same provider once more, with a banner on standard output
            )
        except Exception as error:
            raise CompressError(
                f"onnxruntime cannot load the model: {_first_line(error)}",
                "",
                "run without --data: data-free passes still work",
            ) from error

    def run(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Output name -> array."""
        try:
            values = self._session.run(self.outputs, dict(feeds))
        except Exception as error:
            raise CompressError(
                f"onnxruntime cannot run the model: {_first_line(error)}", "", "check --data and --preprocess"
            ) from error
        return dict(zip(self.outputs, values, strict=True))


def graph_session(graph: gs.Graph, outputs: Sequence[str] | None = None, streamed: bool = False) -> Session:
    """A session over a whole graph that returns the named tensors, each once (default: the graph's outputs)."""
    return _session(*export_weightless(graph, LARGE), outputs, streamed=streamed)


def model_session(
    model: Model,
    outputs: Sequence[str] | None = None,
    optimized: bool = True,
    fused: bool = False,
    streamed: bool = False,
) -> Session:
    """A session over a whole model that returns the named tensors, each once (default: the model's outputs)."""
    return _session(*to_weightless(model, LARGE), outputs, optimized, fused, streamed)


def shape_session(graph: gs.Graph, tensors: Sequence[str]) -> Session:
    """A session over a whole graph that returns the shapes of the named tensors, in their order."""
    proto, weights = export_weightless(graph, LARGE)
    outputs = [f"{name}:shape" for name in tensors]
    proto.graph.node.extend(
        onnx.helper.make_node("Shape", [name], [output]) for name, output in zip(tensors, outputs, strict=True)
    )
    return _session(proto, weights, outputs, optimized=False)


def comparable_session(model: Model | gs.Graph) -> Session:
    """A session that returns what the model can be judged by: see `compiler.graph.comparable`."""
    if isinstance(model, Model):
        return model_session(model, comparable_tensors(model.graph), streamed=True)
    return graph_session(model, comparable_tensors(model), streamed=True)


def _session(
    proto: onnx.ModelProto,
    weights: Weights,
    outputs: Sequence[str] | None,
    optimized: bool = True,
    fused: bool = False,
    streamed: bool = False,
) -> Session:
    whole = proto if outputs is None else with_outputs(proto, outputs)
    return Session(whole, weights=weights, optimized=optimized, fused=fused, streamed=streamed)


def with_outputs(proto: onnx.ModelProto, names: Iterable[str]) -> onnx.ModelProto:
    """`proto`, in place, with the named tensors for outputs, each once."""
    del proto.graph.output[:]
    proto.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names))
    return proto


def segment_session(
    graph: gs.Graph, nodes: Sequence[gs.Node], inputs: Mapping[str, np.ndarray], outputs: Sequence[str]
) -> Session:
    """A session over some nodes of `graph`: fed the tensors in `inputs` (examples of type and rank)."""
    piece = gs.Graph(
        nodes=list(nodes),
        opset=graph.opset,
        import_domains=graph.import_domains,
        functions=graph.functions,
        ir_version=graph.ir_version,
    )
    proto, weights = export_weightless(piece, LARGE)
    for name, example in inputs.items():
        kind = onnx.helper.np_dtype_to_tensor_dtype(example.dtype)
        proto.graph.input.append(onnx.helper.make_tensor_value_info(name, kind, [None] * example.ndim))
    del proto.graph.value_info[:]
    return _session(proto, weights, outputs, streamed=True)


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0] if str(error).strip() else repr(error)
