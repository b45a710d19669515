"""Streamed moments are those of all rows at once."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_compress.runtime.moments import BLOCK, BLOCK_BYTES, InputSum, MomentSum, blocks, own_moments


def test_batches_add_up_per_group() -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((50, 2, 4)).astype(np.float32), rng.standard_normal((50, 2, 3)).astype(np.float32)
    total = MomentSum(2, 4, 3)
    for part in (slice(0, 7), slice(7, 30), slice(30, 50)):
        total.add(x[part], y[part])
    moments = total.result()
    assert moments.count == 50
    for g in range(2):
        ones = np.hstack([x[:, g], np.ones((50, 1), np.float32)])
        np.testing.assert_allclose(moments.xx[g], ones.T @ ones / 50, atol=1e-5)
        np.testing.assert_allclose(moments.yx[g], y[:, g].T @ ones / 50, atol=1e-5)
        np.testing.assert_allclose(moments.power[g], np.square(y[:, g]).sum(axis=1).mean(), rtol=1e-5)
    np.testing.assert_allclose(moments.signal, y.var(axis=0).sum(), rtol=1e-4)


def test_what_a_layer_computes_follows_from_its_inputs() -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((50, 2, 4)).astype(np.float32)
    weight, bias = rng.standard_normal((2, 3, 4)).astype(np.float32), rng.standard_normal((2, 3)).astype(np.float32)
    inputs, both = InputSum(2, 4), MomentSum(2, 4, 3)
    inputs.add(x)
    both.add(x, np.einsum("sgd,gnd->sgn", x, weight) + bias)
    found, expected = own_moments(inputs.result(), weight, bias), both.result()
    np.testing.assert_allclose(found.yx, expected.yx, atol=1e-5)
    np.testing.assert_allclose(found.power, expected.power, rtol=1e-5)
    assert found.count == expected.count


@pytest.mark.parametrize("sizes", [[], [3], [4000, 4000, 4000], [9000, 1, 9000, 2]])
def test_few_rows_are_joined(sizes: list[int]) -> None:
    batches = [(np.full((size, 1, 2), index), np.full(size, index)) for index, size in enumerate(sizes)]
    found = list(blocks(batches))
    assert all(len(x) >= BLOCK for x, _ in found[:-1])
    assert sum(len(x) for x, _ in found) == sum(sizes)
    for part in range(2 * bool(sizes)):
        joined = np.concatenate([block[part] for block in found])
        np.testing.assert_array_equal(joined, np.concatenate([batch[part] for batch in batches]))


def test_wide_rows_are_joined_to_so_many_bytes() -> None:
    wide = np.broadcast_to(np.float32(0), (100, 1, 2**14))
    found = [len(x) for (x,) in blocks((wide,) for _ in range(16))]
    assert sum(found) == 1600
    assert found[:-1] == [-(-BLOCK_BYTES // wide.nbytes) * 100] * (len(found) - 1) and len(found) > 1
