"""The property that counts: a pruned network computes what the masked network computes, whatever the network.

`make soak` tries it on thousands of new networks, and prints how many of them lost channels in each construct.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import numpy as np
from constructs import EXPECTED
from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st
from networks import BATCH, network
from onnx_compress.compiler.graph.channels import Group
from pruning import Pruned, check_equal, prune

FEWEST = 300


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


@settings(max_examples=max(FEWEST, settings.default.max_examples), suppress_health_check=list(HealthCheck))
@given(st.randoms(use_true_random=False))
def test_pruned_equals_masked(random: Random):
    for name in prune_at_random(random).covered:
        event(name)


def test_the_networks_are_worth_pruning():
    """Every construct loses channels in some of them."""
    results = [prune_at_random(Random(seed)) for seed in range(120)]
    assert sum(result.removed > 0 for result in results) > 100
    assert sum(len(result.kept) > 3 for result in results) > 50
    counts = Counter(name for result in results for name in result.covered)
    assert [name for name in EXPECTED if counts[name] < 2] == []
