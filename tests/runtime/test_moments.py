"""Streamed moments are those of all rows at once."""

from __future__ import annotations

import numpy as np
from onnx_compress.runtime.moments import MomentSum


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
        np.testing.assert_allclose(moments.yy[g], y[:, g].T @ y[:, g] / 50, atol=1e-5)
    np.testing.assert_allclose(moments.signal, y.var(axis=0).sum(), rtol=1e-4)
