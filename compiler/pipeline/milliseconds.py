"""A time as an option has it: `latency=1.2ms`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from math import inf

_FORM = re.compile(r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)ms")


@dataclass(frozen=True)
class Milliseconds:
    """More than 0; `ValueError` otherwise."""

    value: float

    def __post_init__(self) -> None:
        if not 0 < self.value < inf:
            raise ValueError(f"{self}: expected more than 0 ms")

    @staticmethod
    def parse(text: str) -> Milliseconds | None:
        """What `str` prints, or None where `text` is no time in ms; `ValueError` where it is not more than 0."""
        found = _FORM.fullmatch(text)
        return None if found is None else Milliseconds(float(found[1]))

    def __str__(self) -> str:
        return f"{repr(self.value).removesuffix('.0')}ms"
