"""Times of the Convs of an engine, from the layers that trtexec has timed, put into the file that it exported.

A Conv has the time of its layer, with what is fused into it and the copies that bring its input into shape; of several
in one layer each has the share of its multiply-accumulates. Where a layer hides more than `MOST` (a part of the network
on the DLA is one layer), the times of its Convs are not known, and nothing is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx_graphsurgeon as gs

from ...compiler.costs.latency.precision import Precision
from ...compiler.costs.layer_times import KEY, LayerTimes, TimedConv
from ...compiler.costs.workload import ConvWorkload, conv_workload
from ...compiler.files import read_json
from ...compiler.graph.convs import Conv, find_convs
from ...compiler.graph.shapes import static_shapes
from ...compiler.targets import Target
from ...compiler.targets.profiles import open_inputs
from ...compiler.targets.trtexec import BuilderPrecision, EngineOptions, precision
from .layers import LayerTime, nodes_of

MOST = 8


def timed_convs(
    target: Target,
    graph: gs.Graph,
    options: EngineOptions,
    profile: Sequence[LayerTime],
    origins: Mapping[str, tuple[str, ...]],
    mode: str | None,
) -> LayerTimes | None:
    """What the engine of `graph` that was built with `options` says of its Convs; None where it says nothing."""
    convs, chosen = _convs(graph, options), precision(target, graph, options)
    names, spent, others = [node.name for node in graph.nodes if node.name in convs], dict.fromkeys(convs, 0.0), 0.0
    for layer in profile:
        found = nodes_of(layer.name, names, origins.get(layer.name, ()))
        if len(found) > MOST:
            return None
        work = sum(convs[name][1].macs or 0 for name in found)
        for name in found:
            spent[name] += layer.median_ms * (convs[name][1].macs or 0) / work
        others += 0.0 if found else layer.median_ms
    timed = tuple(
        TimedConv(
            workload, _precision(chosen, workload.quantized or options.calibration is not None, conv), spent[name]
        )
        for name, (conv, workload) in convs.items()
        if spent[name] > 0
    )
    return LayerTimes(target.device, mode, timed, others) if timed else None


def add_timed_convs(path: Path, times: LayerTimes) -> None:
    """Put `times` into the first entry of the profile in the file, which is none of its layers."""
    entries: list[dict[str, Any]] = read_json(path)
    if not entries or "name" in entries[0]:
        entries.insert(0, {})
    entries[0][KEY] = times.plain()
    path.write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")


def _convs(graph: gs.Graph, options: EngineOptions) -> dict[str, tuple[Conv, ConvWorkload]]:
    """Conv -> its workload, at the sizes that the engine is timed with; of those that are known."""
    sizes = {name: entry.opt for name, entry in open_inputs(graph, options.shapes).items()}
    shapes = static_shapes(graph, sizes, batched=True)
    workloads = {conv.name: (conv, conv_workload(conv, shapes)) for conv in find_convs(graph)}
    return {name: each for name, each in workloads.items() if each[1].macs and each[1].positions_in}


def _precision(chosen: BuilderPrecision, quantized: bool, conv: Conv) -> Precision:
    """The lowest that the builder might choose for the layer, which is the fastest."""
    if quantized and (chosen.int8 or chosen.typed):
        return "int8"
    return "fp16" if chosen.fp16 or (chosen.typed and conv.dtype == np.float16) else "fp32"
