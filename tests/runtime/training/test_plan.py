"""How many steps fit, by a clock that a test turns."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_compress.runtime.training.loop import Loop, TrainingSettings
from onnx_compress.runtime.training.optimizer import Optimizer
from onnx_compress.runtime.training.plan import SAFE, TIMED, plan_steps
from training_stand_ins import Distance, Noise

START = {"w": np.ones((2, 3), np.float32)}
WANTED = {"w": np.full((2, 3), 2, np.float32)}


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def runs(self, *seconds: float):
        """Work that takes so long; every call the next time, the last for good."""
        left = list(seconds)

        def work() -> None:
            self.now += left.pop(0) if len(left) > 1 else left[0]

        return work


@pytest.mark.parametrize("minutes", [1, 10])
def test_steps_and_judgements_fill_the_minutes(minutes: int) -> None:
    clock = Clock()
    plan = plan_steps(minutes, 3, clock.runs(2.0), clock.runs(5.0), clock)
    spent = (TIMED + 1) * 2.0 + 5.0
    assert plan.seconds == 2.0
    assert plan.steps == int((SAFE * 60 * minutes - spent - 4 * 5.0) / 2.0)
    assert spent + 4 * 5.0 + 2.0 * plan.steps <= 60 * minutes


def test_a_slow_first_step_and_a_hiccup_do_not_count() -> None:
    clock = Clock()
    assert plan_steps(10, 3, clock.runs(9, 1, 1, 7, 1), clock.runs(0), clock).seconds == 1.0


def test_there_is_a_step_in_any_case() -> None:
    clock = Clock()
    assert plan_steps(0.01, 3, clock.runs(30.0), clock.runs(30.0), clock).steps == 1


@pytest.mark.parametrize("slower", [1.0, 3.0])
def test_a_planned_run_ends_in_time_though_steps_get_slower(slower: float) -> None:
    clock = Clock()
    plan = plan_steps(2, 4, clock.runs(1.0), clock.runs(1.0), clock)
    begun, step, judging = clock.now, clock.runs(slower), clock.runs(1.0)

    class Slow(Distance):
        def gradients(self, parameters, feeds):
            step()
            return super().gradients(parameters, feeds)

    def judge(values):
        judging()
        return (0.0,)

    settings = TrainingSettings(plan.steps, -(-plan.steps // 4), minutes=2)
    rates: list[float] = []
    loop = Loop(Slow(WANTED), Optimizer("adamw"), Noise(), judge, settings, clock=clock)
    loop.on_step = lambda loss, rate: rates.append(rate)
    state = loop.run(START)
    assert clock.now - begun <= 120 + slower + 1
    assert state.planned == plan.steps and rates[-1] < 0.01 * max(rates)
    assert (state.step == plan.steps) == (slower == 1.0)
