"""Convs that read one tensor, and what is behind them that can be one, too.

A chain begins at a tensor that several Convs read. Behind its Convs stand activations (`quantization.gates`): where all
have the same one, it is computed once. Where nothing but Convs reads what comes then, these are the next step.

    x -> Conv, SiLU -> Conv, SiLU -> ...        x -> Conv, SiLU -> Conv, SiLU -> ...
      -> Conv, SiLU -> Conv, SiLU -> ...
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import combinations

import onnx_graphsurgeon as gs

from ...compiler.graph.convs import Conv
from ...compiler.graph.quantization.gates import FUNCTIONS
from .links import Link, link_of, runs_of
from .steps import Member, Step
from .windows import windows_of

GROUPED = "it has groups"
SHARED = "depthwise, and the Conv before them, whose filters would be repeated, has other readers or there is none"
FEW = 4
"""Of so many Convs all subsets are tried."""


@dataclass(frozen=True, eq=False)
class Chain:
    """Links one behind the other, the first of which reads `source`.

    Attributes:
        concat: which joins all that leaves the last; in the order of its members, side by side.
        runs: the last link in parts, each with its own activation, where there is not one for all.
    """

    source: gs.Tensor
    links: tuple[Link, ...]
    concat: gs.Node | None
    runs: tuple[Link, ...] = ()

    @property
    def convs(self) -> list[Conv]:
        return [member.conv for link in self.links for member in link.step.members]


@dataclass(frozen=True, eq=False)
class ChainFinder:
    """Finds chains in a graph.

    Attributes:
        convs: by the id of the node, those that may become part of another.
    """

    graph: gs.Graph
    convs: Mapping[int, Conv]

    def chains(self, siblings: Sequence[Conv]) -> Iterator[Chain | str]:
        """Of Convs of one input; reasons for those that cannot be one."""
        if siblings[0].group > 1:
            yield from self._of_depthwise(siblings) if all(map(_is_depthwise, siblings)) else (GROUPED,)
            return
        for few in _subsets(siblings):
            step = _step([(conv, range(conv.channels)) for conv in few], few[0].channels)
            if isinstance(step, str):
                yield step
            else:
                yield from self._longer(few[0].input, (link_of(self.graph, step),))

    def _of_depthwise(self, siblings: Sequence[Conv]) -> Iterator[Chain | str]:
        """A chain that begins at the Conv before them, whose filters are repeated for each."""
        tensor = siblings[0].input
        before = self._before(tensor)
        others = {id(reader) for reader in tensor.outputs} - {id(conv.node) for conv in siblings}
        if before is None or others or self._is_output(tensor):
            yield SHARED
            return
        (member,), times = before.step.members, len(siblings)
        repeated = Link(replace(before.step, members=(member,) * times), before.gates * times)
        step = _step(list(zip(siblings, repeated.step.writes, strict=True)), repeated.step.filters)
        if isinstance(step, str):
            yield step
        else:
            yield from self._longer(member.conv.input, (repeated, link_of(self.graph, step)))

    def _longer(self, source: gs.Tensor, links: tuple[Link, ...]) -> Iterator[Chain]:
        yield self._ended(source, links)
        following = self._behind(links[-1])
        if following is not None:
            yield from self._longer(source, (*links, link_of(self.graph, following)))

    def _before(self, tensor: gs.Tensor) -> Link | None:
        """The Conv of one group that `tensor` leaves, with the activation between."""
        node = tensor.inputs[0] if tensor.inputs else None
        while node is not None and node.op in FUNCTIONS:
            node = next((each.inputs[0] for each in node.inputs if each.inputs), None)
        conv = self.convs.get(id(node))
        step = _step([(conv, range(conv.channels))], conv.channels) if conv is not None and conv.group == 1 else None
        link = link_of(self.graph, step) if isinstance(step, Step) else None
        return link if link is not None and link.results[0] is tensor else None

    def _behind(self, link: Link) -> Step | None:
        """The Convs that read what leaves a link, as one."""
        readers: list[tuple[Conv, Sequence[int]]] = []
        for result, channels in zip(link.results, link.step.writes, strict=True):
            if self._is_output(result):
                return None
            for node in {id(reader): reader for reader in result.outputs}.values():
                if id(node) not in self.convs or node.inputs[0] is not result:
                    return None
                readers.append((self.convs[id(node)], channels))
        if any(conv.group > 1 and not _is_depthwise(conv) for conv, _ in readers):
            return None
        step = _step(readers, link.step.filters) if len(readers) > 1 else None
        return step if isinstance(step, Step) else None

    def _ended(self, source: gs.Tensor, links: tuple[Link, ...]) -> Chain:
        *before, last = links
        concat = self._concat(last.results, last.step)
        if concat is not None:
            order = _order(concat, last.results)
            gates = tuple(last.gates[index] for index in order) if last.gates else ()
            return Chain(source, (*before, Link(last.step.ordered(order), gates)), concat)
        every = [link_of(self.graph, single) for single in last.step.alone]
        results = [link.results[0] for link in every]
        concat = None if last.gates else self._concat(results, last.step)
        if concat is None:
            return Chain(source, links, None)
        order = _order(concat, results)
        runs = runs_of([every[index] for index in order])
        return Chain(source, (*before, Link(last.step.ordered(order), ())), concat, runs)

    def _concat(self, results: Sequence[gs.Tensor], step: Step) -> gs.Node | None:
        """The Concat over channels that alone reads all results, side by side."""
        node = results[0].outputs[0] if results[0].outputs else None
        if node is None or node.op != "Concat" or node.domain or step.depthwise:
            return None
        if node.attrs.get("axis") not in (1, -1 - len(step.windows)):
            return None
        if any(len(result.outputs) != 1 or self._is_output(result) for result in results):
            return None
        if any(result.outputs[0] is not node for result in results):
            return None
        places = [_index(node.inputs, result) for result in results]
        return node if max(places) - min(places) == len(places) - 1 else None

    def _is_output(self, tensor: gs.Tensor) -> bool:
        return any(tensor is output for output in self.graph.outputs)


def _order(concat: gs.Node, results: Sequence[gs.Tensor]) -> list[int]:
    """That in which a Concat reads them."""
    places = [_index(concat.inputs, result) for result in results]
    return sorted(range(len(places)), key=lambda index: places[index])


def _is_depthwise(conv: Conv) -> bool:
    return conv.group == conv.channels == conv.filters


def _subsets(siblings: Sequence[Conv]) -> Iterator[Sequence[Conv]]:
    """All together, then fewer."""
    least = 2 if len(siblings) <= FEW else len(siblings)
    for size in range(len(siblings), least - 1, -1):
        yield from combinations(siblings, size)


def _step(convs: Sequence[tuple[Conv, Sequence[int]]], width: int) -> Step | str:
    members: list[Member] = []
    for conv, channels in convs:
        windows = windows_of(conv)
        if windows is None:
            return f"the padding of '{conv.name}' depends on the size of its input"
        members.append(Member(conv, channels, windows))
    return Step.of(members, width)


def _index(tensors: Sequence[gs.Tensor], wanted: gs.Tensor) -> int:
    return next(index for index, tensor in enumerate(tensors) if tensor is wanted)
