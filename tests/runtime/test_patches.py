"""Sampled patches times the flattened weight are what the Conv computes."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.runtime.patches import conv_patches, output_rows, output_shape, sample_positions

GEOMETRIES = {
    "plain": ((3, 3), "pads=[1,1,1,1]", 1),
    "strided": ((3, 3), "pads=[1,1,1,1], strides=[2,1]", 1),
    "asymmetric pads": ((3, 2), "pads=[0,1,2,0]", 1),
    "dilated": ((3, 3), "pads=[2,0,2,0], dilations=[2,1]", 1),
    "same upper": ((3, 2), 'auto_pad="SAME_UPPER", strides=[2,2]', 1),
    "same lower": ((2, 4), 'auto_pad="SAME_LOWER", strides=[1,3]', 1),
    "valid": ((3, 3), 'auto_pad="VALID"', 1),
    "grouped": ((3, 3), "pads=[1,1,1,1], group=2", 2),
    "pointwise": ((1, 1), "strides=[1,1]", 1),
    "pointwise, strided": ((1, 1), "strides=[2,1], group=2", 2),
    "pointwise, padded": ((1, 1), "pads=[0,1,0,1]", 1),
    "1-D": ((3,), "pads=[1,1]", 1),
    "3-D": ((2, 3, 1), "pads=[1,1,0,0,1,0]", 1),
}


@pytest.mark.parametrize("case", GEOMETRIES)
def test_patches_times_weight_is_the_output(case: str) -> None:
    kernel, attrs, group = GEOMETRIES[case]
    size = ",".join(["9"] * len(kernel))
    graph = (
        f"g (float[N,4,{size}] x) => (float[N,6,{','.join('hwd'[: len(kernel)])}] y) {{ y = Conv<{attrs}>(x, w, b) }}"
    )
    weight, bias = builders.normal(6, 4 // group, *kernel), builders.normal(6, seed=1)
    model = builders.model(graph, w=weight, b=bias)
    (conv,) = find_convs(model.graph)
    x = builders.normal(2, 4, *[9] * len(kernel), seed=2)
    y = builders.run(model, x=x)["y"]
    assert output_shape(conv, x.shape[2:]) == y.shape[2:]
    positions = sample_positions(np.random.default_rng(0), 2, y.shape[2:], 10)
    rows = conv_patches(conv, x, positions)
    filters = conv.matrix().reshape(group, -1, conv.fan_in)
    computed = np.einsum("sgd,gnd->sgn", rows, filters) + bias.reshape(group, -1)
    np.testing.assert_allclose(computed, output_rows(y, positions, group), atol=1e-4)


def test_few_positions_are_all_taken_and_many_are_sampled_without_repeats() -> None:
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(sample_positions(rng, 2, (2, 2), 100), [[0, 1, 2, 3]] * 2)
    sampled = sample_positions(rng, 4, (8, 8), 40)
    assert sampled.shape == (4, 10)
    assert all(len(set(row)) == 10 for row in sampled.tolist())
    assert sample_positions(rng, 4, (8, 8), 1).shape == (4, 1)


def test_patches_of_all_positions_of_many_images_are_those_of_each() -> None:
    """NumPy 2.4 gives wrong indices for large arrays whose rows are one, with an axis of length 1 behind them."""
    text = "g (float[N,2,16,16] x) => (float[N,2,16,16] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"
    (conv,) = find_convs(builders.model(text, w=builders.normal(2, 2, 3, 3)).graph)
    x, every = builders.normal(48, 2, 16, 16), np.broadcast_to(np.arange(256), (48, 256))
    each = [conv_patches(conv, x[i : i + 1], every[:1]) for i in range(len(x))]
    np.testing.assert_array_equal(conv_patches(conv, x, every), np.concatenate(each))


@pytest.mark.parametrize(("count", "size"), [(1, 7), (3, 7), (5, 7), (6, 7), (7, 7)])
def test_every_position_is_as_likely_as_another(count: int, size: int) -> None:
    images = 7000
    positions = sample_positions(np.random.default_rng(0), images, (size,), images * count)
    assert positions.shape == (images, count)
    assert (np.diff(positions, axis=1) > 0).all()
    seen = np.bincount(positions.ravel(), minlength=size) / images
    np.testing.assert_allclose(seen, count / size, atol=0.03)


def test_positions_are_spread_over_the_map() -> None:
    positions = sample_positions(np.random.default_rng(0), 100, (100, 100), 100 * 10)
    assert np.diff(positions, axis=1).max() < 2 * 100 * 100 / 10
