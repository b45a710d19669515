"""Operator name -> rule."""

from __future__ import annotations

from collections.abc import Callable

import onnx_graphsurgeon as gs

from ..flow import Flow

ChannelRule = Callable[[gs.Node, Flow], None]
RULES: dict[str, ChannelRule] = {}


def rule(*ops: str) -> Callable[[ChannelRule], ChannelRule]:
    """Enter a rule for operators of the default domain."""

    def enter(function: ChannelRule) -> ChannelRule:
        RULES.update(dict.fromkeys(ops, function))
        return function

    return enter
