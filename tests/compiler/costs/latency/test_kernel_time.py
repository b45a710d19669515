"""Properties of the price of a kernel."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.costs.latency.devices import DEVICES
from onnx_compress.compiler.costs.latency.kernel_time import MatrixProduct, conv_ms, speed
from onnx_compress.compiler.costs.latency.precision import Precision
from onnx_compress.compiler.costs.workload import ConvWorkload
from onnx_compress.compiler.errors import UsageError
from onnx_compress.compiler.targets import TARGETS

MODES = {"xavier": ("MAXN", "30W", "15W", "10W"), "orin": ("MAXN", "50W", "30W", "15W")}
sides, channels, kernels = st.integers(1, 112), st.integers(1, 600), st.sampled_from([1, 9, 25])
precisions = st.sampled_from(["fp32", "fp16", "int8"])
devices = st.sampled_from(sorted(DEVICES))


def price(
    side: int,
    c: int,
    n: int,
    k: int,
    precision: Precision = "fp16",
    mode: str = "MAXN",
    group: int = 1,
    batch: int = 1,
    device: str = "xavier",
) -> float:
    workload = ConvWorkload(c, n, (k,), group, side * side, side * side, batch=batch)
    return conv_ms(device, mode, precision, workload)


@given(sides, channels, channels, kernels, st.integers(1, 64), precisions, devices)
def test_more_of_anything_is_never_faster(
    side: int, c: int, n: int, k: int, more: int, precision: Precision, device: str
):
    base = price(side, c, n, k, precision, device=device)
    assert price(side, c + more, n, k, precision, device=device) >= base
    assert price(side, c, n + more, k, precision, device=device) >= base
    assert price(side + more, c, n, k, precision, device=device) >= base
    assert price(side, c, n, k, precision, batch=1 + more, device=device) >= base


@given(sides, channels, channels, kernels, devices)
def test_int8_is_not_slower_where_its_channels_are_full(side: int, c: int, n: int, k: int, device: str):
    fp32, fp16, int8 = (price(side, 32 * c, n, k, use, device=device) for use in ("fp32", "fp16", "int8"))
    assert int8 <= fp16 <= fp32


@given(sides, channels, channels, kernels, precisions, devices)
def test_every_mode_is_slower_than_the_one_above(side: int, c: int, n: int, k: int, precision: Precision, device: str):
    times = [price(side, c, n, k, precision, mode, device=device) for mode in MODES[device]]
    assert all(fast < slow for fast, slow in pairwise(times))


@given(st.integers(1, 56), st.integers(1, 8), kernels, precisions)
def test_groups_are_not_slower_than_one_product(side: int, c: int, k: int, precision: Precision):
    assert price(side, 64 * c, 64 * c, k, precision, group=64 * c) <= price(side, 64 * c, 64 * c, k, precision)


def test_channels_are_padded():
    """33 channels cost in INT8 what 64 cost, but for the bytes."""
    compute = [speed("xavier", "MAXN").kernel_ms("int8", (MatrixProduct(3136, 64, c, 9),), 0) for c in (32, 33, 64)]
    assert compute[0] < compute[1] == compute[2]
    assert [MatrixProduct(1, 33, 33, 9).padded_flops(m) for m in (1, 8, 32)] == [2 * 9 * c * c for c in (33, 40, 64)]
    assert MatrixProduct(49, 32, 1, 9, group=32).padded_flops(8) == 2 * 49 * 32 * 9


def test_a_linear_layer_costs_its_weights():
    prices = speed("xavier", "MAXN")
    weights = 25088 * 4096 * 2
    assert prices.kernel_ms("fp16", (MatrixProduct(1, 4096, 25088),), weights) == pytest.approx(
        weights / (prices.constants.bandwidth * prices.mode.bandwidth) + prices.constants.overhead * 1e-3
    )


def test_a_small_conv_is_not_worth_splitting():
    whole = price(56, 64, 64, 9)
    assert price(56, 64, 16, 1) + price(56, 16, 16, 9) + price(56, 16, 64, 1) > whole
    assert price(56, 64, 32, 9) + price(56, 32, 64, 1) > whole


def test_a_large_conv_is():
    whole = price(28, 512, 512, 9)
    assert price(28, 512, 128, 1) + price(28, 128, 128, 9) + price(28, 128, 512, 1) < whole / 2


@pytest.mark.parametrize(
    ("name", "int8", "fp16", "fp32", "bandwidth"),
    [("xavier", 22.6, 11.3, 1.41, 136.5), ("orin", 85.2, 42.6, 21.3, 204.7)],
)
def test_peaks_are_those_of_the_data_sheet(name: str, int8: float, fp16: float, fp32: float, bandwidth: float):
    device = DEVICES[name]
    mode = device.mode("MAXN")
    assert device.peak(mode, "int8") / 1e9 == pytest.approx(int8, abs=0.05)
    assert device.peak(mode, "fp16") / 1e9 == pytest.approx(fp16, abs=0.05)
    assert device.peak(mode, "fp32") / 1e9 == pytest.approx(fp32, abs=0.05)
    assert mode.bandwidth / 1e6 == pytest.approx(bandwidth, abs=0.05)
    assert tuple(device.modes) == MODES[name]


def test_the_cuda_cores_of_the_orin_compute_fp32_as_its_data_sheet_says():
    device = DEVICES["orin"]
    assert device.cuda_share["fp32"] * device.peak(device.fastest, "fp32") / 1e9 == pytest.approx(5.3, abs=0.05)


def test_targets_pad_as_their_device_does():
    targets = [target for target in TARGETS.values() if target.device is not None]
    assert targets
    for target in targets:
        assert target.device is not None
        multiples = DEVICES[target.device].multiples
        assert (target.half_multiple, target.int8_multiple) == (multiples["fp16"], multiples["int8"])


def test_an_unknown_mode():
    with pytest.raises(UsageError, match=r"unknown power mode '20W'.*MAXN, 30W, 15W, 10W"):
        price(8, 8, 8, 1, mode="20W")
