"""Amounts of memory, and what of them is left for samples."""

from __future__ import annotations

import gc
import platform
import subprocess
import sys
from pathlib import Path

import builders
import numpy as np
import pytest
from onnx_compress.api import compress
from onnx_compress.compiler.errors import UsageError
from onnx_compress.runtime.memory import OBJECTS, memory_budget, parse_bytes, peak, rare_collections, trim

GRAPH = "g (float[N,3,16,16] x) => (float[N,4,16,16] y) { a = Conv<pads=[1,1,1,1]>(x, w) y = Relu(a) }"
SHAPES = {"x": (1, 3, 16, 16), "a": (1, 4, 16, 16), "y": (1, 4, 16, 16)}


@pytest.mark.parametrize(
    ("text", "count"), [("2GB", 2 * 10**9), ("1.5 g", 15 * 10**8), ("512MiB", 2**29), ("4096", 4096), ("1kb", 1000)]
)
def test_amounts(text: str, count: int) -> None:
    assert parse_bytes(text) == count


@pytest.mark.parametrize("text", ["", "2 TB of it", "GB", "0", "-1GB", "1e9"])
def test_what_is_no_amount(text: str) -> None:
    with pytest.raises(UsageError, match="no amount of memory"):
        parse_bytes(text)


@pytest.fixture
def small_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("onnx_compress.runtime.memory.peak", lambda: 10**6)


@pytest.mark.usefixtures("small_process")
def test_the_more_memory_the_more_samples() -> None:
    graph = builders.model(GRAPH, w=builders.normal(4, 3, 3, 3)).graph
    small, large = (memory_budget(graph, SHAPES, 10**6 + extra) for extra in (2**20, 2**24))
    assert 1 <= small.batch < large.batch
    assert small.activations < large.activations < 2**24 / 2
    with pytest.raises(UsageError, match=r"too little .*at least \d"):
        memory_budget(graph, SHAPES, 10**6)


def test_the_peak_is_one_of_bytes() -> None:
    assert 2**24 < peak() < 2**40


@pytest.mark.usefixtures("small_process")
def test_a_run_that_is_bounded_gives_nearly_the_same_model() -> None:
    """Rows are sampled by batch, so that the fits are those of other rows."""
    model = builders.proto(GRAPH, w=builders.normal(4, 3, 3, 3))
    x = builders.normal(40, 3, 16, 16)
    free, bounded = (
        compress(model, "basis:rank=3:form=channel", data=x, target="ort", memory=memory)
        for memory in (None, 10**6 + 2**20)
    )
    one, two = (builders.run(result.model, x=x)["y"] for result in (free, bounded))
    assert np.linalg.norm(one - two) < 0.02 * np.linalg.norm(one)


def held() -> int:
    """Bytes of this process that no file stands behind."""
    line = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("RssAnon"))
    return 1024 * int(line.split()[1])


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_free_memory_is_given_back() -> None:
    blocks = [np.ones(2**13) for _ in range(2**11)]  # 128 MB in blocks that the C library keeps
    last, full = np.ones(2**13), held()
    del blocks
    trim()
    assert held() < full - 2**26
    assert last.all()


KEPT = """
import resource
import numpy as np
from onnx_compress.runtime.memory import kept_memory

def faults():
    begun = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    np.ones(2**23)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - begun

def held():
    (line,) = [line for line in open("/proc/self/status") if line.startswith("RssAnon")]
    return 1024 * int(line.split()[1])

before = held()
with kept_memory():
    first, *others = [faults() for _ in range(3)]
print(min(others), held() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another C library")
def test_large_arrays_are_kept_for_the_next_ones() -> None:
    """In a process of its own: what others have left in the heap says where the C library takes memory from."""
    done = subprocess.run([sys.executable, "-c", KEPT], capture_output=True, text=True, check=True)
    faults, left = map(int, done.stdout.split())
    assert faults < 100, "pages that the system had to bring for 64 MB that are written again"
    assert left < 2**25


@pytest.mark.parametrize(("outside", "inside"), [(700, OBJECTS), (2 * OBJECTS, 2 * OBJECTS), (0, 0)])
def test_cycles_are_looked_for_less_often_and_never_where_that_is_switched_off(outside: int, inside: int):
    before = gc.get_threshold()
    try:
        gc.set_threshold(outside, 10, 10)
        with rare_collections():
            assert gc.get_threshold() == (inside, 10, 10)
        assert gc.get_threshold() == (outside, 10, 10)
    finally:
        gc.set_threshold(*before)
