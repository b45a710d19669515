"""Where does the error of a network's outputs start?

Errors of independent causes add up in squares. Of the error of a tensor that comes through to the outputs which is no
more than the smallest error on the way there, on that of all ways where it is largest: a branch may be far off, and
small beside what it is added to. What a layer adds to the errors of its inputs is

    added^2 = max(0, through^2 - inherited^2)        inherited: the largest error of what the layer reads

and the error starts in the first layer, in the order of the network, that adds at least `SHARE` of the squared error of
the outputs. There is none where many layers add a little each, as rounding to INT8 does where nothing is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf, isnan

import onnx_graphsurgeon as gs

SHARE = 0.5


def inherited_errors(graph: gs.Graph, errors: Mapping[str, float]) -> dict[str, float]:
    """Of every compared tensor, the largest error of the compared tensors that it is made of, 0 where there is none.

    Args:
        errors: of the compared tensors, by name.
    """
    carried, found = dict[str, float](), dict[str, float]()
    for node in graph.nodes:
        most = max((carried.get(tensor.name, 0.0) for tensor in node.inputs), default=0.0)
        for tensor in node.outputs:
            found[tensor.name] = most
            carried[tensor.name] = _finite(errors[tensor.name]) if tensor.name in errors else most
    return {name: most for name, most in found.items() if name in errors}


def onset(graph: gs.Graph, errors: Mapping[str, float], outputs: Iterable[str]) -> str | None:
    """The tensor in which the error starts, see the module docstring; None where it starts in no single one.

    Args:
        errors: of the compared tensors, by name.
        outputs: the names of those that the network is judged by.
    """
    ends = [name for name in outputs if name in errors]
    least = SHARE * max((_finite(errors[name]) ** 2 for name in ends), default=0.0)
    if not least > 0:
        return None
    through = _through(graph, errors, ends)
    inherited = inherited_errors(graph, errors).items()
    return next((name for name, before in inherited if _added(through[name], before) >= least), None)


def _through(graph: gs.Graph, errors: Mapping[str, float], ends: Iterable[str]) -> dict[str, float]:
    """Of every tensor, how much of its error comes to one of the `ends`."""
    ahead = dict.fromkeys(ends, inf)
    found: dict[str, float] = {}
    for node in reversed(graph.nodes):
        for tensor in node.outputs:
            error = _finite(errors[tensor.name]) if tensor.name in errors else inf
            found[tensor.name] = min(error, ahead.get(tensor.name, 0.0))
        most = max((found[tensor.name] for tensor in node.outputs), default=0.0)
        ahead.update((tensor.name, max(most, ahead.get(tensor.name, 0.0))) for tensor in node.inputs)
    return found


def _added(through: float, inherited: float) -> float:
    """Squared."""
    return through**2 - inherited**2 if through > inherited else 0.0


def _finite(error: float) -> float:
    """NaN counts as infinite."""
    return inf if isnan(error) else error
