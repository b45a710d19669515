"""Rules about the header of the file: versions and what they mean, producer, local functions.

onnx-tensorrt 8 refuses neither a new opset nor a new IR version, it logs them: what the new opset changed is mis-read.
"""

from __future__ import annotations

from ..graph.normalize import ONNX_DOMAINS
from ..graph.opset import BINARY, OLDEST
from .network import Network
from .node import Node
from .rule import TENSORRT, TENSORRT_8, TENSORRT_10, Problem, Problems, every, model_rule, node_rule, other, tensorrt

MODEL = "model"
RAISED = "compress the model, which raises the opset, or export it at opset 13"
CONVERTED = "convert it with onnx.version_converter"


@model_rule("opset-new", targets=every, source="onnx-tensorrt 8.5-GA docs/operators.md, ModelImporter.cpp l.690-705")
def opset_new(network: Network) -> Problems:
    """The opset must be one that the engine's parser knows."""
    cap = network.context.target.max_opset
    if network.context.opset > cap:
        result = "refused" if network.context.target.tensorrt is None else "silently read as an older one"
        yield Problem(
            f"opset {network.context.opset} is {result}: the newest is {cap}", f"export at opset {cap}", MODEL
        )


@model_rule("opset-old", targets=every, severity="warning", source="ModelImporter.cpp; docs/operators.md; onnxruntime")
def opset_old(network: Network) -> Problems:
    """The opset should not be older than what the engine was written for."""
    oldest = 9 if TENSORRT_10(network.context.target) else OLDEST
    if network.context.opset < oldest:
        text = f"opset {network.context.opset} is older than {oldest}, the first that the engine supports"
        yield Problem(text, RAISED if network.context.opset < OLDEST else CONVERTED, MODEL)


@node_rule("broadcast-old", " ".join(sorted(BINARY | {"PRelu"})), targets=every, source="ONNX Changelog.md, opset 7")
def broadcast_old(node: Node) -> Problems:
    """Before opset 7 operands begin at an axis; engines align them at the last one, as ONNX does today."""
    if node.context.opset >= OLDEST or node.proto.domain not in ONNX_DOMAINS:
        return
    first, second = node.rank(0), node.rank(1)
    axis = 1 if node.op == "PRelu" else node.attribute("axis") if node.attribute("broadcast", 0) else None
    if axis is not None and second != 0 and (first is None or second is None or axis + second != first):
        yield Problem(f"its second operand begins at axis {axis}, which engines do not read", RAISED)


@model_rule("ir-refused", targets=other, source="onnxruntime Model::Model")
def ir_refused(network: Network) -> Problems:
    """The IR version must be one that the engine knows."""
    yield from _ir(network, "is refused")


@model_rule("ir-new", targets=TENSORRT, severity="warning", source="onnx-tensorrt 8.5-GA ModelImporter.cpp l.690-705")
def ir_new(network: Network) -> Problems:
    """The IR version should be that of the ONNX in the parser: newer fields are skipped."""
    yield from _ir(network, "is newer than the parser's ONNX")


def _ir(network: Network, verdict: str) -> Problems:
    found, cap = network.proto.ir_version, network.context.target.max_ir
    if found > cap:
        yield Problem(f"IR version {found} {verdict}: it knows {cap}", f"set ir_version={cap}", MODEL)


@model_rule("producer-name", targets=TENSORRT_8, source="onnx-tensorrt 8.5-GA ModelImporter.cpp")
def producer_name(network: Network) -> Problems:
    """The name "TensorRT" makes the parser take the file for one of its own networks."""
    if network.proto.producer_name == "TensorRT":
        yield Problem("the producer is called TensorRT: the nodes are read in another way", "change the name", MODEL)


@model_rule("local-function", targets=tensorrt(before=(9, 0)), source="onnx-tensorrt docs/Changelog.md, 9.0 EA")
def local_function(network: Network) -> Problems:
    """Local functions are known from TensorRT 9.0 on. One that a plugin stands for may carry its body along."""
    for function in network.proto.functions:
        if function.name in network.context.plugins:
            continue
        text = "a local function of the model: the parser does not look at those"
        fix = f"inline it (onnx.inliner), or name a plugin for it with --plugin-op {function.name}"
        yield Problem(text, fix, f"{function.domain}.{function.name}".lstrip("."))


RULES = (
    opset_new,
    opset_old,
    broadcast_old,
    ir_refused,
    ir_new,
    producer_name,
    local_function,
)
