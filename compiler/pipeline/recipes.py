"""Pipelines with a name: `-p small`. A recipe takes no options; what it stands for may be written out and changed.

Each kernel costs a fixed time: on small batches fewer layers save more than filters and ranks do, for what they lose.
"""

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
        "85 % of the time that INT8 alone takes: layers merge, blocks go, whatever that costs. Look at the metric.",
        "horizontal-fusion,depth:latency=0.85,collapse,quantize",
    ),
    "fastest": Recipe(
        "As fast in INT8 as 97 % agreement allows: blocks and filters go, whichever loses less.",
        "fast,collapse,horizontal-fusion,quantize",
    ),
    "best": Recipe(
        "Blocks and filters go as far as 97 % agreement allows, training on the samples wins that back, then INT8.",
        "fast,finetune:few,quantize",
    ),
    "xavier-int8": Recipe(
        "As fast in INT8 as 97 % agreement allows: Convs and blocks merge or go, factors come where they are faster.",
        "depth,basis,collapse,horizontal-fusion,quantize",
    ),
}
