"""The price of a Conv in time, where the target has a cost model."""

from __future__ import annotations

from .pieces import Pricing
from .targets import Target


def pricing_of(target: Target) -> Pricing | None:
    """The target's cost model, or None where it has none."""
    return None
