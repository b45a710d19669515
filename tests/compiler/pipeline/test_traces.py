"""Thinned curves and gathered histograms: nothing is lost that is counted."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.pipeline import traces
from onnx_compress.compiler.pipeline.traces import BINS, POINTS, gathered, thinned, weight_spread


@given(st.integers(0, 2000))
def test_thinned_keeps_the_ends(count: int):
    kept = thinned(count)
    assert kept == sorted(set(kept)) and len(kept) == min(count, POINTS)
    assert kept[:1] == [0][:count] and kept[-1:] == ([count - 1] if count else [])


@given(st.lists(st.integers(0, 9), min_size=1, max_size=300), st.floats(1e-6, 10))
def test_gathered_counts_every_value(counts: list[int], width: float):
    fine = np.array([*counts, 1])
    coarse, top = gathered(fine, width, len(fine) * width)
    assert len(coarse) == BINS and sum(coarse) == fine.sum() and top >= len(fine) * width * (1 - 1e-9)


def test_a_peak_where_a_bin_begins_is_counted():
    fine = np.zeros(4096, np.int64)
    fine[BINS] = 5
    coarse, top = gathered(fine, 0.5, BINS * 0.5)
    assert sum(coarse) == 5 and top > BINS * 0.5


def test_nothing_seen_is_nothing_counted():
    assert sum(gathered(np.zeros(4096, np.int64), 2.0**-72, 0.0)[0]) == 0


def test_values_are_counted_in_blocks(monkeypatch: pytest.MonkeyPatch):
    values = np.random.default_rng(0).standard_normal((7, 11)).astype(np.float32)
    whole = weight_spread("conv", values, np.ones(7))
    monkeypatch.setattr(traces, "BLOCK", 5)
    assert weight_spread("conv", values, np.ones(7)) == whole
    assert whole.counts == tuple(np.histogram(np.abs(values), BINS, (0, whole.top))[0])


def test_a_weight_with_its_ranges():
    spread = weight_spread("conv", np.array([[-1.0, 0.5], [0.25, 0.0]]), np.array([1.0, 0.25]))
    assert (sum(spread.counts), spread.top, spread.low, spread.high) == (4, 1.0, 0.25, 1.0)
    assert weight_spread("zero", np.zeros((2, 2)), np.asarray(1.0)).counts[0] == 4
