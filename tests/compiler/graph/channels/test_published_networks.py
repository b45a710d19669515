"""Networks as frameworks of their time exported them (the onnx package has them without weights): half of each group."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import normal
from onnx import numpy_helper
from pruning import check_equal, half, prune

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
REMOVED = {
    "densenet121": 5120,
    "inception_v1": 3512,
    "inception_v2": 4976,
    "resnet50": 5728,
    "shufflenet": 119,
    "squeezenet": 1472,
    "zfnet512": 3328,
}


def with_weights(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The weights, which the file makes by ConstantOfShape, drawn at random."""
    stored = {tensor.name: numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
    made = [node for node in proto.graph.node if node.op_type == "ConstantOfShape"]
    for seed, node in enumerate(made):
        shape = tuple(stored[node.input[0]].tolist())
        values = normal(*shape, seed=seed) / np.float32(prod(shape[1:]) ** 0.5)
        values = np.abs(values) + np.float32(0.1) if len(shape) == 1 else values
        proto.graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
    left = [node for node in proto.graph.node if node.op_type != "ConstantOfShape"]
    del proto.graph.node[:]
    proto.graph.node.extend(left)
    return proto


@pytest.mark.slow
@pytest.mark.skipif(not LIGHT.is_dir(), reason="this onnx comes without them")
@pytest.mark.parametrize("name", REMOVED)
def test_half_of_every_group(name: str):
    proto = with_weights(onnx.load(LIGHT / f"light_{name}.onnx"))
    result = prune(proto, half)
    assert result.removed == REMOVED[name]
    source = next(info for info in proto.graph.input if not any(t.name == info.name for t in proto.graph.initializer))
    check_equal(result, **{source.name: normal(*(dim.dim_value for dim in source.type.tensor_type.shape.dim))})
