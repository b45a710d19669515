"""Writes a chain: one Conv and one activation for each link, where the first Conv stood; then its results are handed
back, to the Concat that joined them, or as the parts of a Split, under the names that they had."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.graph.quantization.gates import Gate
from ...compiler.graph.rewriter import Rewriter
from ...compiler.graph.weights import resolve
from .chains import Chain
from .links import Link
from .steps import Step
from .windows import conv_attributes

SIZES_AS_INPUT = 13
"""Opset from which on a Split reads its sizes."""


def write(chain: Chain, rewriter: Rewriter) -> None:
    """Into the graph of `rewriter`, which is the chain's or a copy of it."""
    nodes, tensors = {node.name: node for node in rewriter.graph.nodes}, rewriter.graph.tensors()
    results = [tensors[result.name] for link in chain.runs or chain.links[-1:] for result in link.results]
    new: list[gs.Node] = []
    tensor = tensors[chain.source.name]
    for link in chain.links:
        conv = _conv(link.step, tensor, rewriter)
        new += [conv, *_activation(link, conv.outputs[0], rewriter)]
        tensor = new[-1].outputs[0]
    parts: list[gs.Tensor] = [tensor]
    if chain.runs:
        parts = [rewriter.variable(f"{chain.convs[-1].name}.part", tensor.dtype) for _ in chain.runs]
        new.append(_split([run.step.filters for run in chain.runs], tensor, parts, chain, rewriter))
        for index, run in enumerate(chain.runs):
            new += (behind := _activation(run, parts[index], rewriter))
            parts[index] = behind[-1].outputs[0] if behind else parts[index]
    elif chain.concat is None:
        new.append(
            _split([member.conv.filters for member in chain.links[-1].step.members], tensor, [], chain, rewriter)
        )
    rewriter.insert_before(nodes[chain.convs[0].name], new)
    if chain.concat is not None:
        _join(nodes[chain.concat.name], results, parts, rewriter)
    _remove(chain, nodes, rewriter)
    if chain.concat is None:
        new[-1].outputs = results


def _conv(step: Step, tensor: gs.Tensor, rewriter: Rewriter) -> gs.Node:
    first = step.members[0].conv
    name = f"{first.name}.fused"
    inputs = [tensor, rewriter.constant(f"{name}.weight", step.weight().astype(first.dtype))]
    bias = step.bias()
    if bias is not None:
        inputs.append(rewriter.constant(f"{name}.bias", bias.astype(first.dtype)))
    attrs = conv_attributes(step.windows, first.strides, step.width if step.depthwise else 1)
    output = rewriter.variable(f"{name}.output", first.output.dtype)
    return rewriter.node("Conv", inputs, [output], name, attrs, origin=first.name)


def _activation(link: Link, tensor: gs.Tensor, rewriter: Rewriter) -> list[gs.Node]:
    """That of the first member, on `tensor`."""
    return _copied(link.gates[0], tensor, rewriter) if link.gates else []


def _copied(gate: Gate, tensor: gs.Tensor, rewriter: Rewriter) -> list[gs.Node]:
    made: dict[int, gs.Tensor] = {id(gate.tensor): tensor}
    new: list[gs.Node] = []
    for node in gate.nodes:
        inputs = [made[id(each)] if id(each) in made else _constant(each, rewriter) for each in node.inputs]
        output = rewriter.variable(f"{node.outputs[0].name}.fused", node.outputs[0].dtype)
        new.append(rewriter.node(node.op, inputs, [output], f"{node.name}.fused", node.attrs, origin=node.name))
        made[id(node.outputs[0])] = output
    return new


def _constant(tensor: gs.Tensor, rewriter: Rewriter) -> gs.Tensor:
    values = None if tensor.is_empty() else resolve(tensor)
    return gs.Variable.empty() if values is None else rewriter.constant(f"{tensor.name}.fused", values)


def _split(
    sizes: list[int], tensor: gs.Tensor, parts: Sequence[gs.Tensor], chain: Chain, rewriter: Rewriter
) -> gs.Node:
    first = chain.links[-1].step.members[0].conv.name
    name = f"{first}.parts"
    attrs: dict[str, int | list[int]] = {"axis": 1}
    inputs = [tensor]
    if rewriter.graph.opset < SIZES_AS_INPUT:
        attrs["split"] = sizes
    else:
        inputs.append(rewriter.constant(f"{name}.sizes", np.array(sizes, np.int64)))
    return rewriter.node("Split", inputs, parts, name, attrs, origin=first)


def _join(concat: gs.Node, results: Sequence[gs.Tensor], parts: Sequence[gs.Tensor], rewriter: Rewriter) -> None:
    """Let the Concat read `parts`; where that is one and it reads nothing else, its producer writes the output."""
    gone = {id(result) for result in results}
    first = next(index for index, tensor in enumerate(concat.inputs) if id(tensor) in gone)
    others = [tensor for tensor in concat.inputs if id(tensor) not in gone]
    if others or len(parts) > 1:
        concat.inputs = [*others[:first], *parts, *others[first:]]
        return
    joined, last = concat.outputs[0], parts[0].inputs[0]
    rewriter.remove(concat)
    last.outputs = [joined]


def _remove(chain: Chain, nodes: Mapping[str, gs.Node], rewriter: Rewriter) -> None:
    for link in (*chain.runs, *reversed(chain.links)):
        _remove_all([node for gate in link.gates for node in reversed(gate.nodes)], nodes, rewriter)
        if link not in chain.runs:
            _remove_all([member.conv.node for member in link.step.members], nodes, rewriter)


def _remove_all(gone: Sequence[gs.Node], nodes: Mapping[str, gs.Node], rewriter: Rewriter) -> None:
    for name in dict.fromkeys(node.name for node in gone):  # a Conv whose filters are repeated is there several times
        rewriter.remove(nodes[name])
