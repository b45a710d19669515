"""Which units stay: the choice of a pass, made into one bool per label."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from .flow import KeptLabels
from .groups import Channels, Group

Selection = Mapping[Group, np.ndarray]


def widen(channels: Channels, kept: Selection) -> dict[Group, np.ndarray]:
    """`kept` with the units that are needed so that no tensor becomes empty: the first that a tensor has.

    Only tensors that hold a part of a group's channels (after a Split, say), or a group of which nothing was kept, need
    one. `kept` gives the units to keep, as indices; groups that are not named stay whole.
    """
    mask = _units(channels, kept)
    for labels in channels.tensors.values():
        units = channels.unit[labels.ids]
        if not mask[units].any():
            mask[units[0]] = True
    return {group: np.flatnonzero(mask[group.members]) for group in kept}


def stays(channels: Channels, kept: Selection) -> KeptLabels:
    """Whether each label stays, with `kept` widened."""
    mask = _units(channels, widen(channels, kept))
    return lambda ids: mask[channels.unit[ids]]


def _units(channels: Channels, kept: Selection) -> np.ndarray:
    mask = np.ones(int(channels.unit.max(initial=-1)) + 1, bool)
    for group, units in kept.items():
        if group.frozen is not None and len(units) < group.size:
            raise ValueError(f"group '{group.name}' is frozen: {group.frozen}")
        mask[group.members] = False
        mask[group.members[units]] = True
    return mask
