"""`onnx-compress explain PASS`: what a pass does, its formulas, and its options; or the passes of a recipe."""

from __future__ import annotations

import dataclasses
import inspect
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .list import documentation, summary
from .options import Plugins

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from ..compiler.pipeline.base import Pass


def explain(
    name: Annotated[str, typer.Argument(metavar="PASS", help="A pass or a recipe, from `onnx-compress list`.")],
    plugin: Plugins = None,
) -> None:
    """Explain a pass (formulas, options, defaults), or a recipe."""
    from ..compiler.pipeline.recipes import RECIPES
    from ..compiler.pipeline.registry import find, load_plugins, names
    from .console import results

    load_plugins(plugin or [])
    console = results()
    if name in RECIPES and name not in names():
        _explain_recipe(console, name)
        return
    cls = find(name)
    for text in (inspect.getdoc(sys.modules[cls.__module__]), documentation(cls)):
        if text:
            console.print(text + "\n", soft_wrap=True)
    console.print(_options(cls) if dataclasses.fields(cls) else "no options")


def _explain_recipe(console: Console, name: str) -> None:
    """Its passes, a line each."""
    from ..compiler.pipeline.recipes import RECIPES
    from ..compiler.pipeline.spec import parse_pipeline

    recipe = RECIPES[name]
    console.print(f"{recipe.summary}\n\n-p {name} stands for -p {recipe.pipeline}\n", soft_wrap=True)
    for entry in parse_pipeline(recipe.pipeline):
        console.print(f"{entry}: {summary(type(entry))}", soft_wrap=True)


def _options(cls: type[Pass]) -> Table:
    from rich.table import Table

    from ..compiler.pipeline.ranges import FINITE, RANGE
    from ..compiler.pipeline.spec import describe, option_types

    types = option_types(cls)
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("option", "type", "default", ""):
        table.add_column(heading, overflow="fold")
    for entry in dataclasses.fields(cls):
        default = "required" if entry.default is dataclasses.MISSING else _spelled(entry.default)
        kind, text = describe(types[entry.name]), entry.metadata.get("help", "")
        allowed = entry.metadata.get(RANGE, FINITE)
        if allowed != FINITE:
            word = "number" if "number" in kind else "integer"
            kind = kind.replace(word, f"{word} in {allowed}")
        table.add_row(entry.name.replace("_", "-"), kind, default, text)
    return table


def _spelled(value: Any) -> str:
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
