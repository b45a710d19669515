"""The recipes as a table."""

from __future__ import annotations

from onnx_compress.compiler.pipeline.recipes import RECIPES

from .markdown import code, escaped, table


def recipes() -> str:
    rows = [[code(name), code(recipe.pipeline), escaped(recipe.summary)] for name, recipe in RECIPES.items()]
    return table(["recipe", "stands for", ""], rows)
