"""Whose time a Conv takes: the option `clock`.

    model      the cost model of the target's device
    measured   onnxruntime on this machine (`runtime.measured_latency`), with `batch` samples at once and `threads`
    FILE       what `build --profile FILE` measured on the device; the cost model, scaled by it, for what has not been
               built (`costs.scaled_latency`). Several are joined by +: of an engine in FP16 and one in INT8, say, or of
               networks that were found before

Of the files those count that are of the device in the power mode, and of their Convs those in the precision asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ...compiler.costs.cost_model import DeviceLatencyModel
from ...compiler.costs.latency import Precision
from ...compiler.costs.layer_times import LayerTimes, read_layer_times
from ...compiler.costs.scaled_latency import ScaledLatencyModel
from ...compiler.errors import CompressError
from ...compiler.targets import Target

MODEL, MEASURED = "model", "measured"
JOINED = "+"
HELP = (
    "latencies by the target's cost model (model), by onnxruntime here (measured), or from build --profile FILE[+FILE]"
)


def files_of(clock: str) -> list[Path]:
    """The files that it names."""
    return [] if clock in (MODEL, MEASURED) else [Path(name) for name in clock.split(JOINED)]


def has(clock: str, precision: Precision) -> bool:
    """Whether its files have times in that precision."""
    return any(conv.precision == precision for path in files_of(clock) for conv in read_layer_times(path).convs)


def scaled(
    clock: str, model: DeviceLatencyModel | None, target: Target, precision: Precision, mode: str
) -> ScaledLatencyModel:
    """The cost model of the target, in that precision and power mode, scaled by the files of `clock`.

    Raises:
        CompressError: there is no cost model, or nothing in the files is of the device in the mode.
    """
    where = f"clock={clock}"
    if model is None:
        what = f"target '{target.name}' has no cost model for what has not been measured"
        raise CompressError(what, where, "choose a target that has one")
    times = [read_layer_times(path) for path in files_of(clock)]
    times = _kept(times, [each.device == target.device for each in times], f"was measured on {target.device}", where)
    fix = f"build with --profile there, or take the mode of the files: {', '.join(sorted({_mode(t) for t in times}))}"
    times = _kept(times, [_mode(each) in ("", mode) for each in times], f"was measured at {mode}", where, fix)
    return ScaledLatencyModel(model, times, where, precision, model.foresee is not None)


def _kept(
    times: Sequence[LayerTimes], wanted: Sequence[bool], what: str, where: str, fix: str = ""
) -> list[LayerTimes]:
    found = [each for each, keep in zip(times, wanted, strict=True) if keep]
    if not found:
        raise CompressError(f"nothing {what}", where, fix or "build with --profile there")
    return found


def _mode(times: LayerTimes) -> str:
    """30W_ALL and 30W_6CORE differ in the processor's cores, not in the GPU: 30W."""
    return (times.mode or "").partition("_")[0]
