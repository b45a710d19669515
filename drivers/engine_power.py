"""The power of an engine that has been written, where the device can tell it; a note where it cannot."""

from __future__ import annotations

from pathlib import Path

import onnx_graphsurgeon as gs

from ..compiler.errors import CompressError
from ..compiler.targets import Target
from ..compiler.targets.trtexec import EngineOptions, run_arguments
from ..runtime.tensorrt.power import PowerFigures, PowerSettings, find_tegrastats, measure_power

ABSENT = "power was not measured: there is no tegrastats here, which JetPack has"
UNKNOWN_RAILS = "the power of the module is not known: which of the rails {} add up to it is known for no such device"


def run_for_power(
    program: Path, engine: Path, target: Target, graph: gs.Graph, options: EngineOptions, settings: PowerSettings
) -> tuple[PowerFigures | None, list[str]]:
    """Run the engine of `graph` by trtexec; what was measured, and what is to be said of it."""
    tegrastats = find_tegrastats()
    if tegrastats is None:
        return None, [ABSENT]
    wanted = run_arguments(target, graph, str(engine), options, settings.seconds, settings.warm_up)
    try:
        power = measure_power(tegrastats, program, wanted, settings)
    except CompressError as error:
        return None, [f"power was not measured: {error}"]
    return power, [] if power.watts is not None else [UNKNOWN_RAILS.format(", ".join(power.rails))]
