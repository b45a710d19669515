"""Rules about which operators there are, their types, and how many outputs they have.

The parser looks a node up by its op type and ignores its domain; what it does not know it looks for among the plugins.
"""

from __future__ import annotations

import onnx

from ..graph.normalize import ONNX_DOMAINS
from ..targets.operators import Version, next_version_with, plugins, supported
from .network import Network
from .node import Node
from .rule import TENSORRT, TENSORRT_8, Problem, Problems, model_rule, node_rule

INTEGER = "QLinearConv QLinearMatMul ConvInteger MatMulInteger DynamicQuantizeLinear"
"""Operators that compute on integers; see `quantized_layers.integer_operator`."""

FIXES = {
    "HardSwish": "write x * HardSigmoid<alpha=1/6, beta=0.5>(x)",
    "LayerNormalization": "export at opset 16, where it is ReduceMean, Sub, Pow, Sqrt, Div, Mul, Add",
    "GroupNormalization": "write Reshape, InstanceNormalization, Reshape, Mul, Add",
    "CastLike": "write Cast",
    "Gelu": "export at opset 17, where it is Erf or Tanh, Mul, Add",
    "Mish": "write x * Tanh(Softplus(x))",
    "Swish": "write x * Sigmoid(x)",
    "Hardmax": "write ArgMax and OneHot",
}
RETURNS = {"Dropout": 2, "LSTM": 3, "GRU": 2, "RNN": 2, "TopK": 2}
ANY_COUNT = frozenset(("Split", "If", "Loop", "Scan", "MaxPool"))
DATA_INPUT = {"Where": 1, "OneHot": 2}
UNTYPED = frozenset(("QuantizeLinear", "DequantizeLinear", "Constant", "ConstantOfShape", "If", "Loop", "Scan", "Clip"))
FLOATS = frozenset((onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16))
INTEGERS = frozenset(("INT32", "INT64"))


def is_plugin(node: Node) -> bool:
    return node.op in plugins() or node.op in node.context.plugins


@model_rule("operator-missing", targets=TENSORRT, source="onnx-tensorrt docs/operators.md")
def operator_missing(network: Network) -> Problems:
    """Every operator must have an importer in the parser, or be a plugin."""
    known = supported(network.context.target)
    functions = {function.name for function in network.proto.functions}
    for node in network.nodes:
        if node.op in known or node.op in functions or node.op in INTEGER.split() or is_plugin(node):
            continue
        text = f"TensorRT {_dotted(network.context.version)} has no {node.op}"
        yield Problem(text, _fix(node.op, network.context.version), node.name)


def _fix(op: str, version: Version) -> str:
    if op in FIXES:
        return FIXES[op]
    later = next_version_with(op, version)
    if later is not None:
        return f"TensorRT {_dotted(later)} has it; decompose it into older operators"
    if not onnx.defs.has(op):
        return f"register a plugin and name it with --plugin-op {op}, or decompose it"
    return "decompose it, or compute it outside of the network"


def _dotted(version: Version) -> str:
    return ".".join(map(str, version))


@model_rule("operator-domain", targets=TENSORRT_8, source="onnx-tensorrt 8.5-GA ModelImporter.cpp, importNode")
def operator_domain(network: Network) -> Problems:
    """An operator of another domain is taken for the ONNX operator of its name."""
    known = supported(network.context.target)
    for node in network.nodes:
        if node.proto.domain not in ONNX_DOMAINS and node.op in known:
            text = f"{node.proto.domain}.{node.op} is imported as ONNX's {node.op}, the domain is ignored"
            yield Problem(text, "use ONNX's operator, or rename this one", node.name)


@model_rule("operator-type", targets=TENSORRT, source="onnx-tensorrt docs/operators.md, column of types")
def operator_type(network: Network) -> Problems:
    """Data must have a type that the operator takes. Integers of rank 0 and 1 are shape arithmetic and pass."""
    known = supported(network.context.target)
    left_to_uint8 = "UINT8" if TENSORRT_8(network.context.target) else None
    for node in network.nodes:
        index = DATA_INPUT.get(node.op, 0)
        found = node.engine_type(index)
        if node.op in UNTYPED or found is None or found in known.get(node.op, {found}) or found == left_to_uint8:
            continue
        if found in INTEGERS and node.rank(index) in (0, 1):
            continue
        takes = ", ".join(sorted(known[node.op]))
        yield Problem(f"{node.op} takes {takes}, the data is {found}", "put a Cast before it", node.name)


@model_rule("uint8", targets=TENSORRT_8, source="onnx-tensorrt 8.5-GA builtin_op_importers.cpp (UINT8 checks)")
def uint8(network: Network) -> Problems:
    """UINT8 is for Casts from and to FP32 and FP16, from TensorRT 8.5 on."""
    known = network.context.version >= (8, 5)
    for node in network.nodes:
        if node.op in ("QuantizeLinear", "DequantizeLinear"):
            continue
        reads = [i for i in range(len(node.inputs)) if node.dtype(i) == onnx.TensorProto.UINT8]
        if reads and not (known and node.op == "Cast" and node.attribute("to") in FLOATS):
            yield Problem(f"{node.op} reads UINT8", "cast the input to FP32 first" if known else "feed FP32", node.name)


@node_rule("cast-type", "Cast", targets=TENSORRT, source="onnx-tensorrt docs/operators.md, Cast")
def cast_type(node: Node) -> Problems:
    """A Cast must go to a type that the engine has; to UINT8 only from floats."""
    to = node.attribute("to", 0)
    name = onnx.TensorProto.DataType.Name(to)
    kinds = {"FLOAT", "DOUBLE", "FLOAT16", "INT32", "INT64", "BOOL", "INT8", "UINT8"}
    if name not in (kinds if TENSORRT_8(node.context.target) else kinds | {"BFLOAT16", "FLOAT8E4M3FN"}):
        yield Problem(f"there is no type {name}", "cast to another type")
    if name == "UINT8" and TENSORRT_8(node.context.target) and node.dtype(0) not in (None, *FLOATS):
        yield Problem("UINT8 comes from FP32 and FP16 only", "cast to FP32 in between")


@model_rule("output-count", targets=TENSORRT, source="onnx-tensorrt importNode; NVIDIA/TensorRT#2361")
def output_count(network: Network) -> Problems:
    """A node may not have more outputs than its importer returns."""
    known = supported(network.context.target)
    for node in network.nodes:
        count = RETURNS.get(node.op, 1)
        if node.training_mode:  # its outputs are what is wrong, but not what to mend
            continue
        if node.op in known and node.op not in ANY_COUNT and len(node.proto.output) > count:
            text = f"{len(node.proto.output)} outputs, {node.op} gives {count}"
            yield Problem(text, f"keep the first {count}" if count > 1 else "keep the first", node.name)


@node_rule(
    "data-dependent",
    "NonMaxSuppression NonZero RoiAlign",
    targets=TENSORRT_8,
    severity="warning",
    source="onnx-tensorrt 8.5-GA ModelImporter.cpp l.468, supportsModel",
)
def data_dependent(node: Node) -> Problems:
    """supportsModel leaves these to the framework around the engine; a plain parse takes them."""
    yield Problem("onnxruntime's TensorRT provider keeps it out of the engine", "build with trtexec, or move it out")


RULES = (
    operator_missing,
    operator_domain,
    operator_type,
    uint8,
    cast_type,
    output_count,
    data_dependent,
)
