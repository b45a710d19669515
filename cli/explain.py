"""`onnx-compress explain PASS`: what a pass does, its formulas, and its options."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .list import documentation
from .options import Plugins

if TYPE_CHECKING:
    from rich.table import Table

    from ..compiler.base import Pass


def explain(
    name: Annotated[str, typer.Argument(metavar="PASS", help="A name from `onnx-compress list`.")],
    plugin: Plugins = None,
) -> None:
    """Explain a pass: formulas, options, types, defaults, and what it skips."""
    from ..compiler.registry import find, load_plugin
    from .console import results

    for source in plugin or []:
        load_plugin(source)
    cls = find(name)
    console = results()
    for text in (inspect.getdoc(sys.modules[cls.__module__]), documentation(cls)):
        if text:
            console.print(text + "\n", soft_wrap=True)
    console.print(_options(cls) if dataclasses.fields(cls) else "no options")


def _options(cls: type[Pass]) -> Table:
    from rich.table import Table

    from ..compiler.spec import describe, option_types

    types = option_types(cls)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("option", "type", "default", ""):
        table.add_column(heading, overflow="fold")
    for entry in dataclasses.fields(cls):
        default = "required" if entry.default is dataclasses.MISSING else _spelled(entry.default)
        kind, text = describe(types[entry.name]), entry.metadata.get("help", "")
        table.add_row(entry.name.replace("_", "-"), kind, default, text)
    return table


def _spelled(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
