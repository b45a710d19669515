"""What values a numeric option may have, written as an interval: `(0, 1]`, `[1, inf)`; a round bracket leaves its end
out. NaN lies in none of them."""

from __future__ import annotations

import dataclasses
import re
from functools import cache
from typing import Any

RANGE = "range"
"""The interval in the metadata of a field."""
FINITE = "(-inf, inf)"
INFINITY = float("inf")
_FORM = re.compile(r"([\[(])(\S+), (\S+)([\])])")


@dataclasses.dataclass(frozen=True)
class Range:
    """`closed`: whether the lower and the upper end belong to it."""

    low: float
    high: float
    closed: tuple[bool, bool]

    def __contains__(self, value: float) -> bool:
        low, high = self.closed
        above = value >= self.low if low else value > self.low
        return above and (value <= self.high if high else value < self.high)

    def __str__(self) -> str:
        """more than 0, at most 1"""
        low = f"{'at least' if self.closed[0] else 'more than'} {self.low:.15g}" if self.low > -INFINITY else ""
        high = f"{'at most' if self.closed[1] else 'less than'} {self.high:.15g}" if self.high < INFINITY else ""
        return ", ".join(filter(None, (low, high))) or "a finite number"


@cache
def parse_range(text: str) -> Range:
    found = _FORM.fullmatch(text)
    if found is None:
        raise ValueError(f"'{text}' is no interval such as (0, 1]")
    return Range(float(found[2]), float(found[3]), (found[1] == "[", found[4] == "]"))


def check_ranges(options: Any) -> None:
    """`ValueError` where a number in a dataclass lies outside of the range that its field declares."""
    for entry in dataclasses.fields(options):
        value = getattr(options, entry.name)
        if isinstance(value, bool) or not isinstance(value, int | float):
            continue
        allowed = parse_range(entry.metadata.get(RANGE, FINITE))
        if value not in allowed:
            raise ValueError(f"{entry.name.replace('_', '-')}={value}: expected {allowed}")
