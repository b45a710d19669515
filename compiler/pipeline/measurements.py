"""What passes measure of a network, kept for further runs over the same network and samples.

Runs that differ in their limits alone (the points of a frontier, say) measure the same: they share one of these. It
stays in its process: jobs in others begin with an empty one, and come to the same results.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")


@dataclass(eq=False)
class Measurements:
    """By key, which names all that decides them."""

    _found: dict[Hashable, Any] = field(default_factory=dict[Hashable, Any])

    def once(self, key: Hashable, measure: Callable[[], T]) -> T:
        """What was measured under the key, now or before. Nobody edits it."""
        if key not in self._found:
            self._found[key] = measure()
        return self._found[key]

    def __reduce__(self) -> tuple[type[Measurements], tuple[()]]:
        return Measurements, ()
