"""Rules about the names of layers, which profiles and trtexec options go by."""

from __future__ import annotations

from collections import Counter

from .network import Network
from .rule import TENSORRT, Problem, Problems, model_rule

FORBIDDEN = ",:*"


@model_rule("name-unique", targets=TENSORRT, severity="warning", source="onnx-tensorrt getNodeName; trtexec profiles")
def name_unique(network: Network) -> Problems:
    """Every layer should have a name of its own: profiles and --layerPrecisions go by it."""
    counts = Counter(node.name for node in network.nodes)
    for name, count in counts.items():
        if count > 1:
            yield Problem(f"{count} nodes have this name", "give every node a name of its own", name)


@model_rule("name-characters", targets=TENSORRT, severity="warning", source="trtexec 8.5 sampleOptions.cpp")
def name_characters(network: Network) -> Problems:
    """`,`, `:` and `*` have a meaning of their own in --layerPrecisions."""
    for name in dict.fromkeys(node.name for node in network.nodes):
        found = [character for character in FORBIDDEN if character in name]
        if found:
            yield Problem(f"{' '.join(found)} in the name is a separator to trtexec", "rename the node", name)


RULES = (
    name_unique,
    name_characters,
)
