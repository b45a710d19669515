"""The training loop, the same for every engine.

    for each epoch:  for each batch:  loss, gradient  ->  optimiser, at the rate that the schedule gives
                     judge the parameters on held-out data; the best so far are kept
    ends after the epochs, after the minutes, or when `patience` epochs brought nothing

The parameters that went in are judged first: what comes out is never worse than they, by the judge's score.
A checkpoint is kept after every epoch and every `KEEP` seconds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

import numpy as np

from ...compiler.pipeline.data import Feeds
from .checkpoint import Epoch, TrainingState
from .engine import Array, Trainer
from .optimizer import Optimizer
from .schedule import Schedule, rate_factor

KEEP = 60.0
Arrays = Mapping[str, np.ndarray]
Score = tuple[float, ...]
Judge = Callable[[Arrays], Score]
"""How good parameters are on held-out data, larger is better; the first number decides, the next break ties."""


class Batches(Protocol):
    """Training batches; the same epoch and step give the same batch."""

    @property
    def steps(self) -> int:
        """Per epoch."""
        ...

    def batch(self, epoch: int, step: int) -> Feeds: ...


@dataclass(frozen=True)
class TrainingSettings:
    """How long, and how fast.

    Attributes:
        epochs: at most so many.
        minutes: at most so long, all parts of an interrupted run together.
        rate: the peak of the learning rate.
        warmup: share of the run over which the rate rises.
        patience: epochs without a better score after which the run ends; 0: never.
    """

    epochs: int
    minutes: float | None = None
    rate: float = 1e-3
    schedule: Schedule = "cosine"
    warmup: float = 0.05
    patience: int = 0


def ignore_step(loss: float, rate: float) -> None:
    """Told of every step; does nothing."""


def ignore_state(state: TrainingState) -> None:
    """Told where the run stands; does nothing."""


@dataclass
class Loop:
    """One run; see the module docstring.

    Attributes:
        masks: by parameter, 0 where values stay as they are.
        on_step: the loss and the learning rate of each step.
        keep: stores a checkpoint.
    """

    trainer: Trainer
    optimizer: Optimizer
    batches: Batches
    judge: Judge
    settings: TrainingSettings
    masks: Arrays = field(default_factory=dict[str, np.ndarray])
    on_step: Callable[[float, float], None] = ignore_step
    keep: Callable[[TrainingState], None] = ignore_state

    def run(self, parameters: Arrays, state: TrainingState | None = None) -> TrainingState:
        """Train from `parameters`, or go on from `state`; the last state, whose `best` is the outcome."""
        state = state or TrainingState(parameters, parameters, self.judge(parameters))
        arrays = self.trainer.arrays(state.parameters)
        self.optimizer.slots = self.trainer.arrays(state.slots)
        self.optimizer.steps = state.step
        self.optimizer.masks = self.trainer.arrays(self.masks)
        begun = kept = monotonic()
        spent = state.seconds
        while not self._over(state):
            epoch, step = divmod(state.step, self.batches.steps)
            state.losses.append(self._step(arrays, epoch, step, state))
            state.step += 1
            state.seconds = spent + monotonic() - begun
            if step == self.batches.steps - 1 or self._late(state):
                self._judge(arrays, state)
            elif monotonic() - kept < KEEP:
                continue
            self._pack(arrays, state)
            self.keep(state)
            kept = monotonic()
        return state

    def _step(self, arrays: Mapping[str, Array], epoch: int, step: int, at: TrainingState) -> float:
        loss, gradients = self.trainer.gradients(arrays, self.batches.batch(epoch, step))
        settings = self.settings
        rate = settings.rate * rate_factor(settings.schedule, self._done(at), settings.warmup)
        self.optimizer.step(arrays, gradients, rate)
        self.on_step(loss, rate)
        return loss

    def _judge(self, arrays: Mapping[str, Array], state: TrainingState) -> None:
        values = self.trainer.numpy(arrays)
        score = self.judge(values)
        if score > state.score:
            state.best, state.score = values, score
        mean = float(np.mean(state.losses))
        state.history.append(Epoch(len(state.history) + 1, mean, score, state.seconds))
        state.losses = []

    def _pack(self, arrays: Mapping[str, Array], state: TrainingState) -> None:
        state.parameters = self.trainer.numpy(arrays)
        state.slots = self.trainer.numpy(self.optimizer.slots)

    def _done(self, state: TrainingState) -> float:
        """The share of the run that lies behind after the step under way."""
        steps = (state.step + 1) / (self.settings.epochs * self.batches.steps)
        return max(steps, state.seconds / self._limit())

    def _limit(self) -> float:
        return float("inf") if self.settings.minutes is None else 60 * self.settings.minutes

    def _late(self, state: TrainingState) -> bool:
        return state.seconds >= self._limit()

    def _over(self, state: TrainingState) -> bool:
        if state.step >= self.settings.epochs * self.batches.steps or self._late(state):
            return True
        scores = [epoch.score for epoch in state.history]
        patience = self.settings.patience
        return 0 < patience < len(scores) and max(scores[-patience:]) < max(scores[:-patience])
