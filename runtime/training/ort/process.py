"""The other end of `worker`: starts it, asks it, ends it, and words what went wrong.

A library that crashes, hangs at the start, or has no gradient of an operator becomes one `CompressError`.
"""

from __future__ import annotations

import json
import os
import queue
import re
import signal
import subprocess
import threading
from collections.abc import Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import IO, Any

from ....compiler.errors import CompressError
from ....compiler.processes import started

WORKER = Path(__file__).with_name("worker.py")
START, STEP, END = 600.0, 3600.0, 1.0
OTHER = "engine=torch"
KILLED = -9
NO_GRADIENT = "onnxruntime-training has no gradient of {0}"
KNOWN = (
    (re.compile(r"has not been registered: (\w+) for node (\S*)"), NO_GRADIENT),
    (re.compile(r"implementation for (\w+?)Grad\(\d+\) node with name '(\S+?)_Grad/"), NO_GRADIENT),
    (re.compile(r"GradientBuilder is not implemented for (?:CUDA )?(.*?)()\.?$"), NO_GRADIENT),
    (re.compile(r"partial derivative for '()([^']*)'"), "the loss has no slope along it"),
    (re.compile(r"running (\w+) node\. Name:'([^']*)' Status Message: (.*)"), "{0} failed: {2}"),
)
"""What the library says: the operator, the node, and how to say it."""


class Process:
    """A worker.

    Args:
        python: the interpreter of its environment.
        folder: of this job; holds the request.
        start, step: seconds after which it is stopped.
    """

    def __init__(self, python: Path, folder: Path, start: float = START, step: float = STEP):
        self._start, self._limit, self._stage = start, step, "start"
        self._log, self._running = folder / "log", ExitStack()
        self._events: queue.SimpleQueue[Mapping[str, Any] | None] = queue.SimpleQueue()
        try:
            with self._log.open("wb") as log:
                running = started(
                    [str(python), str(WORKER), str(folder)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    text=True,
                    encoding="utf-8",
                    env=_environment(),
                )
                self._process = self._running.enter_context(running)
        except OSError as error:
            raise CompressError(f"cannot be run: {error.strerror}", str(python), OTHER) from error
        assert self._process.stdin is not None and self._process.stdout is not None
        self._commands, self._told = self._process.stdin, self._process.stdout
        threading.Thread(target=_listen, args=(self._told, self._events), daemon=True).start()

    def ready(self) -> str:
        """The library's version, as soon as it can compute."""
        return self._await("ready", self._start)

    def step(self) -> float:
        """Have a step computed; its loss."""
        with suppress(OSError):  # it has died; what it said last is still to be read
            self._commands.write("step\n")
            self._commands.flush()
        return self._await("loss", self._limit)

    def close(self) -> None:
        """End the worker, at once if it computes."""
        with suppress(OSError):
            self._commands.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(END)
        self._running.close()

    def _await(self, key: str, limit: float) -> Any:
        while True:
            try:
                event = self._events.get(timeout=limit)
            except queue.Empty:
                self._process.kill()
                raise self._error(f"was stopped after {limit:g} s") from None
            if event is None:
                raise self._error(self._ending())
            self._stage = event.get("stage", self._stage)
            if "failed" in event:
                raise worded(event["failed"], self._stage)
            if key in event:
                return event[key]

    def _ending(self) -> str:
        code = self._process.wait()
        if code == KILLED:
            return "was killed; too little memory?"
        if code < 0:
            return f"crashed ({signal.Signals(-code).name})"
        lines = self._log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return f"ended: {lines[-1] if lines else f'exit code {code}'}"

    def _error(self, what: str) -> CompressError:
        return CompressError(f"onnxruntime-training {what}", f"stage '{self._stage}'", f"a smaller batch, or {OTHER}")


def worded(text: str, stage: str) -> CompressError:
    """What the library said, as an error that names the node and the way out."""
    line = " ".join(text.split())
    for pattern, what in KNOWN:
        found = pattern.search(line)
        if found is not None:
            return CompressError(what.format(*found.groups()), found.group(2), OTHER)
    return CompressError(f"onnxruntime-training failed: {line[-300:]}", f"stage '{stage}'", OTHER)


def _environment() -> dict[str, str]:
    """Without what leads an interpreter to the packages of another."""
    return {key: value for key, value in os.environ.items() if key not in ("PYTHONPATH", "PYTHONHOME")}


def _listen(lines: IO[str], events: queue.SimpleQueue[Mapping[str, Any] | None]) -> None:
    """Hand on what the worker tells; None when it is gone. A crash may cut the last line short."""
    with lines:
        for line in lines:
            if line.endswith("\n"):
                events.put(json.loads(line))
    events.put(None)
