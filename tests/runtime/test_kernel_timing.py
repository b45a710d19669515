"""Kernel times: every node of a network once, whatever onnxruntime made of it."""

from __future__ import annotations

import builders
import pytest
from onnx_compress.compiler.errors import CompressError
from onnx_compress.runtime.kernel_timing import PROBE, empty_node, fastest_quarter, kernel_times

NETWORK = """g (float[N,8,16,16] x) => (float[N,16,16,16] y) {
    a = Conv<pads=[1,1,1,1]>(x, w)
    y = Relu(a)
}"""


def test_every_kernel_is_timed() -> None:
    model = builders.proto(NETWORK, w=builders.normal(16, 8, 3, 3))
    kernels = kernel_times(model, {"x": builders.normal(2, 8, 16, 16)}, seconds=0.0)
    assert [kernel.is_conv for kernel in kernels].count(True) == 1
    assert all(kernel.ms > 0 and not kernel.name.startswith(PROBE) for kernel in kernels)


def test_the_model_is_left_as_it_is() -> None:
    model = builders.proto(NETWORK, w=builders.normal(16, 8, 3, 3))
    before = model.SerializeToString(deterministic=True)
    kernel_times(model, {"x": builders.normal(1, 8, 16, 16)}, seconds=0.0)
    assert model.SerializeToString(deterministic=True) == before


def test_more_work_takes_longer() -> None:
    def conv(side: int) -> float:
        model = builders.proto(NETWORK.replace("16,16]", f"{side},{side}]"), w=builders.normal(16, 8, 3, 3))
        return sum(kernel.ms for kernel in kernel_times(model, {"x": builders.normal(1, 8, side, side)}, seconds=0.02))

    assert conv(128) > 2 * conv(16)


def test_what_cannot_be_run_is_one_line() -> None:
    model = builders.proto(NETWORK, w=builders.normal(16, 8, 3, 3))
    with pytest.raises(CompressError, match="clock=measured: onnxruntime cannot run the model"):
        kernel_times(model, {"x": builders.normal(1, 3, 16, 16)})


def test_the_lowest_quarter_counts() -> None:
    assert fastest_quarter([9.0, 1.0, 100.0, 3.0, 9.0, 9.0, 9.0, 9.0]) == 2.0
    assert fastest_quarter([5.0, 7.0]) == 5.0


def test_an_empty_node_takes_far_less_than_a_conv() -> None:
    model = builders.proto(NETWORK.replace("16,16]", "64,64]"), w=builders.normal(16, 8, 3, 3))
    kernels = kernel_times(model, {"x": builders.normal(1, 8, 64, 64)})
    assert 0 < empty_node() < max(kernel.ms for kernel in kernels) / 5
