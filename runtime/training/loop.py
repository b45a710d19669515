"""The training loop, the same for every engine.

    for each round:  for each batch:  loss, gradient  ->  optimiser, at the rate that the schedule gives
                     judge the parameters on held-out data; the best so far are kept
    ends after the steps, after the minutes, or when `patience` rounds brought nothing

The parameters that went in are judged first: what comes out is never worse than they, by the judge's score.
A checkpoint is kept after every round and every `KEEP` seconds. Where many samples are trained on, a round is an epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from time import monotonic
from typing import Protocol

import numpy as np

from ...compiler.pipeline.data import Feeds
from .checkpoint import Round, TrainingState
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
        steps: at most so many.
        round: steps after which the parameters are judged.
        minutes: at most so long, all parts of an interrupted run together.
        rate: the peak of the learning rate.
        warmup: share of the run over which the rate rises.
        patience: rounds without a better score after which the run ends; 0: never.
    """

    steps: int
    round: int
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
        clock: seconds.
    """

    trainer: Trainer
    optimizer: Optimizer
    batches: Batches
    judge: Judge
    settings: TrainingSettings
    masks: Arrays = field(default_factory=dict[str, np.ndarray])
    on_step: Callable[[float, float], None] = ignore_step
    keep: Callable[[TrainingState], None] = ignore_state
    clock: Callable[[], float] = monotonic

    def run(self, parameters: Arrays, state: TrainingState | None = None) -> TrainingState:
        """Train from `parameters`, or go on from `state`; the last state, whose `best` is the outcome."""
        state = state or TrainingState(parameters, parameters, self.judge(parameters))
        arrays = self.trainer.arrays(state.parameters)
        self.optimizer.slots = self.trainer.arrays(state.slots)
        self.optimizer.steps = state.step
        self.optimizer.masks = self.trainer.arrays(self.masks)
        begun = kept = self.clock()
        spent, state.planned = state.seconds, self.settings.steps
        while not self._over(state):
            epoch, step = divmod(state.step, self.batches.steps)
            state.losses.append(self._step(arrays, epoch, step, state))
            state.step += 1
            state.seconds = spent + self.clock() - begun
            if state.step % self.settings.round == 0 or self._ended(state):
                self._judge(arrays, state)
            elif self.clock() - kept < KEEP:
                continue
            self._pack(arrays, state)
            self.keep(state)
            kept = self.clock()
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
        state.history.append(Round(len(state.history) + 1, mean, score, state.seconds))
        state.losses = []

    def _pack(self, arrays: Mapping[str, Array], state: TrainingState) -> None:
        state.parameters = self.trainer.numpy(arrays)
        state.slots = self.trainer.numpy(self.optimizer.slots)

    def _done(self, state: TrainingState) -> float:
        """The share of the run that lies behind after the step under way."""
        return max((state.step + 1) / self.settings.steps, state.seconds / self._limit())

    def _limit(self) -> float:
        return float("inf") if self.settings.minutes is None else 60 * self.settings.minutes

    def _ended(self, state: TrainingState) -> bool:
        return state.step >= self.settings.steps or state.seconds >= self._limit()

    def _over(self, state: TrainingState) -> bool:
        if self._ended(state):
            return True
        scores = [each.score for each in state.history]
        patience = self.settings.patience
        return 0 < patience < len(scores) and max(scores[-patience:]) < max(scores[:-patience])
