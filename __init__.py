"""onnx-compress: a graph-rewriting compiler for trained convolutional networks in ONNX.

The public API is loaded on first use, so that importing the package costs nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .api import Compressed, bisect, compress, frontier
    from .compiler.errors import CompressError, UsageError
    from .compiler.graph.convs import Conv, find_convs
    from .compiler.graph.rewriter import Rewriter
    from .compiler.pipeline.base import Decision, Pass, PassResult, option
    from .compiler.pipeline.context import Context
    from .compiler.pipeline.options import RunOptions
    from .compiler.pipeline.registry import register
    from .compiler.pipeline.spec import format_pipeline, parse_pipeline
    from .compiler.versions import __version__ as __version__

_HOMES = {
    "Compressed": "api",
    "bisect": "api",
    "compress": "api",
    "frontier": "api",
    "Decision": "compiler.pipeline.base",
    "Pass": "compiler.pipeline.base",
    "PassResult": "compiler.pipeline.base",
    "option": "compiler.pipeline.base",
    "Context": "compiler.pipeline.context",
    "RunOptions": "compiler.pipeline.options",
    "CompressError": "compiler.errors",
    "UsageError": "compiler.errors",
    "Conv": "compiler.graph.convs",
    "find_convs": "compiler.graph.convs",
    "Rewriter": "compiler.graph.rewriter",
    "register": "compiler.pipeline.registry",
    "format_pipeline": "compiler.pipeline.spec",
    "parse_pipeline": "compiler.pipeline.spec",
    "__version__": "compiler.versions",
}
"""Where each public name stands: what is not in this list may move from one version to the next."""

__all__ = [
    "CompressError",
    "Compressed",
    "Context",
    "Conv",
    "Decision",
    "Pass",
    "PassResult",
    "Rewriter",
    "RunOptions",
    "UsageError",
    "bisect",
    "compress",
    "find_convs",
    "format_pipeline",
    "frontier",
    "option",
    "parse_pipeline",
    "register",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module '{__name__}' has no attribute '{name}'")
    return getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
