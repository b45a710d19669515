"""How long a run is: as the options say, or as many steps as fit into their minutes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import count

import numpy as np

from ...runtime.training.engine import Trainer
from ...runtime.training.loop import Batches, TrainingSettings
from ...runtime.training.optimizer import Optimizer
from ...runtime.training.plan import Plan, plan_steps
from .options import FinetuneOptions

ROUNDS = 20
"""How often a run is judged that does not count epochs."""
Arrays = Mapping[str, np.ndarray]


def given_steps(options: FinetuneOptions, epoch: int) -> int | None:
    """None where nothing but minutes are given. `epoch`: steps of one."""
    if options.steps is not None:
        return options.steps
    return None if options.epochs is None else options.epochs * epoch


def timed_steps(
    options: FinetuneOptions, trainer: Trainer, batches: Batches, start: Arrays, judge: Callable[[Arrays], object]
) -> Plan:
    """As many as fit into the minutes; what the timed ones change is thrown away."""
    arrays, optimizer, taken = trainer.arrays(start), Optimizer(options.optimizer or "scaled"), count()

    def step() -> None:
        _, gradients = trainer.gradients(arrays, batches.batch(0, next(taken) % batches.steps))
        optimizer.step(arrays, gradients, 0.0)

    return plan_steps(options.minutes or 0.0, ROUNDS, step, lambda: judge(start))


def training_settings(options: FinetuneOptions, steps: int, epoch: int) -> TrainingSettings:
    """Of a run of so many steps; it is judged after every epoch, or `ROUNDS` times."""
    each = epoch if options.epochs is not None else -(-steps // ROUNDS)
    rate, schedule = options.rate or 0.0, options.schedule
    return TrainingSettings(steps, each, options.minutes, rate, schedule, options.warmup, options.patience)
