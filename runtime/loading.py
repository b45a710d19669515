"""Does onnxruntime load a model? It reads more closely than ONNX's checker, and knows what kernels can work with.

A session is made of the model without its big weights, which are inputs instead: however big the model, this costs what
its nodes do. Where that fails the whole model is tried, as a few operators demand constants. A failure counts unless
onnxruntime merely lacks something: an operator, a kernel for its types, an opset or IR version that is newer than it.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import onnx

from ..compiler.errors import CompressError, Unavailable
from ..compiler.graph.check import proto_to_check
from ..compiler.graph.inference import inferred
from ..compiler.graph.io import Model
from .session import Session, model_session

LACKING = (
    "is not a registered function/op",
    "No Op registered for",
    "NOT_IMPLEMENTED",
    "Unsupported model IR version",
    "only *guarantees* support",
)
NAMED = (re.compile(r"Node ?\((.+?)\) "), re.compile(r'In Node, \("(.+?)",'), re.compile(r"node \((.+?)\)"))
WHILE_STARTING = "Exception during initialization"
"""A kernel's words, which do not name the node."""
PREFIX = re.compile(r"\[ONNXRuntimeError\] : \d+ : \w+ : (?:This is an invalid model\. )?")


def check_loads(model: Model) -> None:
    """`CompressError`, naming the node, where onnxruntime calls the model invalid; nothing where it is not there."""
    proto = proto_to_check(model)
    if _fault(lambda: Session(proto, optimized=False)) is None:
        return
    fault = _fault(lambda: model_session(model, optimized=False))
    if fault is not None:
        place = _named(fault) or (_guilty(proto) if WHILE_STARTING in fault else None)
        raise CompressError(
            f"onnxruntime cannot load the model: {PREFIX.sub('', fault)}",
            "model" if place is None else f"node '{place}'",
            "export the network again",
        )


def _fault(load: Callable[[], Session]) -> str | None:
    """What onnxruntime finds wrong with a model, not what it lacks."""
    try:
        load()
    except Unavailable:
        return None
    except CompressError as error:
        text = error.what.partition(": ")[2]
        return None if any(words in text for words in LACKING) else text
    return None


def _named(fault: str) -> str | None:
    return next((found[1] for pattern in NAMED if (found := pattern.search(fault))), None)


def _guilty(proto: onnx.ModelProto) -> str | None:
    """The first node that does not load alone."""
    graph = inferred(proto).graph
    infos = {info.name: info for info in (*graph.value_info, *graph.input, *graph.output)}
    stored = {tensor.name: tensor for tensor in graph.initializer}
    for node in graph.node:
        alone = onnx.ModelProto(ir_version=proto.ir_version, opset_import=proto.opset_import)
        alone.graph.name = "alone"
        alone.graph.node.append(node)
        read = dict.fromkeys(name for name in node.input if name)
        alone.graph.input.extend(infos[name] for name in read if name in infos and name not in stored)
        alone.graph.initializer.extend(stored[name] for name in read if name in stored)
        alone.graph.output.extend(onnx.ValueInfoProto(name=name) for name in node.output if name)
        if WHILE_STARTING in (_fault(lambda alone=alone: Session(alone, optimized=False)) or ""):
            return node.name
    return None
