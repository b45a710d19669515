"""Pipelines with a name: `-p small`. A recipe takes no options; what it stands for may be written out and changed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Recipe:
    """What `explain` and `list` say of it, and the passes that it stands for."""

    summary: str
    pipeline: str


RECIPES = {
    "safe": Recipe("INT8 and nothing else: answers change least.", "quantize"),
    "balanced": Recipe(
        "The default: INT8, and factors where they are faster, as far as 97 % agreement on held-out samples allows.",
        "basis,quantize",
    ),
    "small": Recipe(
        "At most 45 % of the MACs, in INT8: first whole filters go, then what is left is factorized.",
        "prune:macs=0.7,basis:macs=0.45,quantize",
    ),
    "xavier-int8": Recipe(
        "For the Xavier's INT8 kernels: filters go in the multiples that these compute in.",
        "prune:align=target,quantize",
    ),
}
