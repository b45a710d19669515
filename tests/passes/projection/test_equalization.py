"""Even channels between two layers."""

from __future__ import annotations

import numpy as np
from onnx_compress.passes.projection.equalization import (
    LIMIT,
    channel_gains,
    expected_sizes,
    scale_inputs,
    scale_outputs,
)

RNG = np.random.default_rng(0)


def test_ranges_become_equal():
    ranges = np.array([1.0, 4.0, 0.5])
    np.testing.assert_allclose(ranges * channel_gains(ranges), 4.0)
    np.testing.assert_allclose(channel_gains(ranges, 0.5), [2.0, 1.0, np.sqrt(8)])


def test_dead_and_tiny_channels_stay_finite():
    assert channel_gains(np.array([0.0, 1e-9, np.nan, 2.0])).tolist() == [1.0, LIMIT, 1.0, 1.0]
    assert channel_gains(np.zeros(3)).tolist() == [1.0, 1.0, 1.0]


def test_the_product_is_unchanged():
    v, u = RNG.standard_normal((5, 7)), RNG.standard_normal((3, 5))
    gains = channel_gains(expected_sizes(v, None))
    np.testing.assert_allclose(scale_inputs(u, gains) @ scale_outputs(v, gains), u @ v)
    x = RNG.standard_normal(7)
    after = scale_inputs(u, gains) @ np.maximum(scale_outputs(v, gains) @ x, 0)
    np.testing.assert_allclose(after, u @ np.maximum(v @ x, 0))


def test_groups_have_inputs_of_their_own():
    gains, x = np.array([2.0, 4.0, 0.5, 8.0]), RNG.standard_normal(4)
    for group in (1, 2, 4):
        u = RNG.standard_normal((8, 4 // group))
        by_group = np.einsum(
            "gnd,gd->gn", scale_inputs(u, gains).reshape(group, -1, 4 // group), (gains * x).reshape(group, -1)
        )
        np.testing.assert_allclose(
            by_group, np.einsum("gnd,gd->gn", u.reshape(group, -1, 4 // group), x.reshape(group, -1))
        )


def test_types_are_kept():
    assert scale_outputs(np.ones((2, 3), np.float32), np.ones(2)).dtype == np.float32
    assert scale_inputs(np.ones((2, 3, 1, 1), np.float32), np.ones(3)).dtype == np.float32
