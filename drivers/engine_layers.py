"""What the layers of an engine take: by Conv for the report, and with their sizes in the profile for a next search."""

from __future__ import annotations

from pathlib import Path

import onnx_graphsurgeon as gs

from ..compiler.targets import Target
from ..compiler.targets.trtexec import EngineOptions
from ..runtime.tensorrt.layers import read_origins, read_profile, times_by_node
from ..runtime.tensorrt.timed_convs import add_timed_convs, timed_convs

HIDDEN = "the engine's layers do not tell its Convs apart: no pass can read their times from the profile (clock=)"


def layer_times(
    target: Target, graph: gs.Graph, options: EngineOptions, mode: str | None, profile: Path, layers: Path
) -> tuple[dict[str, float], list[str]]:
    """Conv -> milliseconds, and what is to be said of them.

    Args:
        profile: what trtexec exported of the engine of `graph`; gets the sizes and times of the Convs.
        layers: the layer information, which versions before 8.2 do not write.
    """
    timed, origins = read_profile(profile), read_origins(layers) if layers.exists() else {}
    found = timed_convs(target, graph, options, timed, origins, mode)
    if found is not None:
        add_timed_convs(profile, found)
    convs = [node.name for node in graph.nodes if node.op == "Conv"]
    return times_by_node(timed, convs, origins), [] if found is not None else [HIDDEN]
