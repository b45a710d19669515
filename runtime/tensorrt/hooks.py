"""What TensorRT calls back while it builds: a log, a calibrator that holds a cache, a progress monitor.

Their base classes come with the package, so the classes are made once it is there.
"""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

from ...compiler.pipeline.progress import Advance, Progress

REPORTED = ("INTERNAL_ERROR", "ERROR", "WARNING")


def collector(trt: Any) -> Any:
    """A logger whose `lines` are (severity, text) from warnings up."""

    class Log(trt.ILogger):
        def __init__(self) -> None:
            super().__init__()
            self.lines: list[tuple[str, str]] = []

        def log(self, severity: Any, text: str) -> None:
            if severity.name in REPORTED:
                self.lines.append((severity.name, text))

    return Log()


def cache_calibrator(trt: Any, cache: bytes) -> Any:
    """A calibrator with ranges and no data."""

    class Ranges(trt.IInt8EntropyCalibrator2):
        def __init__(self) -> None:
            super().__init__()

        def get_batch_size(self) -> int:
            return 1

        def get_batch(self, names: Any) -> None:
            return None

        def read_calibration_cache(self) -> bytes:
            return cache

        def write_calibration_cache(self, new: Any) -> None:
            return None

    return Ranges()


def monitor(trt: Any, progress: Progress) -> Any:
    """A bar per phase of the build, None before TensorRT 8.6; `interrupted` after Ctrl-C, which ends the build."""
    if not hasattr(trt, "IProgressMonitor"):
        return None

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            super().__init__()
            self.interrupted = False
            self._bars: dict[str, tuple[ExitStack, Advance]] = {}

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            stack = ExitStack()
            self._bars[phase_name] = stack, stack.enter_context(progress(phase_name, num_steps))

        def step_complete(self, phase_name: str, step: int) -> bool:
            try:
                self._bars[phase_name][1]()
            except KeyboardInterrupt:
                self.interrupted = True
            return not self.interrupted

        def phase_finish(self, phase_name: str) -> None:
            self._bars.pop(phase_name)[0].close()

    return Monitor()
