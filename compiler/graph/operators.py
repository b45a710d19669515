"""The project's own operator, for engines that have a plugin for it; every other runtime executes its ONNX body.

    Y = SpatialBasisConv(X, B, T, m, b)        a Conv with the weight W[n, g, c, k] = B[m(n), g, c, k] T[n, g, 0, k]

    X (S, C, spatial...)      B (M, G, C/G, k...)      T (N, G, 1, k...)      m (N,) int32      b (N,)

The attributes are those of Conv, all of them given: strides, pads, dilations, kernel_shape; `groups` is G. A model that
holds such a node carries the operator as a local function whose body is the dense Conv. Checker, shape inference and
onnxruntime know the node by that body. TensorRT 8 does not look at local functions and asks its plugins for the name;
TensorRT 10 does the same where a plugin of that name and `plugin_namespace` is registered, and takes the body otherwise
(onnx-tensorrt ModelImporter.cpp, parseNode).
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
PLUGIN = {"plugin_version": "1", "plugin_namespace": DOMAIN}
LEAST_IR = 8
"""The first IR version with local functions."""

BODY = """
<domain: "{domain}", opset_import: ["" : {opset}]>
{name} <strides, pads, dilations, kernel_shape, groups, plugin_version, plugin_namespace> (X, B, T, m, b) => (Y)
{{
    picked = Gather <axis = 0> (B, m)
    scaled = Mul (picked, T)
    head = Constant <value_ints = [0, -1]> ()
    tail = Constant <value_ints : ints = @kernel_shape> ()
    shape = Concat <axis = 0> (head, tail)
    W = Reshape (scaled, shape)
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
    graph.import_domains = [entry for entry in graph.import_domains or [] if entry.domain != DOMAIN]
    graph.import_domains.append(onnx.helper.make_opsetid(DOMAIN, VERSION))
    graph.ir_version = max(graph.ir_version or 0, LEAST_IR)


def declared(graph: gs.Graph) -> bool:
    return any(entry.domain == DOMAIN for entry in graph.functions)


def template_convs(graph: gs.Graph) -> Iterator[TemplateConv]:
    """Every SpatialBasisConv of the main graph whose templates are constant."""
    for node in graph.nodes:
        parts = node.inputs[1:3]
        if not is_template_conv(node) or not all(isinstance(part, gs.Constant) for part in parts):
            continue
        basis, transforms = (prod(part.shape) for part in parts)
        yield TemplateConv(node, basis + transforms, basis + transforms + prod(node.inputs[4].shape))


def is_template_conv(node: gs.Node) -> bool:
    return node.op == SPATIAL_BASIS_CONV and node.domain == DOMAIN
