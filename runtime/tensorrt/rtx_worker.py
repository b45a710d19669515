"""The process that holds TensorRT for RTX while it parses and builds a model; started by `rtx`, as a script.

It imports nothing of this package. A JSON request comes on stdin:

    {"model": path, "build": true, "shapes": {input: [dims]}}

and a line of JSON goes to the file that the only argument names as soon as something is known, so that a crash leaves
what was found before it:

    {"version": "1.7.1.116"}   {"log": ["ERROR", text]}   {"stage": "parse"}
    {"parsed": false, "errors": [{"index": 2, "node": "conv", "op": "Conv", "code": "INVALID_NODE", "text": "..."}]}
    {"stage": "build"}         {"built": true, "bytes": 266820}   {"missing": "why the library cannot be loaded"}

The compute capability is named (8.6): the library then builds without a GPU.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable, Mapping
from typing import Any

MODULES = ("tensorrt_rtx", "tensorrt_rtx_bindings")
REPORTED = ("INTERNAL_ERROR", "ERROR", "WARNING")
Tell = Callable[..., None]


def main() -> None:
    request = json.load(sys.stdin)
    with open(sys.argv[1], "w", encoding="utf-8") as file:

        def tell(**event: Any) -> None:
            file.write(json.dumps(event) + "\n")
            file.flush()

        library = load(tell)
        if library is not None:
            check(library, request, tell)


def load(tell: Tell) -> Any:
    reason = ""
    for name in MODULES:
        try:
            return importlib.import_module(name)
        except Exception as error:  # a library that cannot be loaded raises almost anything
            reason = str(error) or repr(error)
    tell(missing=reason)
    return None


def check(trt: Any, request: Mapping[str, Any], tell: Tell) -> None:
    class Log(trt.ILogger):
        def __init__(self) -> None:
            super().__init__()

        def log(self, severity: Any, text: str) -> None:
            if severity.name in REPORTED:
                tell(log=[severity.name, text])

    tell(version=trt.__version__)
    log = Log()
    builder = trt.Builder(log)
    network = builder.create_network(0)
    parser = trt.OnnxParser(network, log)
    tell(stage="parse")
    parsed = parser.parse_from_file(request["model"]) and network.num_outputs > 0
    tell(parsed=parsed, errors=[describe(parser, index) for index in range(parser.num_errors)])
    if parsed and request["build"]:
        tell(stage="build")
        engine = builder.build_serialized_network(network, configuration(trt, builder, network, request))
        tell(built=engine is not None, bytes=None if engine is None else engine.nbytes)


def describe(parser: Any, index: int) -> dict[str, Any]:
    error = parser.get_error(index)

    def read(name: str) -> Any:
        try:
            return getattr(error, name)()
        except UnicodeDecodeError:
            return ""

    found = {"index": read("node"), "node": read("node_name"), "op": read("node_operator"), "text": read("desc")}
    return {**found, "code": getattr(error.code(), "name", "")}


def configuration(trt: Any, builder: Any, network: Any, request: Mapping[str, Any]) -> Any:
    config = builder.create_builder_config()
    config.num_compute_capabilities = 1
    config.set_compute_capability(trt.ComputeCapability.SM86, 0)
    profile = builder.create_optimization_profile()
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        dims = tuple(tensor.shape)
        if -1 in dims:
            chosen = request["shapes"].get(tensor.name) or tuple(max(dim, 1) for dim in dims)
            profile.set_shape(tensor.name, chosen, chosen, chosen)
    config.add_optimization_profile(profile)
    return config


if __name__ == "__main__":
    main()
