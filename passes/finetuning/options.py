"""The options of `finetune`, and what follows from them and the number of samples.

What is not given depends on how many samples there are: thousands bring what is to be learned themselves, a few hundred
have to be mixed and looked at inside of the network (`FEW`, `MANY`).

How the settings for few samples were chosen: SqueezeNet 1.1 after basis:macs=0.7, 800 pictures of 112 x 112 to train on
in steps of 32; divergence from the original's answers to 200 others, 2.33 before:

    100 steps   adamw 1e-4    2.08      adamw 2e-4    2.20      ends of fire modules beside the outputs, all alike
                scaled 1e-3   2.10      scaled 5e-4   2.10
                muon 3e-4     2.14
                adamw 1e-4    2.14      a window of half to all of the picture in the place of shifts
                adamw 1e-4    2.24      block by block: every fire module reads what the original gives to it
    200 steps   adamw 1e-4    2.016     8 ends beside the outputs
                adamw 1e-4    2.024     the outputs alone, in 0.74 of the processor time
                adamw 1e-4    2.027     100 steps block by block, then 100 end to end

So there is no stage block by block: that is what the fits in closed form have done already.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from ...compiler.pipeline.base import Pass, option
from ...runtime.training.augment import Augment
from .objective import parse_losses

FEWER = 5_000
"""Samples that are few."""
FEW: Mapping[str, Any] = {
    "loss": "distill+features",
    "optimizer": "adamw",
    "rate": 1.5e-4,
    "batch": 32,
    "augment": "flip-crop-mix",
}
MANY: Mapping[str, Any] = {
    "loss": "distill",
    "optimizer": "scaled",
    "rate": 1e-3,
    "batch": 128,
    "augment": "flip-crop",
}
STEPS, EPOCHS = 400, 3
"""How long, where neither is given, nor minutes: with few samples, with many."""
RATES: Mapping[str, float] = {"scaled": 1e-3, "muon": 1e-3, "adamw": 3e-4, "sgd": 1e-2}


@dataclass(frozen=True)
class FinetuneOptions(Pass):
    """See the help of each."""

    few: bool | None = option(
        None, "settings for few samples; where none is given: up to 5,000 samples, unless epochs are given"
    )
    epochs: int | None = option(None, "times that every sample is seen; 3 where nothing says how long", "[1, 1000000]")
    steps: int | None = option(None, "batches; 400 where nothing says how long and samples are few", "[1, 1000000000]")
    minutes: float | None = option(
        None,
        "train for so long at most, by as many steps as fit; the learning rate has fallen to 0 by then",
        "(0, 1e6]",
    )
    loss: str | None = option(
        None, "distill, features or ce (labels), or several; distill, of few samples distill+features"
    )
    teacher: str | None = option(
        None, "ONNX file of the original; the model that entered the pipeline where not given", is_file=True
    )
    temperature: float = option(
        4.0, "class scores of both networks are divided by this before they are compared", "(0, 1e6]"
    )
    ortho: float = option(
        0.0, "weight of the term that keeps basis filters orthogonal; the paper's is 1e-3", "[0, 1e6]"
    )
    engine: Literal["auto", "torch", "ort"] = option(
        "auto", "what computes gradients: PyTorch, or where it is not installed onnxruntime-training"
    )
    optimizer: Literal["scaled", "muon", "adamw", "sgd"] | None = option(
        None,
        "AdamW (scaled) or Muon in steps relative to each array's size, AdamW, or SGD with momentum; scaled, of few "
        "samples adamw",
    )
    rate: float | None = option(
        None,
        "peak of the learning rate; of scaled and muon 1e-3, adamw 3e-4, sgd 1e-2; of few samples and their optimizer "
        "1.5e-4",
        "(0, 1e6]",
    )
    momentum: float = option(0.9, "of sgd", "[0, 1)")
    decay: float = option(1e-4, "weight decay", "[0, 1]")
    clip: float = option(1.0, "gradients of a larger norm are scaled down to it; 0: none are", "[0, 1e6]")
    schedule: Literal["cosine", "step", "constant"] = option("cosine", "how the learning rate falls")
    warmup: float = option(0.05, "share of the run over which the rate rises", "(0, 1)")
    batch: int | None = option(None, "samples per step; 128, of few samples 32", "[1, inf)")
    augment: Literal["auto", "none", "flip", "crop", "flip-crop", "flip-crop-mix"] = option(
        "auto",
        "random flips and shifts of image inputs, and mixtures of two of them; flip-crop, of few samples flip-crop-mix",
    )
    threads: int | None = option(
        None, "threads of the engine; all cores where none is given, and never more", "[1, 1024]"
    )
    samples: int = option(50_000, "samples used at most", "[1, inf)")
    held_out: float = option(
        0.05, "share of the samples that is held out to judge the network on, at most 1,024", "(0, 1)"
    )
    patience: int = option(
        0, "end after so many epochs, of steps twentieths of the run, without a better network; 0: never", "[0, inf)"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        losses = parse_losses(self.loss or "distill")
        if "mix" in self.augment and "ce" in losses:
            raise ValueError(f"augment={self.augment}: a mixture has no label, and loss={self.loss} needs one")
        if self.steps is not None and self.epochs is not None:
            raise ValueError("steps and epochs both say how long: give one of them")

    def chosen(self, samples: int) -> FinetuneOptions:
        """With what is not given chosen for a number of samples."""
        few = self.few if self.few is not None else self.epochs is None and samples <= FEWER
        preset = dict(FEW if few else MANY)
        if self.optimizer is not None:
            preset["rate"] = RATES[self.optimizer]
        if "ce" in parse_losses(self.loss or "distill"):
            preset["augment"] = MANY["augment"]
        if self.steps is self.epochs is self.minutes is None:
            preset |= {"steps": STEPS} if few else {"epochs": EPOCHS}
        missing = {name: value for name, value in preset.items() if getattr(self, name) in (None, "auto")}
        return replace(self, few=few, **missing)

    def seen(self, samples: int) -> int:
        """Of options that are chosen: how many samples the steps hold, each as often as it is seen."""
        return (self.steps or 0) * (self.batch or 0) or (self.epochs or 0) * samples

    @property
    def augmentation(self) -> Augment:
        return "none" if self.augment == "auto" else self.augment

    @property
    def losses(self) -> Sequence[str]:
        return parse_losses(self.loss or "distill")
