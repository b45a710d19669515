"""One Conv of several, and the activation behind it, which is computed once where all have the same one."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import onnx_graphsurgeon as gs

from ...compiler.graph.quantization.gates import Gate, gate_behind
from ...compiler.graph.weights import declared_input, resolve
from .steps import Step


@dataclass(frozen=True, eq=False)
class Link:
    """A step, and the activation behind it.

    Attributes:
        gates: of each member the activation that is to move behind the one Conv; none where they differ.
    """

    step: Step
    gates: tuple[Gate, ...]

    @property
    def results(self) -> list[gs.Tensor]:
        """What leaves it, by member."""
        if self.gates:
            return [gate.result for gate in self.gates]
        return [member.conv.output for member in self.step.members]


def link_of(graph: gs.Graph, step: Step) -> Link:
    """The step with what is behind its Convs in `graph`."""
    gates = [gate_behind(graph, member.conv.output, ()) for member in step.members]
    found = tuple(gate for gate in gates if gate is not None and _is_plain(graph, gate, len(step.windows)))
    alike = len(found) == len(gates) and len({_spelled(gate) for gate in found}) == 1
    return Link(step, found if alike else ())


def runs_of(links: Sequence[Link]) -> tuple[Link, ...]:
    """Neighbours with one activation together; `links` have a member each."""
    groups = [list(group) for _, group in groupby(links, lambda link: tuple(map(_spelled, link.gates)))]
    return tuple(_together(group) for group in groups)


def _together(links: Sequence[Link]) -> Link:
    step = links[0].step
    members = tuple(member for link in links for member in link.step.members)
    return Link(Step(members, step.width, step.windows), tuple(gate for link in links for gate in link.gates))


def _is_plain(graph: gs.Graph, gate: Gate, axes: int) -> bool:
    """Whether its nodes can be written for more channels as they are."""
    read = [each for node in gate.nodes for each in node.inputs if not each.is_empty()]
    values = [value for each in read if (value := resolve(each)) is not None]
    if any(declared_input(each, graph) is not None for each in read):
        return False
    named = all(len(node.outputs) == 1 and node.op != "Dropout" for node in gate.nodes)
    return named and all(value.ndim <= axes + 2 for value in values)


def _spelled(gate: Gate) -> Hashable:
    """Equal for gates that compute the same."""
    numbers: dict[int, int] = {id(gate.tensor): 0}
    lines: list[Hashable] = []
    for node in gate.nodes:
        lines.append((node.op, repr(sorted(node.attrs.items())), tuple(_read(each, numbers) for each in node.inputs)))
        numbers[id(node.outputs[0])] = len(numbers)
    return (*lines, numbers[id(gate.result)])


def _read(tensor: gs.Tensor, numbers: Mapping[int, int]) -> Hashable:
    if id(tensor) in numbers:
        return numbers[id(tensor)]
    value = None if tensor.is_empty() else resolve(tensor)
    return "" if value is None else (value.dtype.str, value.shape, value.tobytes())
