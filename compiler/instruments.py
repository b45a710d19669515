"""Things that watch a pipeline run: timing and dumps here; the verifier, which executes models, in `runtime.verify`."""

from __future__ import annotations

import time
from pathlib import Path

from .base import Pass, PassRecord
from .context import Context
from .graph.io import Model, save


class Instrument:
    """Hooks around each pass. `should_run` of any instrument can veto a pass."""

    def should_run(self, position: int, entry: Pass, model: Model, ctx: Context) -> bool:
        return True

    def before(self, position: int, entry: Pass, model: Model, ctx: Context) -> None:
        """Called before the pass runs."""

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        """Called after the pass has run; may add to `record.figures` or raise."""


class Timing(Instrument):
    """Seconds per pass, in `record.seconds`."""

    def before(self, position: int, entry: Pass, model: Model, ctx: Context) -> None:
        self._started = time.perf_counter()

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        record.seconds = time.perf_counter() - self._started


class Dump(Instrument):
    """The model after each pass, as `NNN-pass.onnx` in a folder."""

    def __init__(self, folder: Path):
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        save(model, self._folder / f"{record.position:03d}-{record.name}.onnx")
