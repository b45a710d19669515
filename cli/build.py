"""`onnx-compress build MODEL -o model.engine`: the engine, on the device."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ..compiler.errors import UsageError
from .options import Overwrite, Quiet

if TYPE_CHECKING:
    from rich.console import Console

    from ..drivers.build import BuildResult
    from ..runtime.tensorrt.power import PowerFigures

SLOWEST = 10
SECONDS = 10.0


def build(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The ONNX file to build.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Default: MODEL.engine beside the input.")
    ] = None,
    target: Annotated[str, typer.Option(help="The engine the model was compiled for.")] = "xavier",
    int8: Annotated[bool, typer.Option("--int8", help="Allow INT8; default: as the model asks for.")] = False,
    fp16: Annotated[bool, typer.Option("--fp16", help="Allow FP16; default: as the model asks for.")] = False,
    shapes: Annotated[
        list[str] | None, typer.Option(help="NAME:1x3x224x224 or NAME:MIN/OPT/MAX of an open input; may be repeated.")
    ] = None,
    calib: Annotated[Path | None, typer.Option(help="Calibration cache of a model without Q/DQ pairs.")] = None,
    timing_cache: Annotated[Path | None, typer.Option(help="Timing cache: makes the next build faster.")] = None,
    workspace: Annotated[
        int | None, typer.Option(min=1, max=2**20, help="MiB that a kernel may use for itself.")
    ] = None,
    profile: Annotated[Path | None, typer.Option(help="Write the milliseconds of each layer, as JSON.")] = None,
    report: Annotated[
        Path | None,
        typer.Option(help="The report of the compression; with --profile what was measured is added to it."),
    ] = None,
    power_mode: Annotated[
        str | None, typer.Option(help="Refuse unless the device is in this power mode; with --via profile: it was in.")
    ] = None,
    power_seconds: Annotated[
        float,
        typer.Option(min=0, max=3600, help="With --profile, on a Jetson: run so long for the power; 0: leave out."),
    ] = SECONDS,
    via: Annotated[
        Literal["auto", "python", "trtexec", "profile"],
        typer.Option(
            help="What builds; auto: trtexec if installed, else python; profile: nothing, the profile is there already."
        ),
    ] = "auto",
    overwrite: Overwrite = False,
    quiet: Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Print the whole output of trtexec.")] = False,
) -> None:
    """Build a TensorRT engine, on the device that will run it."""
    from ..compiler.files import beside
    from ..compiler.targets import find_target
    from ..compiler.targets.profiles import parse_ranges
    from ..compiler.targets.trtexec import EngineOptions
    from ..drivers.build import BuildRequest, make_engine
    from ..runtime.tensorrt import power
    from .console import progress_bars, results

    for given, flag in ((report, "--report"), (power_mode, "--power-mode")):
        if given is not None and profile is None:
            raise UsageError("nothing is measured without a profile", flag, "add --profile layers.json")
    written = beside(model, ".engine") if output is None else output
    if calib is not None and not calib.is_file():
        raise UsageError("no such file", str(calib), "give the calibration cache that lies beside the model")
    options = EngineOptions(
        int8=int8 if int8 or fp16 else None,
        fp16=fp16 if int8 or fp16 else None,
        shapes=parse_ranges(shapes or []),
        calibration=None if calib is None else str(calib),
        timing_cache=None if timing_cache is None else str(timing_cache),
        workspace=workspace,
    )
    with progress_bars(quiet) as progress:
        say = _print_log if verbose else None
        job = BuildRequest(
            model,
            written,
            find_target(target),
            options,
            profile,
            report,
            power=replace(power.USUAL, seconds=power_seconds) if power_seconds else None,
            power_mode=power_mode,
            overwrite=overwrite,
            progress=progress,
            say=say,
        )
        built = make_engine(job, via)
    if not quiet:
        show(results(), built)


def _print_log(text: str) -> None:
    from .console import errors

    errors().print(text, soft_wrap=True)


def show(console: Console, built: BuildResult) -> None:
    """The file, what was measured, and the layers that take longest."""
    tool = f"{built.tool} {built.version}".strip()
    if built.engine is None:
        console.print(f"{len(built.times)} Convs are timed in the profile")
    else:
        wrote = f"wrote {built.engine}: {built.engine_bytes} bytes, {tool}, {built.seconds:.1f} s"
        console.print(wrote, soft_wrap=True)
    if built.latency is not None:
        tail = "".join(f", {share:g} % below {value:g} ms" for share, value in built.latency.percentiles.items())
        console.print(f"latency: median {built.latency.median:g} ms{tail}", soft_wrap=True)
    if built.throughput is not None:
        console.print(f"throughput: {built.throughput:g} inferences per second")
    if built.power is not None:
        console.print(f"power{f' at {built.mode}' if built.mode else ''}: {_power(built.power)}", soft_wrap=True)
    for name, time in sorted(built.times.items(), key=lambda entry: -entry[1])[:SLOWEST]:
        console.print(f"{time:9.4f} ms  {name}", soft_wrap=True)
    for note in built.notes:
        console.print(f"note: {note}", soft_wrap=True)


def _power(power: PowerFigures) -> str:
    """The module where its rails are known, else each of them."""
    if power.watts is None or power.mj is None:
        return ", ".join(f"{name} {value:.3g} W" for name, value in power.rails.items())
    words = [f"{power.watts:.3g} W, {power.mj:.3g} mJ per inference"]
    if power.idle_watts is not None and power.mj_above_idle is not None:
        words.append(f"idle {power.idle_watts:.3g} W, {power.mj_above_idle:.3g} mJ above that")
    return "; ".join(words)
