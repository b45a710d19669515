"""Networks as frameworks exported them years ago: the onnx package has them, without weights."""

from __future__ import annotations

from math import prod
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import normal
from onnx import numpy_helper
from onnx_compress.compiler.graph.io import from_proto, to_proto
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.passes.cleanup import Cleanup
from pruning import check_equal, half, prune

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
REMOVED = {
    "densenet121": 5120,
    "inception_v1": 3512,
    "inception_v2": 4976,
    "resnet50": 5728,
    "shufflenet": 119,
    "squeezenet": 1472,
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
    model = from_proto(proto)
    Cleanup().run(model.graph, Context())
    result = prune(to_proto(model), half)
    assert result.removed == REMOVED[name]
    (image,) = model.graph.inputs
    check_equal(result, **{image.name: normal(1, 3, 224, 224)})
