"""What error curves are drawn from, and what is held out from them."""

from __future__ import annotations

import builders
import numpy as np
import pytest
from onnx_compress.passes.fitting.samples import curve_samples, held_out


def images(count: int) -> builders.Images:
    return builders.Images(builders.normal(count, 3, 12, 12, seed=9))


def test_layers_with_many_positions_need_fewer_samples() -> None:
    data = images(1024)
    assert [curve_samples(data, positions).samples for positions in (1, 64, 128, 14 * 14, 10**6)] == [
        256,
        256,
        128,
        84,
        64,
    ]


@pytest.mark.parametrize("count", [2, 100, 400, 1024])
def test_what_is_held_out_no_curve_has_seen(count: int) -> None:
    data = images(count)
    held_data = held_out(data, 192)
    assert held_data is not None
    seen = np.concatenate([b["x"] for b in curve_samples(data).batches(64)])
    held = np.concatenate([b["x"] for b in held_data.batches(64)])
    assert 0 < len(held) <= 192
    assert not {row.tobytes() for row in seen} & {row.tobytes() for row in held}
