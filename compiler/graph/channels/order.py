"""Taking a reordering of channels out of a graph: what reads them is reordered instead.

    y = f(Gather(x, order)) = f'(x)        f' has the entries of its constants that belong to channels in the order of x

The labels of `flow` say which those are. The graph is walked twice, as it is and with an Identity for the Gather, and
the order is taken out only where

1. the order has every channel once, and it reorders the filters of a Conv;
2. none of its channels is frozen: no output of the model and no operator without a rule depends on their order;
3. none is tied to another channel in either walk: an Add, a grouped layer or a Reshape would pair it with another one;
4. every constant has entries for the same labels in both walks, and is stored; its entries move with their labels.
"""

from __future__ import annotations

import numpy as np
import onnx_graphsurgeon as gs

from ..convs import is_conv
from ..copies import copy_graph
from ..rewriter import Rewriter
from ..shapes import Shapes
from ..weights import resolve
from .flow import Flow, Slot
from .rules import walk


def absorb_order(rewriter: Rewriter, gather: gs.Node, shapes: Shapes) -> bool:
    """Take the Gather `gather` (axis 1) out of the graph, by the rules of the module docstring; whether it could be.

    `shapes` are those of one sample, with the Gather in place or not.
    """
    if not _reorders_filters(gather) or not rewriter.can_bypass(gather):
        return False
    before, after = _flow(rewriter.graph, gather, False, shapes), _flow(rewriter.graph, gather, True, shapes)
    moves = _moves(before, after, gather.outputs[0].name)
    if moves is None:
        return False
    nodes = {node.name: node for node in rewriter.graph.nodes}
    changes = [(nodes[slot.node.name], slot, move) for slot, move in moves]
    if not all(isinstance(node.inputs[slot.input], gs.Constant) for node, slot, _ in changes):
        return False
    for node, slot, move in changes:
        values = resolve(node.inputs[slot.input])
        assert values is not None
        rewriter.set_weight(node, slot.input, np.take(values, move, slot.axis), node.inputs[slot.input].name)
    rewriter.bypass(gather)
    return True


def _reorders_filters(gather: gs.Node) -> bool:
    """Rule 1."""
    order, source = resolve(gather.inputs[1]), gather.inputs[0]
    if order is None or len(source.inputs) != 1 or not is_conv(source.inputs[0]) or len(source.outputs) != 1:
        return False
    weight = resolve(source.inputs[0].inputs[1])
    return weight is not None and np.array_equal(np.sort(order), np.arange(len(weight)))


def _flow(graph: gs.Graph, gather: gs.Node, without: bool, shapes: Shapes) -> Flow:
    """The walk over a copy in which the reordered filters are those of a Conv of one group: each has its own label."""
    copy = copy_graph(graph)
    picked = next(node for node in copy.nodes if node.name == gather.name)
    _ungroup(picked.inputs[0].inputs[0])
    if without:
        picked.op, picked.attrs, picked.inputs = "Identity", {}, [picked.inputs[0]]
    flow = Flow(copy, shapes)
    walk(flow)
    return flow


def _ungroup(conv: gs.Node) -> None:
    weight, group = resolve(conv.inputs[1]), int(conv.attrs.get("group", 1))
    assert weight is not None
    whole = (weight.shape[0], weight.shape[1] * group, *weight.shape[2:])
    conv.inputs[1] = gs.Constant(f"{conv.name}.whole", np.broadcast_to(np.zeros((), weight.dtype), whole))
    conv.attrs = {**conv.attrs, "group": 1}


def _moves(before: Flow, after: Flow, reordered: str) -> list[tuple[Slot, np.ndarray]] | None:
    """The slots whose entries move, each with the place that every entry comes from; None by rules 2 to 4."""
    labels = before.labels.get(reordered)
    if labels is None or before.count != after.count or len(before.slots) != len(after.slots):
        return None
    bound = [note.ids for flow in (before, after) for note in flow.frozen]
    bound += [ids for flow in (before, after) for tie in flow.ties for ids in tie]
    if any(np.isin(labels.ids, ids).any() for ids in bound):
        return None
    moves: list[tuple[Slot, np.ndarray]] = []
    for old, new in zip(before.slots, after.slots, strict=True):
        move = _move(old.ids, new.ids)
        if move is None or (old.node.name, old.input, old.axis) != (new.node.name, new.input, new.axis):
            return None
        if not np.array_equal(old.ids, new.ids):
            moves.append((old, move))
    return moves


def _move(old: np.ndarray, new: np.ndarray) -> np.ndarray | None:
    """`move` with old[move] = new, equal labels in their old order; None where the labels are not the same."""
    first, second = np.argsort(old, kind="stable"), np.argsort(new, kind="stable")
    if not np.array_equal(old[first], new[second]):
        return None
    move = np.empty_like(first)
    move[second] = first
    return move
