"""Steps over more samples than a network takes at once."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_compress.runtime.training.parts import PartedTrainer, parted
from training_stand_ins import Distance

WANTED = {"w": np.float32([[1.0, 2.0]])}


def test_parts_are_the_rows_in_order() -> None:
    feeds = {"x": np.arange(12).reshape(6, 2), "t": np.arange(6)}
    found = list(parted(feeds, 3))
    assert [part["t"].tolist() for part in found] == [[0, 1], [2, 3], [4, 5]]
    assert np.array_equal(np.concatenate([part["x"] for part in found]), feeds["x"])
    assert next(parted(feeds, 1)) is feeds


def test_gradients_are_the_mean_of_those_of_the_parts() -> None:
    trainer, start = Distance(WANTED), {"w": np.zeros((1, 2), np.float32)}
    noise = np.float32([[0.1], [-0.3], [0.5]])
    loss, gradients = PartedTrainer(trainer, 3).gradients(start, {"noise": noise})
    alone = [trainer.gradients(start, {"noise": each[None]}) for each in noise]
    assert loss == pytest.approx(np.mean([each for each, _ in alone]))
    assert gradients["w"] == pytest.approx(np.mean([each["w"] for _, each in alone], axis=0))
