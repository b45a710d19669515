"""The process that holds onnxruntime-training; started by `process`, as a script, in an environment of its own.

It imports nothing of this package. `request.json` in the folder that the only argument names:

    {"graph": file, "straight": file, "memory": file, "loss": name, "threads": 0,
     "inputs": {name: [dtype, shape, offset]}, "gradients": {parameter: [dtype, shape, offset]}}

It derives the gradient graph, puts the nodes of `straight` in the place of the nodes of the same outputs (a stand-in
that was differentiated gives way to what it stands for), and computes a step whenever a line comes on stdin: from the
inputs in the mapped memory to the gradients there. What happens is written to stdout, a line of JSON each:

    {"stage": "gradients"}   {"ready": "1.19.2"}   {"loss": 0.25}   {"failed": "why"}

Threads that wait do not spin: the process that prepares the next batch wants the same cores. Q/DQ pairs are computed
as they are written, in float32: the INT8 kernels of x86-64 saturate.

It ends with its stdin, and so with the process that started it. Whatever the library itself prints goes to stderr.
"""

from __future__ import annotations

import importlib
import json
import mmap
import os
import sys
from pathlib import Path
from typing import Any


def main() -> None:
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def tell(**event: Any) -> None:
        channel.write(json.dumps(event) + "\n")
        channel.flush()

    try:
        serve(Path(sys.argv[1]), tell)
    except Exception as error:  # whatever the library raises is for the other process to word
        tell(failed=str(error) or repr(error))


def serve(folder: Path, tell: Any) -> None:
    request = json.loads((folder / "request.json").read_text(encoding="utf-8"))
    tell(stage="import")
    library: Any = importlib.import_module("onnxruntime")
    library.set_default_logger_severity(4)
    tell(stage="gradients")
    model = differentiate((folder / request["graph"]).read_bytes(), request["loss"], request["gradients"])
    put_straight(model, (folder / request["straight"]).read_bytes())
    tell(stage="load")
    step = Step(library, model, request, folder / request["memory"])
    tell(ready=library.__version__)
    tell(stage="step")
    for _ in sys.stdin:
        tell(loss=step.run())


def differentiate(model: bytes, loss: str, parameters: Any) -> Any:
    """The model that computes the loss and, by the name NAME_grad, its gradients."""
    import onnx

    bindings: Any = importlib.import_module("onnxruntime.capi._pybind_state")
    builder = bindings.GradientGraphBuilder(model, {loss}, set(parameters), loss)
    builder.build()
    made: Any = onnx.load_from_string(builder.get_model())
    del made.graph.output[:]
    made.graph.output.append(onnx.helper.make_tensor_value_info(loss, onnx.TensorProto.FLOAT, []))
    for name, (_, shape, _) in parameters.items():  # some operators of the library crash where shapes are not known
        made.graph.output.append(onnx.helper.make_tensor_value_info(f"{name}_grad", onnx.TensorProto.FLOAT, shape))
    return made


def put_straight(model: Any, straight: bytes) -> None:
    """Every output of `straight` is computed as it says; nodes of its own come before the first that is replaced."""
    import onnx

    source = onnx.load_from_string(straight).graph
    places = {name: position for position, node in enumerate(model.graph.node) for name in node.output}
    runs: dict[int, list[Any]] = {}
    pending: list[Any] = []
    for node in source.node:
        pending.append(node)
        if node.output[0] in places:
            runs[places[node.output[0]]], pending = pending, []
    if pending:
        raise RuntimeError(f"nothing computes {pending[-1].output[0]}")
    nodes = [new for position, node in enumerate(model.graph.node) for new in runs.get(position, [node])]
    kept = {initializer.name for initializer in model.graph.initializer}
    model.graph.initializer.extend(tensor for tensor in source.initializer if tensor.name not in kept)
    del model.graph.node[:]
    model.graph.node.extend(nodes)


class Step:
    """A session whose inputs and outputs lie in the mapped memory."""

    def __init__(self, library: Any, model: Any, request: Any, memory: Path):
        import numpy as np

        options = library.SessionOptions()
        options.log_severity_level = 4
        options.intra_op_num_threads = request["threads"]
        options.add_session_config_entry("session.disable_quant_qdq", "1")
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        self._session = library.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
        with memory.open("r+b") as file:
            self._memory = np.frombuffer(mmap.mmap(file.fileno(), 0), np.uint8)
        self._loss = np.zeros((), np.float32)
        start = self._memory.ctypes.data
        wanted = {value.name for value in self._session.get_inputs()}
        self._binding = self._session.io_binding()
        for name, (dtype, shape, offset) in request["inputs"].items():
            if name in wanted:
                self._binding.bind_input(name, "cpu", 0, np.dtype(dtype).type, shape, start + offset)
        self._binding.bind_output(request["loss"], "cpu", 0, np.float32, [], self._loss.ctypes.data)
        for name, (_, shape, offset) in request["gradients"].items():
            self._binding.bind_output(f"{name}_grad", "cpu", 0, np.float32, shape, start + offset)

    def run(self) -> float:
        self._session.run_with_iobinding(self._binding)
        return float(self._loss)


if __name__ == "__main__":
    main()
