"""A group in words."""

from __future__ import annotations

from collections.abc import Iterable

from .groups import Group, Part


def describe(group: Group) -> str:
    """Several lines: size, what makes the channels, what reads them, what ties them, why they are frozen."""
    head = f"{group.name}: {group.size} units" + (f", frozen: {group.frozen}" if group.frozen else "")
    lines = [
        f"  made by {_nodes(group.producers)}",
        f"  read by {_nodes(group.consumers)}" if group.consumers else "",
        f"  with parameters of {_nodes(group.parameters)}" if group.parameters else "",
        *(f"  {sentence}" for sentence in group.chain),
    ]
    return "\n".join([head, *filter(None, lines)])


def _nodes(parts: Iterable[Part]) -> str:
    return ", ".join(dict.fromkeys(f"{part.node.op} '{part.node.name}'" for part in parts))
