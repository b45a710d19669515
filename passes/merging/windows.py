"""Kernels as sets of taps along one axis, and the smallest kernel that has the taps of several.

Tap k of a kernel reads x[stride p + t] for the output at p, with t = dilation k - begin (`begin`, `end`: the padding).
From an input of length n there are

    floor((n - 1 + rest) / stride) + 1        rest = end - t_last

outputs, so that kernels of one stride and one `rest` have outputs of one length, whatever n is. The common kernel
begins at the first of all taps and ends at the last, in steps of the greatest common divisor of their distances; it
keeps `rest`, and what it has beside the taps of a kernel are zeros of that kernel's weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

from ...compiler.graph.convs import Conv


@dataclass(frozen=True)
class Window:
    """A kernel along one axis; the dilation of a single tap is 1."""

    size: int
    dilation: int
    begin: int
    end: int

    @property
    def last(self) -> int:
        """Where the last tap reads."""
        return self.dilation * (self.size - 1) - self.begin

    @property
    def rest(self) -> int:
        """See the module docstring."""
        return self.end - self.last

    def places(self, within: Window) -> list[int]:
        """Which taps of a common kernel its own are."""
        first = within.begin - self.begin
        return [(first + self.dilation * tap) // within.dilation for tap in range(self.size)]


def windows_of(conv: Conv) -> tuple[Window, ...] | None:
    """One per axis; None where the padding depends on the size of the input."""
    if str(conv.node.attrs.get("auto_pad", "")).startswith("SAME") and max(conv.strides) > 1:
        return None
    pads = conv.pads(conv.kernel)
    return tuple(
        Window(size, dilation if size > 1 else 1, begin, end)
        for size, dilation, (begin, end) in zip(conv.kernel, conv.dilations, pads, strict=True)
    )


def common_window(windows: Sequence[Window]) -> Window | None:
    """That has all their taps; None where their outputs differ in length for some inputs."""
    rest = windows[0].rest
    if any(window.rest != rest for window in windows):
        return None
    begin, last = max(window.begin for window in windows), max(window.last for window in windows)
    distances = [begin - window.begin for window in windows]
    dilation = gcd(*distances, *(window.dilation for window in windows if window.size > 1)) or 1
    return Window((begin + last) // dilation + 1, dilation, begin, rest + last)


def conv_attributes(windows: Sequence[Window], strides: Sequence[int], group: int) -> dict[str, int | list[int]]:
    """Of a Conv node with a kernel of these windows."""
    return {
        "kernel_shape": [window.size for window in windows],
        "strides": list(strides),
        "dilations": [window.dilation for window in windows],
        "pads": [window.begin for window in windows] + [window.end for window in windows],
        "group": group,
    }
