"""Memory that stays with the process between two uses."""

import resource

import numpy as np
import pytest
from onnx_compress.runtime.allocation import reused_memory

SIZE = 2**26


def faults() -> int:
    """Pages that one more block of 64 MiB brings in."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.full(SIZE, 1, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def test_the_pages_of_a_freed_block_come_again():
    new = faults()
    if new < 16:
        pytest.skip("the system does not count faults")
    with reused_memory():
        faults()
        assert faults() < new / 8
    assert faults() > new / 2


def test_it_ends_where_the_run_fails():
    new = faults()
    if new < 16:
        pytest.skip("the system does not count faults")
    with pytest.raises(ValueError, match="stop"), reused_memory():
        raise ValueError("stop")
    assert faults() > new / 2
