"""One Conv in the place of several that read channels of one tensor.

    y = [W_1 x[c_1]; W_2 x[c_2]; ...]        c_j: the channels that Conv j reads, all or some

Dense Convs (one group): the filters stand below each other, with zeros at the channels and taps that are not theirs.
Depthwise Convs: each channel is read by one of them, so that they stay depthwise. (Several filters for a channel would
be a grouped Conv, for which engines have slower kernels.) Where they read the same channels, the Conv before them
writes these several times: it is a member as often.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate

import numpy as np

from ...compiler.costs.workload import ConvWorkload, conv_workload
from ...compiler.graph.convs import Conv
from ...compiler.graph.shapes import Shapes
from .windows import Window, common_window


@dataclass(frozen=True, eq=False)
class Member:
    """A Conv that is to be part of another.

    Attributes:
        reads: which channels of the tensor that the other Conv reads are its input, in its order.
        windows: of its kernel, one per axis.
    """

    conv: Conv
    reads: Sequence[int]
    windows: tuple[Window, ...]


@dataclass(frozen=True, eq=False)
class Step:
    """One Conv, not written yet; `width`: channels of the tensor that it reads."""

    members: tuple[Member, ...]
    width: int
    windows: tuple[Window, ...]

    @staticmethod
    def of(members: Sequence[Member], width: int) -> Step | str:
        """A reason where there is no such Conv."""
        first = members[0].conv
        for member in members[1:]:
            reason = _unlike(first, member.conv)
            if reason is not None:
                return reason
        windows = [common_window(axis) for axis in zip(*(member.windows for member in members), strict=True)]
        found = tuple(window for window in windows if window is not None)
        if len(found) < len(windows):
            return "their outputs differ in size"
        if first.group > 1 and [channel for member in members for channel in member.reads] != list(range(width)):
            return "depthwise, and not all channels are read, or one twice"
        return Step(tuple(members), width, found)

    @property
    def depthwise(self) -> bool:
        return self.members[0].conv.group > 1

    @property
    def filters(self) -> int:
        return sum(member.conv.filters for member in self.members)

    @property
    def alone(self) -> list[Step]:
        """The Convs that it is made of, each by itself."""
        members = {id(member.conv.node): member for member in self.members}.values()
        return [Step((member,), len(member.reads), member.windows) for member in members]

    @property
    def apart(self) -> list[Step]:
        """What TensorRT makes of these by itself: one layer of dense Convs that read the same with one kernel. (From
        Q/DQ pairs TensorRT 8 was seen not to: NVIDIA/TensorRT#1602.)"""
        groups: dict[Hashable, list[Member]] = {}
        for step in self.alone:
            (member,) = step.members
            key = (tuple(member.reads), member.windows, id(member) if self.depthwise else None)
            groups.setdefault(key, []).append(member)
        return [Step(tuple(group), len(group[0].reads), group[0].windows) for group in groups.values()]

    @property
    def writes(self) -> list[range]:
        """Of each member, which channels of the output are its own."""
        ends = accumulate(member.conv.filters for member in self.members)
        return [range(end - member.conv.filters, end) for member, end in zip(self.members, ends, strict=True)]

    def ordered(self, order: Sequence[int]) -> Step:
        """The same Conv with the members in another order."""
        return replace(self, members=tuple(self.members[index] for index in order))

    def workload(self, shapes: Shapes) -> ConvWorkload:
        kernel = tuple(window.size for window in self.windows)
        dense = conv_workload(self.members[0].conv, shapes)
        group = self.width if self.depthwise else 1
        return replace(dense, channels_in=self.width, channels_out=self.filters, kernel=kernel, group=group)

    def weight(self) -> np.ndarray:
        """(N, C/g, k...), float32."""
        kernel = tuple(window.size for window in self.windows)
        values = np.zeros((self.filters, 1 if self.depthwise else self.width, *kernel), np.float32)
        for member, rows in zip(self.members, self.writes, strict=True):
            taps = [own.places(whole) for own, whole in zip(member.windows, self.windows, strict=True)]
            values[np.ix_(rows, [0] if self.depthwise else member.reads, *taps)] = member.conv.weight
        return values

    def bias(self) -> np.ndarray | None:
        """(N,), float32; None where no member has one."""
        if all(member.conv.bias is None for member in self.members):
            return None
        values = np.zeros(self.filters, np.float32)
        for member, rows in zip(self.members, self.writes, strict=True):
            values[list(rows)] = 0.0 if member.conv.bias is None else member.conv.bias
        return values


def _unlike(one: Conv, other: Conv) -> str | None:
    if one.strides != other.strides:
        return "their strides differ"
    if (one.group > 1) != (other.group > 1):
        return "one of them is depthwise"
    return None if one.dtype == other.dtype else "their weights are stored in different types"
