"""From an ONNX file to an engine file, by whichever way there is: trtexec, or the Python package."""

from __future__ import annotations

import importlib.util
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal

import onnx_graphsurgeon as gs

from ..compiler.errors import CompressError, UsageError
from ..compiler.files import Place, check_places, staged, writing
from ..compiler.graph.io import Model, load, stored_size
from ..compiler.pipeline.progress import Progress, silent
from ..compiler.report import MeasuredReport
from ..compiler.targets import Target
from ..compiler.targets.trtexec import EngineOptions, arguments, precision, steady_latency
from ..runtime.tensorrt.builder import INSTALL, build_engine
from ..runtime.tensorrt.log import LatencyStatistics
from ..runtime.tensorrt.measured import add_engine, network_of
from ..runtime.tensorrt.power import PowerFigures, PowerSettings
from ..runtime.tensorrt.power_mode import check_mode, current_mode, plain
from ..runtime.tensorrt.program import find_trtexec, run_trtexec
from .engine_layers import layer_times
from .engine_power import run_for_power
from .paths import model_places

Way = Literal["auto", "python", "trtexec", "profile"]
"""profile: nothing is built; the profile is there, written by trtexec on the device."""
HERE = "put trtexec on the PATH"
NO_MODE = "nvpmodel does not say in which power mode the device is (as root it may): a report cannot tell modes apart"


@dataclass(frozen=True)
class BuildRequest:
    """What to build, and where its progress goes.

    Attributes:
        model: the ONNX file; engine: the file to write.
        profile: file for the layer times (trtexec's JSON); the layer information goes beside it.
        report: the report of the compression, which gets what was measured.
        power: how the power is measured, where there is a profile, on a Jetson; None leaves it out.
        power_mode: the mode that the device must be in, None: whichever it is in; of a profile, in which it was timed.
        overwrite: replace existing files.
        say: gets all that trtexec prints.
    """

    model: Path
    engine: Path
    target: Target
    options: EngineOptions = field(default_factory=EngineOptions)
    profile: Path | None = None
    report: Path | None = None
    power: PowerSettings | None = field(default_factory=PowerSettings)
    power_mode: str | None = None
    overwrite: bool = False
    progress: Progress = silent
    say: Callable[[str], None] | None = None

    @property
    def layers(self) -> Path | None:
        """The file of the layer information."""
        return None if self.profile is None else self.profile.with_suffix(".layers.json")


@dataclass(frozen=True)
class BuildResult:
    """An engine.

    Attributes:
        engine: None where its profile was read alone.
        tool: "trtexec" or "tensorrt"; version: of TensorRT.
        seconds: wall time, measuring included.
        latency, throughput: of the engine on this device, where trtexec built it.
        times: Conv -> milliseconds, where a profile was asked for.
        mode: the power mode of the device, and power: measured in it; None where there is none.
        notes: warnings of TensorRT and of this module.
    """

    engine: Path | None
    engine_bytes: int
    tool: str
    version: str
    seconds: float
    latency: LatencyStatistics | None = None
    throughput: float | None = None
    times: dict[str, float] = field(default_factory=dict[str, float])
    mode: str | None = None
    power: PowerFigures | None = None
    notes: list[str] = field(default_factory=list[str])


def make_engine(request: BuildRequest, via: Way = "auto") -> BuildResult:
    """Build the engine; it appears whole or not at all, and so does the profile.

    Raises:
        UsageError: a target without engines, or shapes that the model does not have.
        CompressError: TensorRT is not installed, or refuses the model; or the device is in another power mode.
    """
    if request.target.tensorrt is None:
        raise UsageError(
            f"'{request.target.name}' has no engine files", "--target", "onnxruntime runs the ONNX file itself"
        )
    if via == "profile" and request.profile is None:
        raise UsageError("which one?", "--via profile", "add --profile layers.json")
    source = load(request.model)
    check_places(*_places(request, source, via), request.overwrite)
    sizes = {source.stored, stored_size(source)}
    network = None if request.report is None else network_of(request.report, request.model, sizes)
    started = time.perf_counter()
    built = _by_profile(request, source.graph) if via == "profile" else _built(request, source.graph, via)
    if request.report is not None and network is not None:
        add_engine(request.report, _measured(request, source.graph, built, network), built.times)
    return replace(built, seconds=time.perf_counter() - started)


def _built(request: BuildRequest, graph: gs.Graph, via: Way) -> BuildResult:
    program = _way(via, request.profile is not None)
    mode = None if request.profile is None else current_mode()
    if request.power_mode is not None:
        check_mode(request.power_mode, mode)
    with writing(request.engine), staged(request.engine) as part:
        if program is None:
            built = _by_package(request, graph, part)
        else:
            built = _by_program(program, request, graph, part, mode)
    power, said = None, list[str]()
    if program is not None and request.profile is not None and request.power is not None:
        power, said = run_for_power(program, request.engine, request.target, graph, request.options, request.power)
    said += [NO_MODE] if power is not None and mode is None else []
    notes = [*built.notes, *_another_version(request.target, built.version), *said]
    return replace(built, mode=mode, power=power, notes=notes)


def _measured(request: BuildRequest, graph: gs.Graph, built: BuildResult, network: str) -> MeasuredReport:
    power = built.power
    return MeasuredReport(
        network=network,
        mode=built.mode,
        precision=precision(request.target, graph, request.options).name,
        tensorrt=built.version,
        ms=None if built.latency is None else built.latency.median,
        watts=None if power is None else power.watts,
        idle_watts=None if power is None else power.idle_watts,
        mj=None if power is None else power.mj,
        mj_above_idle=None if power is None else power.mj_above_idle,
        rails={} if power is None else power.rails,
    )


def _places(request: BuildRequest, source: Model, via: Way) -> tuple[list[Place], list[Place]]:
    """What is read, and what is written."""
    options = request.options
    read = model_places(source)
    if options.calibration is not None:
        read.append(Place("what --calib reads", Path(options.calibration)))
    written = [] if via == "profile" else [Place("-o", request.engine)]
    if via == "profile" and request.profile is not None:
        written.append(Place("--profile", request.profile, fresh=False))
    elif request.profile is not None and request.layers is not None:
        written += [Place("--profile", request.profile), Place("the file of layers beside it", request.layers)]
    if request.report is not None:
        written.append(Place("--report", request.report, fresh=False))
    if options.timing_cache is not None:
        written.append(Place("--timing-cache", Path(options.timing_cache), fresh=False))
    return read, written


def _way(via: Way, profiled: bool) -> Path | None:
    """The program, or None for the Python package."""
    if profiled and via == "python":
        raise UsageError("the Python package cannot measure layers", "--profile", "--via trtexec")
    program = None if via == "python" else find_trtexec()
    if program is not None:
        return program
    if via == "trtexec" or profiled:
        raise CompressError("no trtexec here", "--profile" if profiled else "--via trtexec", HERE)
    if via == "auto" and importlib.util.find_spec("tensorrt") is None:
        raise CompressError("TensorRT is not installed", "build", f"on the device: {HERE}; elsewhere: {INSTALL}")
    return None


def _by_package(request: BuildRequest, graph: gs.Graph, part: Path) -> BuildResult:
    version, notes = build_engine(request.model, part, request.target, graph, request.options, request.progress)
    return BuildResult(request.engine, part.stat().st_size, "tensorrt", version, 0.0, notes=notes)


def _by_program(program: Path, request: BuildRequest, graph: gs.Graph, part: Path, mode: str | None) -> BuildResult:
    wanted = arguments(request.target, graph, str(request.model), str(part), request.options)
    with ExitStack() as stack:
        files = [stack.enter_context(part_of) for part_of in _staged(request)]
        wanted += steady_latency(request.target, *map(str, files)) if files else []
        report = run_trtexec(program, wanted, part, request.progress, request.say)
        times, said = _layer_times(request, graph, mode, files)
    return BuildResult(
        engine=request.engine,
        engine_bytes=part.stat().st_size,
        tool="trtexec",
        version=report.version,
        seconds=0.0,
        latency=report.latency,
        throughput=report.throughput,
        times=times,
        notes=[*report.warnings, *said],
    )


def _by_profile(request: BuildRequest, graph: gs.Graph) -> BuildResult:
    """What an engine takes that was built and timed elsewhere, by trtexec alone."""
    assert request.profile is not None and request.layers is not None
    if not request.profile.is_file():
        raise UsageError("no such file", str(request.profile), "trtexec --exportProfile writes it, on the device")
    mode = None if request.power_mode is None else plain(request.power_mode)
    with writing(request.profile), staged(request.profile) as part:
        part.write_bytes(request.profile.read_bytes())
        times, said = _layer_times(request, graph, mode, [part, request.layers])
        if not times:
            what = "no layer of the profile is one of the model's Convs"
            raise CompressError(what, str(request.profile), "name the model that was built")
    return BuildResult(None, 0, "trtexec", "", 0.0, times=times, mode=mode, notes=said)


def _layer_times(
    request: BuildRequest, graph: gs.Graph, mode: str | None, files: Sequence[Path]
) -> tuple[dict[str, float], list[str]]:
    if not files:
        return {}, []
    profile, layers = files
    if not layers.exists() and layers != request.layers:
        layers.write_text("[]", encoding="utf-8")
    return layer_times(request.target, graph, request.options, mode, profile, layers)


def _staged(request: BuildRequest) -> Iterator[AbstractContextManager[Path]]:
    """The profile and the layer information."""
    for path in (request.profile, request.layers):
        if path is not None:
            yield staged(path)


def _another_version(target: Target, version: str) -> list[str]:
    wanted = ".".join(map(str, target.tensorrt or ()))
    if not version or version.split(".")[:2] == wanted.split("."):
        return []
    return [f"TensorRT {version} is installed, the target {target.name} is for {wanted}"]
