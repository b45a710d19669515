"""What a pass has seen while it decided, for the drawings of a report; thinned, so that reports stay small."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import numpy as np

POINTS = 40
BINS = 48
BLOCK = 2**17  # values that are counted at once
COSTS = {"macs": "MACs", "latency": "time", "params": "parameters", "bytes": "bytes", "int8": "time in INT8"}
"""What a search can make small, in words."""


@dataclass(frozen=True)
class ErrorCurve:
    """What a node would lose at every size it could have, in one form.

    Attributes:
        form: what the node would be written as; "" where there is one way only.
        sizes: ascending.
        macs: multiply-accumulates of one sample, by size.
        errors: by size, relative to the output energy.
        dense: the MACs of the node as it is.
    """

    node: str
    form: str
    sizes: tuple[int, ...]
    macs: tuple[int, ...]
    errors: tuple[float, ...]
    dense: int


@dataclass(frozen=True)
class Trial:
    """A network that was tried: its share of MACs, what was judged (agreement, error, or what is lost), the one-sided
    95 % confidence limit of that, where it is known, and which share of the cost it was to have."""

    macs: float
    value: float
    bound: float
    passed: bool
    share: float


@dataclass(frozen=True)
class Trials:
    """A search. `rule` is "agreement", "accuracy_drop", "error" or "metric_drop", `allowed` its limit; `cost` is what
    it makes small, a key of `COSTS`."""

    rule: str
    allowed: float
    tried: tuple[Trial, ...]
    cost: str


@dataclass(frozen=True)
class Spread:
    """Which values |x| a tensor takes, and the range chosen for it.

    Attributes:
        tensor: its name; of a weight, the name of the layer.
        counts: in equal bins from 0 to `top`.
        low, high: the chosen ranges; they differ where every channel has its own.
    """

    tensor: str
    kind: Literal["activation", "weight"]
    counts: tuple[int, ...]
    top: float
    low: float
    high: float


@dataclass
class Traces:
    """All that one pass has to show."""

    curves: list[ErrorCurve] = field(default_factory=list[ErrorCurve])
    searches: list[Trials] = field(default_factory=list[Trials])
    spreads: list[Spread] = field(default_factory=list[Spread])


def thinned(count: int) -> list[int]:
    """At most `POINTS` indices below `count`, evenly, the first and the last among them."""
    return sorted({round(position) for position in np.linspace(0, count - 1, POINTS).tolist()}) if count else []


def gathered(counts: np.ndarray, width: float, peak: float) -> tuple[tuple[int, ...], float]:
    """Fine bins of `width` gathered to `BINS` coarser ones that hold all up to `peak`, and where the last one ends."""
    used = int(peak / width) + 1 if width > 0 else 1
    each = -(-used // BINS)
    padded = np.zeros(BINS * each, np.int64)
    held = counts[: len(padded)]
    padded[: len(held)] = held
    return tuple(int(value) for value in padded.reshape(BINS, each).sum(axis=1)), float(BINS * each * width)


def weight_spread(layer: str, values: np.ndarray, ranges: np.ndarray) -> Spread:
    """Of a weight, with the range of each of its channels, or one for all."""
    flat = values.reshape(-1)
    top = float(max(flat.max(initial=0), -flat.min(initial=0))) or 1.0
    counts = np.zeros(BINS, np.int64)
    for start in range(0, len(flat), BLOCK):
        counts += np.histogram(np.abs(flat[start : start + BLOCK].astype(np.float64)), BINS, (0.0, top))[0]
    low, high = float(np.min(ranges)), float(np.max(ranges))
    return Spread(layer, "weight", tuple(int(count) for count in counts), top, low, high)
