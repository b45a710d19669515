"""Node names that TensorRT's tools can take: unique, and without the characters that their options give a meaning.

Layer profiles and `trtexec --layerPrecisions=name:type,...` go by node names.
"""

from __future__ import annotations

from collections.abc import Iterator

from ...compiler.graph.rewriter import Rewriter
from ...compiler.targets import Target
from .base import Edit, Pattern, is_tensorrt

RESERVED = str.maketrans(dict.fromkeys(",:*", "_"))


def _rename(rewriter: Rewriter, target: Target) -> Iterator[Edit]:
    for part in rewriter.parts():
        for node in part.graph.nodes:
            before, plain = node.name, node.name.translate(RESERVED)
            if plain != before:
                part.rename(node, plain)
                yield node.name, f"renamed from '{before}'"


NAMES = (Pattern(is_tensorrt, _rename),)
