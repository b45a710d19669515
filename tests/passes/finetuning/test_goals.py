"""Where two networks are compared while one is trained."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from onnx_compress.passes.finetune import Finetune
from onnx_compress.passes.finetuning.goals import Goals
from onnx_compress.passes.finetuning.parameters import find_parameters

FEEDS = {"x": builders.normal(4, 3, 1, 1)}


def goals(end: str, change: float = 0.1, **options) -> Goals:
    body = f"a = Conv(x, w) r = Relu(a) f = Flatten(r) z = Gemm(f, v) {end}"
    text = f"g (float[N,3,1,1] x) => (float[N,5] y) {{ {body} }}"
    before, after = (
        builders.model(text, w=builders.normal(4, 3, 1, 1) + step, v=builders.normal(4, 5)).graph
        for step in (0, np.float32(change))
    )
    return Goals(after, before, Finetune(**options).chosen(100), FEEDS, False)


@pytest.mark.parametrize(
    ("end", "compared"),
    [
        ("y = Identity(z)", "y"),
        ("y = Softmax<axis=1>(z)", "z"),
        ("p = LogSoftmax<axis=1>(z) y = Identity(p)", "z"),
        ("y = Sigmoid(z)", "y"),
    ],
)
def test_scores_are_compared_and_not_their_probabilities(end: str, compared: str) -> None:
    found = goals(end)
    assert found.outputs == found.rated == [compared]
    objective = found.objective(FEEDS, find_parameters(found.graph))
    assert objective is not None and {"a", "z", compared} == set(objective.teacher)
    assert f"training/softened/{compared}" in objective.text


def test_without_a_change_there_is_nothing_to_compare() -> None:
    found = goals("y = Identity(z)", change=0)
    assert found.objective(FEEDS, find_parameters(found.graph)) is None


def test_many_samples_are_compared_at_the_outputs() -> None:
    found = goals("y = Identity(z)", few=False)
    objective = found.objective(FEEDS, find_parameters(found.graph))
    assert objective is not None and list(objective.teacher) == ["y"] and not found.border
