"""Training of a compressed network to answer as the original does, on the user's samples; labels are not needed.

    min over the weights  E loss(network(x), original(x))              losses: `finetuning.objective`

The weights are what the passes before left: basis filters and mixtures, templates, vectors, centroids, the filters that
were not pruned, INT8 values (`finetuning.parameters`); the structure stays, and so does the size of the file. Gradients
come from an engine (`runtime.training.engine`), everything else is the same for all engines.

Samples are those of --data, all of them up to `samples`, whatever --samples says of calibration. Some, evenly spaced,
are held out: after every epoch the network is judged on them, the best is kept, and if none is better than what went
in, that stays.

A run that is interrupted goes on from its last checkpoint when the same command is given again: checkpoints lie in the
cache folder, under a digest of network, samples and options, until the run has ended.

Sources: `finetuning.losses`; the pipeline "decompose, then fine-tune with an orthogonal term" is that of Tayyab, Khan
and Mahalanobis, ICIP 2021 (arXiv 2105.10436).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

import onnx_graphsurgeon as gs

from ..compiler.errors import Unavailable
from ..compiler.pipeline.base import Pass, PassResult, option
from ..compiler.pipeline.context import Context
from ..compiler.pipeline.registry import register
from ..runtime.training.loop import TrainingSettings
from .finetuning.job import FinetuningJob, FinetuningPlan
from .finetuning.objective import parse_losses

RATES: Mapping[str, float] = {"scaled": 1e-3, "muon": 1e-3, "adamw": 3e-4, "sgd": 1e-2}
FIX = "--data with some thousand samples; labels are not needed"


@register
@dataclass(frozen=True)
class Finetune(Pass):
    """Train the weights so that the network answers as the original does."""

    name: ClassVar[str] = "finetune"
    per_node: ClassVar[frozenset[str]] = frozenset(("skip",))

    epochs: int = option(3, "times that every sample is seen, at most")
    minutes: float | None = option(None, "train for so long at most; the learning rate has fallen to 0 by then")
    loss: str = option("distill", "distill, features or ce (labels), or several: distill+features")
    teacher: str | None = option(None, "ONNX file of the original; the model that entered the pipeline where not given")
    temperature: float = option(4.0, "class scores of both networks are divided by this before they are compared")
    ortho: float = option(0.0, "weight of the term that keeps basis filters orthogonal; the paper's is 1e-3")
    engine: Literal["auto", "ort", "torch"] = option("auto", "what computes gradients: onnxruntime-training or PyTorch")
    optimizer: Literal["scaled", "muon", "adamw", "sgd"] = option(
        "scaled", "AdamW or Muon in steps relative to each array's size, AdamW, or SGD with momentum"
    )
    rate: float | None = option(
        None, "peak of the learning rate; scaled and muon 1e-3, adamw 3e-4, sgd 1e-2 if none is given"
    )
    momentum: float = option(0.9, "of sgd")
    decay: float = option(1e-4, "weight decay")
    clip: float = option(1.0, "largest norm of a gradient; 0: any")
    schedule: Literal["cosine", "step", "constant"] = option("cosine", "how the learning rate falls")
    warmup: float = option(0.05, "share of the run over which the rate rises")
    batch: int = option(128, "samples per step")
    augment: Literal["none", "flip", "crop", "flip-crop", "flip-crop-mix"] = option(
        "flip-crop", "random flips and shifts of image inputs, and mixtures of two of them"
    )
    threads: int | None = option(None, "of the engine; all cores where none is given")
    samples: int = option(50_000, "samples used at most")
    held_out: float = option(0.05, "share of the samples that is judged on, at most 1,024")
    patience: int = option(0, "end after so many epochs without a better network; 0: never")

    def __post_init__(self) -> None:
        parse_losses(self.loss)
        positive = {
            "epochs": self.epochs,
            "batch": self.batch,
            "samples": self.samples,
            "temperature": self.temperature,
        }
        for name, value in positive.items():
            if value <= 0:
                raise ValueError(f"{name}={value}: expected a positive number")
        if "mix" in self.augment and "ce" in parse_losses(self.loss):
            raise ValueError(f"augment={self.augment}: a mixture has no label, and loss={self.loss} needs one")
        if self.minutes is not None and self.minutes <= 0:
            raise ValueError(f"minutes={self.minutes}: expected a positive number")
        for name, value in {"held_out": self.held_out, "warmup": self.warmup}.items():
            if not 0 < value < 1:
                raise ValueError(f"{name}={value}: expected a share between 0 and 1")

    def trains_on(self) -> int:
        return self.samples

    def run(self, graph: gs.Graph, ctx: Context) -> PassResult:
        if ctx.training is None:
            raise Unavailable("fine-tuning needs samples", "finetune", FIX)
        return FinetuningJob(graph, ctx, ctx.training, self._plan(), str(self)).run()

    def _plan(self) -> FinetuningPlan:
        return FinetuningPlan(
            losses=parse_losses(self.loss),
            teacher=None if self.teacher is None else Path(self.teacher),
            temperature=self.temperature,
            ortho=self.ortho,
            engine=self.engine,
            threads=self.threads,
            optimizer=self.optimizer,
            momentum=self.momentum,
            decay=self.decay,
            clip=self.clip,
            batch=self.batch,
            augment=self.augment,
            held_out=self.held_out,
            settings=TrainingSettings(
                self.epochs,
                self.minutes,
                self.rate or RATES[self.optimizer],
                self.schedule,
                self.warmup,
                self.patience,
            ),
        )
