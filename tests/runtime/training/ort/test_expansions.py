"""Every operator that the ort engine takes, against differences of the model as it was written.

All cases of one opset are one program, its loss the sum of theirs: one process of the library computes them.
"""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from gradient_cases import CASES, Arrays, Case
from onnx import compose, helper
from onnx_compress.runtime.session import Session
from onnx_compress.runtime.training.engine import Program
from ort_environment import ort_engine

STEP = 0.01
DIRECTIONS = 3
KEYS = {name: f"case{index}_" for index, name in enumerate(CASES)}


@pytest.fixture(scope="module")
def gradients() -> Arrays:
    engine = ort_engine()
    found: Arrays = {}
    for opset in {case.opset for case in CASES.values()}:
        chosen = {KEYS[name]: case for name, case in CASES.items() if case.opset == opset}
        values = {key + name: value for key, case in chosen.items() for name, value in case.inputs.items()}
        with engine.open(Program(_joined(chosen, opset), values)) as trainer:
            found |= trainer.gradients(values, {})[1]
    return found


def _joined(cases: dict[str, Case], opset: int) -> onnx.ModelProto:
    graph = onnx.GraphProto(name="all")
    for key, case in cases.items():
        part = compose.add_prefix(case.model(), key).graph
        graph.node.extend(part.node)
        graph.input.extend(part.input)
        graph.initializer.extend(part.initializer)
    graph.node.append(helper.make_node("Sum", [f"{key}loss" for key in cases], ["loss"]))
    graph.output.append(helper.make_tensor_value_info("loss", onnx.TensorProto.FLOAT, []))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


@pytest.mark.parametrize("name", CASES)
def test_gradient(name: str, gradients: Arrays):
    case = CASES[name]
    session = Session(case.model(), threads=1)

    def loss(moved: Arrays) -> float:
        fed = {name: np.asarray(value) for name, value in {**case.inputs, **moved}.items()}
        return float(session.run(fed)["loss"])

    for parameter, value in case.inputs.items():
        for seed in range(DIRECTIONS):
            direction = np.random.default_rng(seed).choice((-STEP, STEP), value.shape).astype(np.float32)
            risen = (loss({parameter: value + direction}) - loss({parameter: value - direction})) / 2
            expected = float((gradients[KEYS[name] + parameter] * direction).sum())
            size = STEP * float(np.abs(gradients[KEYS[name] + parameter]).sum())
            assert risen == pytest.approx(expected, abs=0.01 * size + 1e-5)
