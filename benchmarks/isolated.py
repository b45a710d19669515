"""A process that answers calls one by one, and is replaced when it dies or takes too long."""

from __future__ import annotations

import multiprocessing
import os
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any


def _work(pipe: Any, folder: str, memory: float | None, prepare: Callable[[], Callable[..., Any]]) -> None:
    os.chdir(folder)
    sys.stderr = open(os.devnull, "w")  # noqa: SIM115
    if memory is not None:
        resource.setrlimit(resource.RLIMIT_AS, (int(memory * 2**30), int(memory * 2**30)))
    answer = prepare()
    while True:
        arguments = pipe.recv()
        try:
            pipe.send((answer(*arguments), None))
        except BaseException as error:
            pipe.send((None, f"escaped: {error!r}"))


class Isolated:
    """Calls in another process.

    Args:
        prepare: called there, once; gives the function that answers. It must be importable.
        limit: seconds for one call.
        memory: GB of address space; None: as much as there is.
    """

    def __init__(self, prepare: Callable[[], Callable[..., Any]], limit: float, memory: float | None = None):
        self._given, self._limit = (prepare, memory), limit
        self._folder = tempfile.TemporaryDirectory()
        self._start()

    def _start(self) -> None:
        prepare, memory = self._given
        context = multiprocessing.get_context("spawn")
        self._pipe, end = context.Pipe()
        arguments = (end, self._folder.name, memory, prepare)
        self._process = context.Process(target=_work, args=arguments, daemon=True)
        self._process.start()
        end.close()

    def __call__(self, *arguments: Any) -> tuple[Any, str | None]:
        """What it answers, and what went wrong: an exception that escaped, crash or timeout."""
        started, problem = time.perf_counter(), "timeout"
        self._pipe.send(arguments)
        try:
            if self._pipe.poll(self._limit):
                return self._pipe.recv()
        except EOFError:
            problem = "crash"
        self._process.kill()
        self._process.join()
        self._start()
        return None, f"{problem} after {time.perf_counter() - started:.0f} s"
