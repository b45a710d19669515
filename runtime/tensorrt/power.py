"""The power of a Jetson while an engine runs on it, and the energy of an inference.

The saved engine is run once more by `trtexec --loadEngine`, so that neither its building nor its loading counts, and
without a thread that waits in a loop for the GPU, which would draw power of its own. Beside it `tegrastats` prints a
line every `INTERVAL` ms. Those count that come between the end of the warm-up and the moment at which trtexec says that
it has finished; before it starts, the same is read of a device that does nothing.

    watts                mean power of the module, see `tegrastats`
    ms                   1000 / throughput of these runs, which follow each other without a gap
    mj = watts ms        energy of an inference, of all that the module does meanwhile
    mj_above_idle = (watts - idle_watts) ms     what the inference adds to a module that is on anyway

The clocks of an idle device are low, so that the second is more than what the kernels themselves take. An inference is
one run of the engine, of its whole batch.
"""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from collections.abc import Generator, Iterable, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...compiler.errors import CompressError
from ...compiler.processes import PATIENCE, started
from .log import read_log
from .program import NOTHING_SAID, cannot_start
from .tegrastats import PowerSample, mean_mw, module_mw, read_sample

INTERVAL = 100
FEWEST = 5
SETTLING = 1.0
"""Seconds after a build, before an idle device is looked at."""
FINISHED = ("Warmup completed", "Timing trace has", "=== Trace details")
Line = tuple[float, str]


@dataclass(frozen=True)
class PowerFigures:
    """Means while an engine ran.

    Attributes:
        rails: name -> watts.
        watts, idle_watts: of the module; None where its rails are of no known device.
        ms: of an inference.
        samples: lines of tegrastats that count.
    """

    rails: dict[str, float]
    watts: float | None
    idle_watts: float | None
    ms: float
    samples: int

    @property
    def mj(self) -> float | None:
        """Millijoules per inference."""
        return None if self.watts is None else self.watts * self.ms

    @property
    def mj_above_idle(self) -> float | None:
        if self.watts is None or self.idle_watts is None:
            return None
        return (self.watts - self.idle_watts) * self.ms


@dataclass(frozen=True)
class PowerSettings:
    """Seconds that the engine is run for, that it runs before that, and that the idle device is looked at."""

    seconds: float = 10.0
    warm_up: float = 1.0
    idle: float = 2.0


USUAL = PowerSettings()


def find_tegrastats() -> str | None:
    return shutil.which("tegrastats")


def measure_power(
    tegrastats: str, trtexec: Path, arguments: Sequence[str], settings: PowerSettings = USUAL
) -> PowerFigures:
    """Run the engine, see the module docstring.

    Args:
        arguments: of trtexec; they load the engine, warm up and run it for the times in `settings`.

    Raises:
        CompressError: a program cannot be run, or they do not say enough.
    """
    with _lines_of([tegrastats, "--interval", str(INTERVAL)]) as lines:
        _wait(lines)
        time.sleep(SETTLING * bool(settings.idle))
        idle_from = time.monotonic()
        time.sleep(settings.idle)
        idle_until = time.monotonic()
        said = _run([str(trtexec), *arguments])
    begin, end = _timed(said, settings.warm_up)
    idle, running = (_between(lines, *span) for span in ((idle_from, idle_until), (begin, end)))
    return _figures(idle, running, _milliseconds(said))


def _wait(lines: Sequence[Line]) -> None:
    """Until tegrastats has printed something, or is not going to."""
    end = time.monotonic() + PATIENCE
    while not lines and time.monotonic() < end:
        time.sleep(INTERVAL / 1e4)


def _figures(idle: Sequence[PowerSample], running: Sequence[PowerSample], ms: float) -> PowerFigures:
    if len(running) < FEWEST:
        what = f"{len(running)} lines with rails while the engine ran"
        raise CompressError(what, "tegrastats", "a longer --power-seconds; some versions show rails to root alone")
    rails, resting = mean_mw(running), mean_mw(idle)
    total, before = module_mw(rails), module_mw(resting)
    return PowerFigures(
        rails={name: value / 1e3 for name, value in rails.items()},
        watts=None if total is None else total / 1e3,
        idle_watts=None if before is None else before / 1e3,
        ms=ms,
        samples=len(running),
    )


def _between(lines: Iterable[Line], begin: float, end: float) -> list[PowerSample]:
    found = (read_sample(line) for at, line in lines if begin <= at <= end)
    return [sample for sample in found if sample is not None]


def _timed(said: Sequence[Line], warm_up: float) -> tuple[float, float]:
    """When the runs that are timed began and ended: trtexec is silent in between, and then says how many they were."""
    silent = next((index for index, (_, line) in enumerate(said) if any(word in line for word in FINISHED)), 0)
    if not silent:
        raise CompressError("it does not say when the engine ran", "trtexec", "--verbose shows what it says")
    return said[silent - 1][0] + warm_up, said[silent][0]


def _milliseconds(said: Sequence[Line]) -> float:
    report = read_log("".join(line for _, line in said))
    if report.throughput:
        return 1e3 / report.throughput
    if report.latency is None:
        raise CompressError("it says neither throughput nor latency", "trtexec", "--verbose shows what it says")
    return report.latency.mean


def _run(command: Sequence[str]) -> list[Line]:
    """What it prints, and when."""
    with _started(command) as process:
        said = list(_stamped(process))
        code = process.wait()
    if code:
        errors = read_log("".join(line for _, line in said)).errors
        reason = next(iter(errors), said[-1][1].strip() if said else NOTHING_SAID)
        raise CompressError(f"it failed: {reason}", "trtexec --loadEngine", "--verbose shows what it says")
    return said


@contextmanager
def _lines_of(command: Sequence[str]) -> Generator[list[Line], None, None]:
    """The list to which a program adds a line at a time within the block; it is stopped at the end."""
    lines: list[Line] = []

    def listen(process: subprocess.Popen[str]) -> None:
        with suppress(ValueError):  # the stream may be closed meanwhile
            for line in _stamped(process):
                lines.append(line)

    with _started(command) as process:
        listener = threading.Thread(target=listen, args=(process,), daemon=True, name="tegrastats")
        listener.start()
        try:
            yield lines
        finally:
            process.terminate()
            listener.join(PATIENCE)


def _stamped(process: subprocess.Popen[str]) -> Generator[Line, None, None]:
    for line in process.stdout or ():
        yield time.monotonic(), line


@contextmanager
def _started(command: Sequence[str]) -> Generator[subprocess.Popen[str], None, None]:
    with ExitStack() as stack:
        options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        try:
            process = stack.enter_context(started(command, errors="replace", **options))
        except OSError as error:
            raise cannot_start(command, error) from error
        yield process
