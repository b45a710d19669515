"""What local functions make of a model where they are inlined, counted before they are.

Functions that call each other twice double with every level: a file of a few kilobytes can hold a billion nodes. Where
they are inlined they may make `NODES` nodes and `BYTES`, and be nested `DEPTH` deep.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

import onnx

from ..errors import CompressError
from .storage.operators import DOMAIN

NODES = 100_000
BYTES = 2**28
DEPTH = 100
Key = tuple[str, str, str]


def check_functions(proto: onnx.ModelProto) -> None:
    """Refuse a model whose local functions cannot be inlined in little memory."""
    if not proto.functions:
        return
    expansion = _Expansion({_key(function): function for function in proto.functions if function.domain != DOMAIN})
    expansion.of(proto.graph.node)


@dataclass
class _Expansion:
    """Nodes and bytes of functions with all that they call, counted once for each function."""

    functions: Mapping[Key, onnx.FunctionProto]
    known: dict[Key, tuple[int, int]] = field(default_factory=dict[Key, tuple[int, int]])
    open: list[Key] = field(default_factory=list[Key])

    def of(self, nodes: Iterable[onnx.NodeProto]) -> tuple[int, int]:
        count = size = 0
        for node in _all_nodes(nodes):
            key = (node.domain, node.op_type, node.overload)
            inner = self._called(key) if key in self.functions else (1, 0)
            count, size = count + inner[0], size + inner[1]
            if count > NODES or size > BYTES:
                found = f"more than {NODES} nodes" if count > NODES else f"more than {BYTES >> 20} MiB"
                raise _refusal(f"its local functions make {found} where they are inlined", f"function '{key[1]}'")
        return count, size

    def _called(self, key: Key) -> tuple[int, int]:
        if key in self.open or len(self.open) >= DEPTH:
            what = "it calls itself" if key in self.open else f"functions are nested more than {DEPTH} deep"
            raise _refusal(what, f"function '{key[1]}'")
        if key not in self.known:
            self.open.append(key)
            body = self.functions[key]
            count, size = self.of(body.node)
            self.known[key] = count, size + body.ByteSize()
            self.open.pop()
        return self.known[key]


def _key(function: onnx.FunctionProto) -> Key:
    return function.domain, function.name, function.overload


def _all_nodes(nodes: Iterable[onnx.NodeProto]) -> Iterator[onnx.NodeProto]:
    for node in nodes:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _all_nodes(attribute.g.node)


def _refusal(what: str, where: str) -> CompressError:
    return CompressError(what, where, "export the network without functions")
