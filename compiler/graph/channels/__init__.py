"""Which channels of a network live or die together, and their removal. See `groups` and `removal`."""

from .describe import describe
from .groups import Channels, Group, Part, find_channels
from .removal import mask, remove
from .selection import Selection, widen

__all__ = ["Channels", "Group", "Part", "Selection", "describe", "find_channels", "mask", "remove", "widen"]
