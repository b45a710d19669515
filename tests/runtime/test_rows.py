"""Rows are read batch by batch, whatever the batches and maps are."""

from __future__ import annotations

import numpy as np
import pytest
from builders import model, normal
from onnx_compress.compiler.graph.convs import find_convs
from onnx_compress.compiler.graph.gemms import find_gemms
from onnx_compress.runtime.patches import conv_patches
from onnx_compress.runtime.rows import AHEAD, RowReader

NET = "g (float[N,2,H,W] x) => (float[N,3,H,W] y) { y = Conv<pads=[1,1,1,1]>(x, w) }"
(CONV,) = find_convs(model(NET, w=normal(3, 2, 3, 3)).graph)


def every_patch(x: np.ndarray) -> set[bytes]:
    positions = x.shape[2] * x.shape[3]
    patches = conv_patches(CONV, x, np.broadcast_to(np.arange(positions), (len(x), positions)))
    return {row.tobytes() for row in patches}


@pytest.mark.parametrize("batch", [1, 5, AHEAD - 1, AHEAD, AHEAD + 3])
def test_a_batch_of_any_size_gives_as_many_of_its_own_patches(batch: int):
    reader, rng = RowReader(CONV, 4), np.random.default_rng(0)
    for seed in range(4):
        x = normal(batch, 2, 6, 5, seed=seed)
        rows = reader.read(x, rng)
        assert rows.shape == (batch * 4, 1, 18)
        for image, own in zip(x, np.split(rows, batch), strict=True):
            assert {row.tobytes() for row in own} <= every_patch(image[None])
            assert len({row.tobytes() for row in own}) == 4


def test_maps_may_change_their_size():
    reader, rng = RowReader(CONV, 4), np.random.default_rng(0)
    for seed, size in enumerate([6, 9, 1, 6]):
        x = normal(2, 2, size, size, seed=seed)
        assert {row.tobytes() for row in reader.read(x, rng)} <= every_patch(x)


def test_samples_have_positions_of_their_own():
    reader, rng, x = RowReader(CONV, 4), np.random.default_rng(0), normal(1, 2, 9, 9)
    seen = [reader.read(x, rng).tobytes() for _ in range(2 * AHEAD)]
    assert len(set(seen)) == 2 * AHEAD


def test_of_a_fully_connected_layer_every_sample_is_a_row():
    (gemm,) = find_gemms(model("g (float[N,4] x) => (float[N,3] y) { y = Gemm(x, w) }", w=normal(4, 3)).graph)
    x = normal(7, 4)
    np.testing.assert_array_equal(RowReader(gemm, 2).read(x, np.random.default_rng(0))[:, 0], x)
