"""The options of `finetune`, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from ...compiler.pipeline.base import Pass, option
from ...runtime.training.loop import TrainingSettings
from .objective import parse_losses

RATES: Mapping[str, float] = {"scaled": 1e-3, "muon": 1e-3, "adamw": 3e-4, "sgd": 1e-2}


@dataclass(frozen=True)
class FinetuneOptions(Pass):
    """See the help of each."""

    epochs: int = option(3, "times that every sample is seen, at most", "[1, 1000000]")
    minutes: float | None = option(
        None, "train for so long at most; the learning rate has fallen to 0 by then", "(0, 1e6]"
    )
    loss: str = option("distill", "distill, features or ce (labels), or several: distill+features")
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
    optimizer: Literal["scaled", "muon", "adamw", "sgd"] = option(
        "scaled", "AdamW or Muon in steps relative to each array's size, AdamW, or SGD with momentum"
    )
    rate: float | None = option(
        None, "peak of the learning rate; scaled and muon 1e-3, adamw 3e-4, sgd 1e-2 if none is given", "(0, 1e6]"
    )
    momentum: float = option(0.9, "of sgd", "[0, 1)")
    decay: float = option(1e-4, "weight decay", "[0, 1]")
    clip: float = option(1.0, "gradients of a larger norm are scaled down to it; 0: none are", "[0, 1e6]")
    schedule: Literal["cosine", "step", "constant"] = option("cosine", "how the learning rate falls")
    warmup: float = option(0.05, "share of the run over which the rate rises", "(0, 1)")
    batch: int = option(128, "samples per step", "[1, inf)")
    augment: Literal["none", "flip", "crop", "flip-crop", "flip-crop-mix"] = option(
        "flip-crop", "random flips and shifts of image inputs, and mixtures of two of them"
    )
    threads: int | None = option(
        None, "threads of the engine; all cores where none is given, and never more", "[1, 1024]"
    )
    samples: int = option(50_000, "samples used at most", "[1, inf)")
    held_out: float = option(0.05, "share of the samples that is held out to judge epochs on, at most 1,024", "(0, 1)")
    patience: int = option(0, "end after so many epochs without a better network; 0: never", "[0, inf)")

    def __post_init__(self) -> None:
        super().__post_init__()
        parse_losses(self.loss)
        if "mix" in self.augment and "ce" in parse_losses(self.loss):
            raise ValueError(f"augment={self.augment}: a mixture has no label, and loss={self.loss} needs one")

    @property
    def losses(self) -> Sequence[str]:
        return parse_losses(self.loss)

    @property
    def settings(self) -> TrainingSettings:
        """Of the training loop."""
        rate = self.rate or RATES[self.optimizer]
        return TrainingSettings(self.epochs, self.minutes, rate, self.schedule, self.warmup, self.patience)
