"""In what order layers leave INT8: what is free first, then by divergence for time, neighbours together."""

from __future__ import annotations

from collections.abc import Collection
from itertools import pairwise

import numpy as np
import pytest
from builders import model, normal
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.pipeline.progress import silent
from onnx_compress.passes.quantization.leaving_order import LeavingOrder, UnitTimes, leaving_order, neighbours
from onnx_compress.passes.quantization.time_saved import TimeSaved

SIZES = st.integers(1, 6)


def times(alone: dict[str, float], *saved: tuple[str, str, float]) -> UnitTimes:
    """Of units that are called by a letter, measured on a network whose times are these."""

    def together(names: Collection[str]) -> float:
        return sum(alone[name] for name in names) - sum(gain for one, other, gain in saved if {one, other} <= {*names})

    number = {name: index for index, name in enumerate(alone)}
    pairs = [(number[one], number[other]) for one, other, _ in saved]
    return UnitTimes.of([[name] for name in alone], pairs, TimeSaved(alone, together), silent)


def letters(order: LeavingOrder) -> list[str]:
    return ["".join("abcdef"[unit] for unit in group.units) for group in order.groups]


def test_the_most_divergence_for_the_time_leaves_first():
    order = leaving_order([1.0, 4.0, 3.0], times({"a": 1.0, "b": 2.0, "c": 1.0}))
    assert letters(order) == ["c", "b", "a"]
    assert order.left.tolist() == [8, 5, 1, 0]
    assert order.times.tolist() == [0, 1, 3, 4]
    assert order.free == 0


def test_what_costs_no_time_leaves_before_all_others():
    order = leaving_order([1.0, 100.0, 2.0], times({"a": -1.0, "b": 1.0, "c": 0.0}))
    assert letters(order) == ["c", "a", "b"]
    assert order.free == 2


def test_a_neighbour_that_costs_nothing_beside_one_leaves_with_it():
    order = leaving_order([3.0, 1.0, 2.0], times({"a": 1.0, "b": 1.0, "c": 1.0}, ("a", "b", 1.0)))
    assert letters(order) == ["ab", "c"]
    assert order.times.tolist() == [0, 1, 2]


def test_a_chain_is_followed_as_far_as_it_costs_nothing():
    chain = [("a", "b", 1.0), ("b", "c", 1.0), ("c", "d", 0.5)]
    order = leaving_order([1.0, 1.0, 1.0, 1.0], times(dict.fromkeys("abcd", 1.0), *chain))
    assert letters(order)[0] == "abc"


def test_a_pair_that_is_faster_together_is_free():
    order = leaving_order([1.0, 1.0, 9.0], times({"a": 1.0, "b": 1.0, "c": 1.0}, ("a", "b", 2.0)))
    assert (letters(order), order.free) == (["ab", "c"], 1)


@given(st.lists(st.tuples(SIZES, SIZES), min_size=1, max_size=6), st.data())
def test_every_unit_leaves_once_and_the_times_are_those_of_the_sets(units: list[tuple[int, int]], drawn: st.DataObject):
    alone = {letter: float(time - 2) for letter, (_, time) in zip("abcdef", units, strict=False)}
    names = list(alone)
    saved = [(one, other, float(drawn.draw(st.integers(0, 2)))) for one, other in pairwise(names)]
    found = times(alone, *saved)
    order = leaving_order([float(cost) for cost, _ in units], found)
    assert sorted(order.units(len(order.groups))) == list(range(len(units)))
    assert order.left[-1] == 0
    assert (np.diff(order.left) <= 0).all()
    for count in range(len(order.groups) + 1):
        gone = {names[unit] for unit in order.units(count)}
        expected = sum(alone[name] for name in gone) - sum(gain for *pair, gain in saved if {*pair} <= gone)
        assert order.times[count] == pytest.approx(expected)


def test_without_an_estimate_of_the_network_pairs_do_not_count():
    found = UnitTimes.of([["a", "b"], ["c"]], [(0, 1)], TimeSaved({"a": 0.25, "b": 0.5, "c": 0.125}), silent)
    assert found.alone == [0.75, 0.125]
    assert found.shared == [{}, {}]


def test_neighbours_read_one_tensor_or_one_what_the_other_writes():
    text = """
    g (float[N,4,8,8] x) => (float[N,4,8,8] y) {
      a = Conv(x, u) r = Relu(a)
      b = Conv(r, v) c = Conv(r, w)
      s = Add(b, c) y = Conv(s, z)
    }
    """
    u, v, w, z = (normal(4, 4, 1, 1, seed=seed) for seed in range(4))
    graph = model(text, u=u, v=v, w=w, z=z).graph
    convs = [node.name for node in graph.nodes if node.op == "Conv"]
    assert neighbours(graph, [[name] for name in convs]) == [(0, 1), (0, 2), (1, 2), (1, 3), (2, 3)]
    assert neighbours(graph, [convs[:3], convs[3:]]) == [(0, 1)]
