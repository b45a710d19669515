"""Is a node in training mode? BatchNormalization then takes the statistics of the batch, Dropout drops values.

                        training mode
    BatchNormalization  opset 14: training_mode=1; 7 to 13: more outputs than one; 1 to 6: is_test=0, the default
    Dropout             opset 12: its third input is true; 7 to 11: never; 1 to 6: is_test=0, the default

From opset 14 on a BatchNormalization with more outputs than one has to be in training mode, too.
Source: the operators' documents of each version.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from .weights import resolve

EXPORT = "export the network in inference mode"


def training_mode(
    op: str, opset: int, attributes: Mapping[str, Any], outputs: Sequence[str], flag: np.ndarray | None
) -> str | None:
    """What puts a node of the default domain into training mode, or None.

    Args:
        outputs: names, empty where left out.
        flag: the third input of a Dropout, where it is a constant.
    """
    if op not in ("BatchNormalization", "Dropout"):
        return None
    if opset < 7:
        return None if attributes.get("is_test", 0) else "is_test=0"
    if op == "Dropout":
        return "training_mode is true" if flag is not None and flag.any() else None
    if opset >= 14 and attributes.get("training_mode", 0):
        return "training_mode=1"
    given = sum(map(bool, outputs))
    return f"{given} outputs, of which only training has more than one" if given > 1 else None


def node_training_mode(node: gs.Node, opset: int) -> str | None:
    """`training_mode` of a node of a graph."""
    if node.domain:
        return None
    flag = resolve(node.inputs[2]) if node.op == "Dropout" and len(node.inputs) > 2 else None
    return training_mode(node.op, opset, node.attrs, [tensor.name for tensor in node.outputs], flag)
