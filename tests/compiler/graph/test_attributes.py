"""Attributes that no engine can work with, beside those that some can; onnxruntime judges, too."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from builders import model, node, normal, run
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.validate import validate
from onnx_compress.runtime.loading import check_loads

BOTH = {
    "strides=[0,0]": "strides=[0, 0], where 1 is the least",
    "strides=[-1,1]": "where 1 is the least",
    "strides=[2]": "where 2 spatial axes need 2 numbers",
    "dilations=[0,1]": "where 1 is the least",
    "dilations=[1,1,1]": "where 2 spatial axes need 2 numbers",
    "pads=[-1,-1,-1,-1]": "where 0 is the least",
    "pads=[1]": "where 2 spatial axes need 4 numbers",
    'auto_pad="SAME"': "none of NOTSET, SAME_UPPER",
    "kernel_shape=[5,5]": "where the weight has [3, 3]",
    "kernel_shape=[3]": "where 2 spatial axes need 2 numbers",
    "group=0": "where 1 is the least",
    "group=3": "groups do not fit",
}
TRANSPOSED = {
    "output_padding=[1,1]": "where strides=[1, 1] allow smaller ones only",
    "output_padding=[-1,0], strides=[2,2]": "where 0 is the least",
    "output_shape=[20]": "where 2 spatial axes need 2 numbers",
    "output_shape=[0,20]": "where 1 is the least",
}
POOLED = {
    "kernel_shape=[3]": "where 2 spatial axes need 2 numbers",
    "kernel_shape=[3,0]": "where 1 is the least",
    "kernel_shape=[3,3], strides=[0,1]": "where 1 is the least",
    "kernel_shape=[3,3], pads=[3,3,3,3]": "takes smaller ones only",
    "kernel_shape=[3,3], pads=[1,1]": "where 2 spatial axes need 4 numbers",
    'kernel_shape=[3,3], auto_pad="same_upper"': "none of NOTSET",
}
CASES = [
    *(("Conv", attributes, reason) for attributes, reason in BOTH.items()),
    *(("ConvTranspose", attributes, reason) for attributes, reason in {**BOTH, **TRANSPOSED}.items()),
    *((op, attributes, reason) for op in ("MaxPool", "AveragePool", "LpPool") for attributes, reason in POOLED.items()),
]
FINE = [
    ("Conv", "strides=[2,1], dilations=[1,2], pads=[0,1,2,3], kernel_shape=[3,3], group=1"),
    ("Conv", 'auto_pad="SAME_LOWER"'),
    ("Conv", 'auto_pad="VALID", pads=[0,0,0,0]'),
    ("Conv", 'auto_pad="SAME_UPPER", pads=[1,1,1,1]'),
    ("ConvTranspose", "strides=[2,2], output_padding=[1,0]"),
    ("ConvTranspose", "group=2"),
    ("MaxPool", "kernel_shape=[3,2], pads=[2,1,2,1], ceil_mode=1, dilations=[2,2]"),
]


def network(op: str, attributes: str, opset: int = 17):
    reads = "x, w" if "Conv" in op else "x"
    stored = {"w": normal(4, 4, 3, 3)} if "Conv" in op else {}
    text = f"g (float[N,4,8,8] x) => (float[N,A,B,C] y) {{ [one] y = {op}<{attributes}>({reads}) }}"
    return model(text, opset=opset, **stored)


@pytest.mark.parametrize(("op", "attributes", "reason"), CASES)
def test_what_no_engine_can_work_with_is_refused_at_the_node(op: str, attributes: str, reason: str):
    with pytest.raises(CompressError) as caught:
        validate(network(op, attributes))
    assert reason in caught.value.what
    assert caught.value.where == "node 'one'"


@pytest.mark.parametrize(("op", "attributes"), FINE)
def test_what_engines_work_with_passes(op: str, attributes: str):
    net = network(op, attributes)
    validate(net)
    check_loads(net)


def test_pads_that_auto_pad_overrides_go():
    net, plain = (network("Conv", f'auto_pad="SAME_UPPER"{more}') for more in (", pads=[1,2,1,2]", ""))
    assert "pads" not in node(net.graph, "Conv").attrs
    x = normal(1, 4, 8, 8)
    np.testing.assert_array_equal(run(net, x=x)["y"], run(plain, x=x)["y"])


def test_an_empty_auto_pad_leaves_the_pads():
    net, plain = (network("Conv", f"{more}pads=[1,2,1,2]") for more in ('auto_pad="", ', ""))
    assert node(net.graph, "Conv").attrs == node(plain.graph, "Conv").attrs


@pytest.mark.parametrize("version", [0, onnx.defs.onnx_opset_version() + 1, 999])
def test_an_opset_that_there_is_not(version: int):
    with pytest.raises(CompressError, match=f"opset {version} is not known: 1 to "):
        validate(network("Conv", "group=1", opset=version))


def test_an_ir_version_that_there_is_not():
    net = network("Conv", "group=1")
    net.graph.ir_version = 99
    with pytest.raises(CompressError, match="IR version 99 is not known: 1 to "):
        validate(net)
