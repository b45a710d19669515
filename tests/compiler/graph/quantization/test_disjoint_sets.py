"""Sets that are joined by pairs."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.graph.quantization.disjoint_sets import DisjointSets

KEYS = st.integers(0, 9)


def test_the_leader_of_the_first_stands_for_both():
    sets = DisjointSets[str]()
    assert sets.find("a") == "a"
    sets.join("a", "b")
    sets.join("c", "b")
    assert {sets.find(key) for key in "abc"} == {"c"}
    assert sets.find("d") == "d"


@given(st.lists(st.tuples(KEYS, KEYS)))
def test_two_keys_are_together_where_pairs_lead_from_one_to_the_other(pairs: list[tuple[int, int]]):
    sets, groups = DisjointSets[int](), [{key} for key in range(10)]
    for one, other in pairs:
        sets.join(one, other)
        met = groups[one] | groups[other]
        for key in met:
            groups[key] = met
    for key, group in enumerate(groups):
        assert {other for other in range(10) if sets.find(other) == sets.find(key)} == group
