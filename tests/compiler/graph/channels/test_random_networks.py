"""The property that counts: a pruned network computes what the masked network computes, whatever the network."""

from __future__ import annotations

from random import Random

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from networks import BATCH, network
from onnx_compress.compiler.graph.channels import Group
from pruning import Pruned, check_equal, prune

PATIENT = {"suppress_health_check": list(HealthCheck), "derandomize": True, "database": None}


def prune_at_random(random: Random) -> Pruned:
    def choose(group: Group) -> np.ndarray:
        share = random.choice((0.0, 0.3, 0.6, 0.9))
        return np.array([unit for unit in range(group.size) if random.random() < share], int)

    proto = network(random)
    result = prune(proto, choose)
    shape = [dim.dim_value for dim in proto.graph.input[0].type.tensor_type.shape.dim][1:]
    values = np.random.default_rng(0).standard_normal((BATCH, *shape)).astype(np.float32)
    check_equal(result, x=values)
    return result


@settings(max_examples=300, **PATIENT)
@given(st.randoms(use_true_random=False))
def test_pruned_equals_masked(random: Random):
    prune_at_random(random)


def test_the_networks_are_worth_pruning():
    results = [prune_at_random(Random(seed)) for seed in range(30)]
    assert sum(result.removed > 0 for result in results) > 20
    assert sum(len(result.kept) > 3 for result in results) > 10


@pytest.mark.slow
@settings(max_examples=6000, **PATIENT)
@given(st.randoms(use_true_random=False))
def test_pruned_equals_masked_at_length(random: Random):
    prune_at_random(random)
