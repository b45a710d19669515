"""Pages made from the code: docstrings, options, signatures, targets and rules. Nothing in them is written twice."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from . import api, commands, example, frontiers, passes, recipes, results, rules, targets

PARTS: Mapping[str, Callable[[], str]] = {
    "api": api.reference,
    "budgets": passes.budgets,
    "cifar": results.cifar,
    "depthwise-separable": example.depthwise_separable,
    "from-pytorch": example.from_pytorch,
    "frontiers": frontiers.measured,
    "measured-recipes": recipes.measured,
    "networks": results.networks,
    "presets": targets.presets,
    "recipes": recipes.recipes,
    "sessions": results.sessions,
    "targets": targets.targets,
    "variables": commands.variables,
    "zero-small": example.zero_small,
}


def pages() -> dict[str, str]:
    """Place in the documentation -> Markdown."""
    return {**passes.pages(), "rules.md": rules.page()}
