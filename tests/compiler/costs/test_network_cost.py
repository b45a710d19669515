"""MACs and parameters by hand, and on real networks."""

from __future__ import annotations

from pathlib import Path

import pytest
from builders import model, normal
from onnx_compress.compiler.costs.network_cost import Cost, graph_cost
from onnx_compress.compiler.costs.workload import conv_workload
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.io import load
from onnx_compress.compiler.graph.shapes import infer_shapes
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.passes.cleanup import Cleanup

SHARED = Path(__file__).parents[3] / "shared" / "models"


@pytest.mark.parametrize(
    ("layer", "shape", "macs"),
    [
        ("Conv", (4, 6, 3, 3), 36 * 4 * 54),
        ("Conv<group = 2, strides = [2, 2]>", (4, 3, 3, 3), 9 * 4 * 27),
        ("Conv<group = 6, pads = [1, 1, 1, 1]>", (6, 1, 3, 3), 64 * 6 * 9),
        ('Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>', (4, 6, 3, 3), 16 * 4 * 54),
    ],
)
def test_one_conv(layer: str, shape: tuple[int, ...], macs: int):
    source = model(
        f"g (float[N,6,8,8] x) => (float[N,F,H,W] y) {{ y = {layer}(x, w, b) }}", w=normal(*shape), b=normal(shape[0])
    )
    (conv,) = find_convs(source.graph)
    shapes = infer_shapes(source.graph)
    workload = conv_workload(conv, shapes)
    assert workload.macs == macs
    assert workload.params == conv.weight.size + shape[0]
    assert graph_cost(source.graph, shapes) == Cost(macs, workload.params)


@pytest.mark.skipif(not SHARED.is_dir(), reason="the shared networks are not here")
@pytest.mark.parametrize(("name", "macs"), [("resnet20", 40_550_400), ("resnet56_bn_op17", 125_485_056)])
def test_real_networks_before_and_after_cleanup(name: str, macs: int):
    source = load(SHARED / f"{name}.onnx")
    assert graph_cost(source.graph, infer_shapes(source.graph)).macs == macs
    Cleanup().run(source.graph, Context())
    assert graph_cost(source.graph, infer_shapes(source.graph)).macs == macs
    assert all(not node.inputs[1].inputs for node in source.graph.nodes if node.op == "Pad")
