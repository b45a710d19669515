"""The pattern contract."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from ...compiler.graph.rewriter import Rewriter
from ...compiler.targets import Target

Edit = tuple[str, str]


@dataclass(frozen=True)
class Pattern:
    """One thing that an engine refuses or misreads, and how it is written instead.

    Attributes:
        applies: whether the target needs it.
        run: edits the graph of the rewriter, subgraphs included; yields (node name, what was done).
    """

    applies: Callable[[Target], bool]
    run: Callable[[Rewriter, Target], Iterator[Edit]]


def is_tensorrt(target: Target) -> bool:
    return target.tensorrt is not None


def is_tensorrt_8(target: Target) -> bool:
    return target.tensorrt is not None and target.tensorrt < (10, 0)
