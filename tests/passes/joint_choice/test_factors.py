"""What the report says of layers that were factorized."""

from __future__ import annotations

import pytest
from onnx_compress.compiler.pipeline.base import Decision
from onnx_compress.passes.joint_choice.factors import with_saving


def test_a_factorized_layer_says_which_share_of_the_time_went() -> None:
    found = with_saving(Decision("c", "rewritten", "", {"latency_before": 0.3, "latency_after": 0.1}), 2.0)
    assert found.figures["latency_saved"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    "decision",
    [Decision("c", "refitted", "", {"latency_before": 0.3, "latency_after": 0.3}), Decision("c", "rewritten", "")],
)
def test_what_saves_no_time_that_is_known_says_nothing(decision: Decision) -> None:
    assert with_saving(decision, 2.0) == decision
