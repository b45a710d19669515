"""`onnx-compress list`: the passes, a line each."""

from __future__ import annotations

import inspect
import json
import sys

import typer

from .options import AsJson, Plugins


def list_passes(plugin: Plugins = None, as_json: AsJson = False) -> None:
    """List the passes and the recipes, a line each."""
    from rich.table import Table

    from ..compiler.pipeline.recipes import RECIPES
    from ..compiler.pipeline.registry import find, load_plugins, names
    from .console import results

    load_plugins(plugin or [])
    found = {name: summary(find(name)) for name in names()}
    if as_json:
        typer.echo(json.dumps([{"name": name, "summary": line} for name, line in found.items()], indent=2))
        return
    table = Table.grid(padding=(0, 2))
    for name, line in found.items():
        table.add_row(name, line)
    console = results()
    console.print(table)
    console.print("\nrecipes")
    recipes = Table.grid(padding=(0, 2))
    for name, recipe in RECIPES.items():
        recipes.add_row(name, recipe.pipeline, recipe.summary)
    console.print(recipes)


def documentation(cls: type) -> str:
    """The docstring that the class was given; dataclasses make up one of their own, which says nothing new."""
    text = inspect.getdoc(cls) or ""
    return "" if text.startswith(f"{cls.__name__}(") else text


def summary(cls: type) -> str:
    """The first line of the docstring, or of the module's where the class has none."""
    text = documentation(cls) or inspect.getdoc(sys.modules[cls.__module__]) or ""
    return text.partition("\n")[0]
