"""What the command line says of itself."""

from __future__ import annotations

from onnx_compress.cli.help import VARIABLES

from .markdown import code, escaped, table


def variables() -> str:
    """The environment variables, as the help lists them."""
    return table(["variable", ""], [[code(name), escaped(text)] for name, text in VARIABLES.items()])
