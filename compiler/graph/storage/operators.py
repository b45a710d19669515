"""The project's own operator, for engines that have a plugin for it; every other runtime executes its ONNX body.

    Y = SpatialBasisConv(X, B, T, m, b)        a Conv with the weight W[n, c, k] = B[m(n), c, k] T[n, g(c), k]

    X (S, C, spatial...)      B (M, C, k...)      T (N, G, k...)      m (N,) int32      b (N,)

The attributes are those of Conv, all of them given: strides, pads, dilations, kernel_shape; `channel_groups` (C,) is g,
G groups of C / G channels in a row, spelt out because the body needs it. A model that holds such a node carries the
operator as a local function whose body is the dense Conv. Checker, shape inference and onnxruntime know the node by
that body. TensorRT 8 does not look at local functions and asks its plugins for the name; TensorRT 10 does the same
where a plugin of that name and `plugin_namespace` is registered, and takes the body otherwise (onnx-tensorrt
ModelImporter.cpp, parseNode).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod

import onnx
import onnx_graphsurgeon as gs
from onnx import parser

DOMAIN = "onnx_compress"
VERSION = 1
SPATIAL_BASIS_CONV = "SpatialBasisConv"
INPUTS = ("X", "B", "T", "m", "b")
PLUGIN = {"plugin_version": "1", "plugin_namespace": DOMAIN}
LEAST_IR = 8
"""The first IR version with local functions."""

BODY = """
<domain: "{domain}", opset_import: ["" : {opset}]>
{name} <strides, pads, dilations, kernel_shape, channel_groups, plugin_version, plugin_namespace> (X, B, T, m, b) => (Y)
{{
    picked = Gather <axis = 0> (B, m)
    group = Constant <value_ints : ints = @channel_groups> ()
    scales = Gather <axis = 1> (T, group)
    W = Mul (picked, scales)
    Y = Conv <
        strides : ints = @strides, pads : ints = @pads, dilations : ints = @dilations,
        kernel_shape : ints = @kernel_shape
    > (X, W, b)
}}
"""


@dataclass(frozen=True)
class TemplateConv:
    """What a SpatialBasisConv costs.

    Attributes:
        macs: per output position, as the plugin computes it: every template once, then every filter's taps.
        params: values of B, T and b.
    """

    node: gs.Node
    macs: int
    params: int


def function(opset: int) -> onnx.FunctionProto:
    """The operator as a local function of a model of that opset."""
    return parser.parse_function(BODY.format(domain=DOMAIN, name=SPATIAL_BASIS_CONV, opset=opset))


def declare(graph: gs.Graph) -> None:
    """Give the graph the function and the opset import that its SpatialBasisConv nodes need."""
    holder = onnx.helper.make_model(onnx.GraphProto(name="holder"), functions=[function(graph.opset)])
    graph.functions = [
        *(entry for entry in graph.functions if entry.domain != DOMAIN),
        *gs.import_onnx(holder).functions,
    ]
    imports: list[onnx.OperatorSetIdProto] = list(graph.import_domains or [])
    others = [entry for entry in imports if entry.domain != DOMAIN]
    graph.import_domains = [*others, onnx.helper.make_opsetid(DOMAIN, VERSION)]
    graph.ir_version = max(graph.ir_version or 0, LEAST_IR)


def declared(graph: gs.Graph) -> bool:
    return any(entry.domain == DOMAIN for entry in graph.functions)


def template_convs(graph: gs.Graph) -> Iterator[TemplateConv]:
    """Every SpatialBasisConv of the main graph whose inputs but X are constant."""
    for node in graph.nodes:
        if not is_template_conv(node):
            continue
        stored = [prod(part.shape) for part in node.inputs if isinstance(part, gs.Constant)]
        if len(stored) == len(INPUTS) - 1:
            basis, transforms, _, bias = stored
            yield TemplateConv(node, basis + transforms, basis + transforms + bias)


def is_template_conv(node: gs.Node) -> bool:
    return node.op == SPATIAL_BASIS_CONV and node.domain == DOMAIN
