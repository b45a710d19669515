from __future__ import annotations

import copy
from itertools import count
from pathlib import Path

import numpy as np
import pytest
from onnx_compress.runtime.training.checkpoint import TrainingState, store, stored
from onnx_compress.runtime.training.loop import Loop, TrainingSettings
from onnx_compress.runtime.training.optimizer import Optimizer
from training_stand_ins import Distance, Noise

START = {"w": np.ones((2, 3), np.float32), "b": np.zeros(3, np.float32)}
WANTED = {"w": np.full((2, 3), 2, np.float32), "b": np.ones(3, np.float32)}


def judge(values):
    return (-float(sum(np.abs(values[name] - WANTED[name]).sum() for name in values)),)


def loop(epochs=4, kind="adamw", rate=0.1, **more):
    chosen = {k: more.pop(k) for k in ("minutes", "patience", "schedule") if k in more}
    settings = TrainingSettings(epochs * Noise.steps, Noise.steps, rate=rate, **chosen)
    judged = more.pop("judge", judge)
    return Loop(Distance(WANTED), Optimizer(kind, clip=10.0), Noise(), judged, settings, **more)


@pytest.mark.parametrize(("kind", "rate"), [("sgd", 0.1), ("adamw", 0.1), ("scaled", 0.5)])
def test_training_comes_nearer_every_epoch(kind, rate):
    state = loop(kind=kind, rate=rate, epochs=6).run(START)
    assert [epoch.number for epoch in state.history] == [1, 2, 3, 4, 5, 6]
    assert state.history[-1].loss < state.history[0].loss / 4
    assert state.score == judge(state.best) > judge(START)
    assert state.step == 30


def test_what_went_in_stays_where_nothing_is_better():
    state = loop(judge=lambda values: (-float(np.abs(values["w"] - START["w"]).sum()),)).run(START)
    assert all(np.array_equal(state.best[name], START[name]) for name in START)
    assert state.score == (0.0,)


@pytest.mark.parametrize("kind", ["sgd", "adamw", "scaled", "muon"])
def test_masked_values_stay(kind):
    mask = np.array([[1, 0, 1], [0, 1, 0]], np.float32)
    state = loop(kind=kind, masks={"w": mask}).run(START)
    assert np.array_equal(state.parameters["w"] == START["w"], mask == 0)


def test_patience_ends_a_run_that_does_not_get_better():
    state = loop(epochs=50, judge=lambda values: (-float(np.abs(values["w"]).sum()),), patience=2).run(START)
    assert len(state.history) == 3


def test_time_is_a_limit():
    ticks = count()
    state = loop(epochs=10_000, minutes=1.0, clock=lambda: float(next(ticks))).run(START)
    assert 10 < state.step < 60 <= state.seconds < 65
    assert len(state.history) >= 1


@pytest.mark.parametrize("kind", ["sgd", "adamw", "scaled", "muon"])
def test_a_run_that_was_stopped_ends_as_one_that_was_not(tmp_path: Path, kind):
    path = tmp_path / "run.npz"
    whole = loop(kind=kind, epochs=4).run(START)

    class Killed(Exception):
        pass

    def keep(state: TrainingState) -> None:
        store(path, state)
        if len(state.history) == 2:
            raise Killed

    with pytest.raises(Killed):
        loop(kind=kind, epochs=4, keep=keep).run(START)
    found = stored(path)
    assert found is not None
    assert found.step == 10
    resumed = loop(kind=kind, epochs=4).run(START, found)
    for name in START:
        assert np.array_equal(resumed.parameters[name], whole.parameters[name])
        assert np.array_equal(resumed.best[name], whole.best[name])
    assert [epoch.loss for epoch in resumed.history] == [epoch.loss for epoch in whole.history]


def test_a_checkpoint_reads_back_whole(tmp_path: Path):
    state = loop(epochs=2).run(START)
    state.losses = [1.0, 2.0]
    store(tmp_path / "folder" / "run.npz", state)
    again = stored(tmp_path / "folder" / "run.npz")
    assert again is not None
    assert again.history == state.history
    assert (again.step, again.score, again.losses, again.seconds) == (10, state.score, [1.0, 2.0], state.seconds)
    assert all(np.array_equal(again.slots[name], state.slots[name]) for name in state.slots)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut short"])
def test_a_checkpoint_that_cannot_be_read_is_none(tmp_path: Path, content):
    path = tmp_path / "run.npz"
    path.write_bytes(content)
    assert stored(path) is None
    assert stored(tmp_path / "nothing.npz") is None


def test_parameters_that_go_in_are_not_changed():
    before = copy.deepcopy(START)
    loop().run(START)
    assert all(np.array_equal(START[name], before[name]) for name in START)
