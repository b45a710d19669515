"""Numbers and lists as people read them."""

from __future__ import annotations

from collections.abc import Sequence

SHARES = frozenset(("agreement", "pixels", "accuracy"))
"""Metrics whose values are shares in [0, 1]; others have units of their own."""
UNITS = ((1e9, "G"), (1e6, "M"), (1e3, "k"))


def short(value: float) -> str:
    """1234567 -> 1.23 M"""
    for size, unit in UNITS:
        if abs(value) >= 0.9995 * size:  # what would be written as 1000 of the smaller one
            return f"{value / size:.3g} {unit}"
    return f"{value:.4g}"


def bytesize(count: float) -> str:
    """1234567 -> 1.23 MB"""
    text = short(count)
    return f"{text}B" if " " in text else f"{text} bytes"


def percent(share: float | None, digits: int = 2) -> str:
    return "" if share is None else f"{100 * share:.{digits}f} %"


def rated(metric: str, value: float | None, deviation: float | None = None) -> str:
    """The value of a metric, with its standard error: `97.20 % ± 0.7`, `0.118 ± 0.004`."""
    if value is None:
        return ""
    shares = metric in SHARES
    if deviation is None:
        return percent(value) if shares else f"{value:.4g}"
    return f"{percent(value)} ± {100 * deviation:.2g}" if shares else f"{value:.3g} ± {deviation:.2g}"


def counted(count: int, noun: str) -> str:
    """`1 sample`, `20 samples`"""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def first_few(names: Sequence[object], most: int = 3) -> str:
    """`a, b, c and 4 more`"""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(map(str, names[:most])) + more


def milliseconds(value: float | None) -> str:
    return "" if value is None else f"{value:.3g} ms" if value < 1000 else f"{value:.0f} ms"


def watts(value: float | None) -> str:
    return "" if value is None else f"{value:.3g} W"


def millijoules(value: float | None) -> str:
    return "" if value is None else f"{value:.3g} mJ" if value < 1000 else f"{value:.0f} mJ"


def figure(value: object) -> str:
    """A figure of a decision or metric, whatever it is."""
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def humanized(name: str) -> str:
    """`macs_kept` -> macs kept; the name of a file or a function stays as it is."""
    return name if ":" in name or "(" in name else name.replace("_", " ")
