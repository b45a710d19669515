"""Training of a compressed network to answer as the original does, on the user's samples; labels are not needed.

    min over the weights  E loss(network(x), original(x))              losses: `finetuning.objective`

The weights are what the passes before left: basis filters and mixtures, templates, vectors, centroids, the filters that
were not pruned, INT8 values (`finetuning.parameters`); the structure stays, and so does the size of the file. Gradients
come from an engine (`runtime.training.engine`), everything else is the same for all engines.

Samples are those of --data, all of them up to `samples`, whatever --samples is (for calibration). Some, evenly spaced,
are held out: after every epoch, or twentieth of a run that counts steps, the network is judged on them, the best is
kept, and if none is better than what went in, that stays. What differs where samples are few: `finetuning.options`.

A run that is interrupted goes on from its last checkpoint when the same command is given again: checkpoints lie in the
cache folder, under a digest of network, samples and options, until the run has ended.

Sources: `finetuning.losses`; the pipeline "decompose, then fine-tune with an orthogonal term" is that of Tayyab, Khan
and Mahalanobis, ICIP 2021 (arXiv 2105.10436).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import onnx_graphsurgeon as gs

from ..compiler.errors import Unavailable
from ..compiler.pipeline.base import PassResult
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.registry import register
from .finetuning.job import FinetuningJob
from .finetuning.options import FinetuneOptions
from .finetuning.parameters import find_parameters

FIX = "--data with some thousand samples; labels are not needed"


@register
@dataclass(frozen=True)
class Finetune(FinetuneOptions):
    """Train the weights so that the network answers as the original does."""

    name: ClassVar[str] = "finetune"
    per_node: ClassVar[frozenset[str]] = frozenset(("skip",))

    def outlook(self, graph: gs.Graph, ctx: Context) -> Mapping[str, str]:
        reasons = {each.layer: ctx.out_of_scope(each.layer) for each in find_parameters(graph)}
        return {name: "is trained" if reason is None else f"skipped: {reason}" for name, reason in reasons.items()}

    def trains_on(self) -> int:
        return self.samples

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        if ctx.training is None:
            raise Unavailable("fine-tuning needs samples", "finetune", FIX)
        return FinetuningJob(graph, ctx, ctx.training, self.chosen(ctx.training.samples)).run()
