"""Disjoint sets (union-find): which tensors share a scale, where that follows from pairs of them."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class DisjointSets(Generic[K]):
    """Every key is in a set of its own until that is joined with another."""

    def __init__(self) -> None:
        self._leader: dict[K, K] = {}

    def join(self, one: K, other: K) -> None:
        """Make one set of those of two keys; what stands for that of `one` stands for it."""
        self._leader[self.find(other)] = self.find(one)

    def find(self, key: K) -> K:
        """The key that stands for its set."""
        while (leader := self._leader.get(key, key)) != key:
            key = leader
        return key
