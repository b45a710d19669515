"""Operator name -> rule."""

from __future__ import annotations

from collections.abc import Callable

import onnx_graphsurgeon as gs

from ..flow import Flow

Rule = Callable[[gs.Node, Flow], None]
RULES: dict[str, Rule] = {}


def rule(*ops: str) -> Callable[[Rule], Rule]:
    """Enter a rule for operators of the default domain."""

    def enter(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(ops, function))
        return function

    return enter
