"""How many samples fit into a given amount of memory at once.

What a calibrated run takes beside the process as it stands:

    moments      32 (d + n + 1)^2 bytes of the widest layer: their sum, the metric, its factor, what is made of them
    activations  of the samples that wait between two layers, of two networks; what is beyond goes to temporary files
    a batch      as a session holds the largest activation a few times
"""

from __future__ import annotations

import ctypes
import gc
import importlib
import os
import re
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from math import ceil, prod

import onnx_graphsurgeon as gs

from ..compiler.errors import UsageError
from ..compiler.graph.convs import find_convs
from ..compiler.graph.shapes import Shapes
from ..compiler.report.formatting import bytesize

UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9, "KI": 2**10, "MI": 2**20, "GI": 2**30}
WHERE = "--memory"
PER_MOMENT = 32
COPIES = 8
SHARE = 4
OBJECTS = 50_000
MOST_MAPPED, LEAST_RETURNED = -4, -1  # M_MMAP_MAX and M_TRIM_THRESHOLD of malloc.h


@dataclass(frozen=True)
class MemoryBudget:
    """Attributes:
    activations: bytes that the samples of each network may hold between layers.
    batch: samples at once.
    """

    activations: int
    batch: int


def parse_bytes(text: str) -> int:
    """`2GB`, `512MiB` or a number of bytes.

    Raises:
        UsageError: it is none of them.
    """
    found = re.fullmatch(r"\s*(\d{1,15}(?:\.\d{1,15})?)\s*([KMG]I?)?B?\s*", text.upper())
    if found is None or not float(found[1]):
        raise UsageError(f"'{text}' is no amount of memory", WHERE, "2GB, 512MiB or a number of bytes")
    return int(float(found[1]) * UNITS[found[2] or ""])


def memory_budget(graph: gs.Graph, shapes: Shapes, memory: int) -> MemoryBudget:
    """What is left of `memory` for samples of these shapes (the batch along axis 0 being 1).

    Raises:
        UsageError: not enough for one sample.
    """
    fixed = peak() + PER_MOMENT * _widest(graph)
    largest = max((4 * prod(shape) for shape in shapes.values()), default=1)
    share = (memory - fixed) // SHARE
    if share < COPIES * largest:
        least = ceil((fixed + SHARE * COPIES * largest) / 1e6)
        raise UsageError(f"{bytesize(memory)} are too little for this model", WHERE, f"at least {least}MB")
    return MemoryBudget(share, share // (COPIES * largest))


def installed() -> int:
    """Bytes of memory that this machine has; where it does not say, as many as can be addressed."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return sys.maxsize


def trim() -> None:
    """Give back to the system what the C library holds although it is free: hundreds of MB after a run over samples.

    That of GNU does, others have no such call.
    """
    release = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if release is not None:
        release(0)


@contextmanager
def kept_memory() -> Generator[None]:
    """Within it the C library keeps large arrays that become free for the next ones; at the end they are given back.

    That of GNU otherwise returns each to the system, which clears every page of the next one: a fifth of the processor
    time of a training step on images of 224 x 224. The peak is the same.
    """
    tune = getattr(ctypes.CDLL(None), "mallopt", None) if os.name == "posix" else None
    if tune is None:
        yield
        return
    tune(MOST_MAPPED, 0)
    tune(LEAST_RETURNED, 2**31 - 1)
    try:
        yield
    finally:
        tune(MOST_MAPPED, 2**16)  # GNU's own
        tune(LEAST_RETURNED, 2**26)  # the most that it comes to by itself
        trim()


@contextmanager
def rare_collections() -> Generator[None]:
    """Within it Python looks for cycles that nobody needs after `OBJECTS` new objects, not after 700.

    A graph of some hundred nodes is 10,000 objects, and a model is made of each several times a pass: looking is 6 % of
    the processor time of `quantize` on a small detector. The peak is the same.
    """
    thresholds = gc.get_threshold()
    gc.set_threshold(max(thresholds[0], OBJECTS) if thresholds[0] else 0, *thresholds[1:])
    try:
        yield
    finally:
        gc.set_threshold(*thresholds)


def peak() -> int:
    """The most bytes that this process has held."""
    resource = importlib.import_module("resource")  # not on Windows
    unit = 1 if sys.platform == "darwin" else 1024
    return unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _widest(graph: gs.Graph) -> int:
    rows: Iterable[int] = (conv.fan_in + conv.filters // conv.group + 1 for conv in find_convs(graph))
    return max(rows, default=0) ** 2
