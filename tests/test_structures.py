"""A few of the networks of `benchmarks/structures.py`, a few pipelines each; the benchmark has all of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
NETWORKS = (
    *("tied-head", "tied-autoencoder", "osnet-gates", "shufflenet-v2", "fpn-pan", "se-gemm", "norm-layer-last"),
    *("half", "if-outer-weights", "two-ifs-in-a-loop", "weights-are-inputs-ir3", "nms", "filters-near-dead"),
)
ASKED = ("quantize@ort", "basis:bytes=0.7@xavier", "codebook@trt10")


@pytest.fixture(scope="module")
def structures() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("structures")


@pytest.mark.parametrize("name", NETWORKS)
def test_nothing_is_wrong_with_what_comes_out(structures: ModuleType, name: str, tmp_path: Path):
    path, examiner = tmp_path / "net.onnx", structures.Examiner()
    structures.structure_networks.save(name, path)
    cases = [case for case in structures.cases() if f"{case.pipeline}@{case.target}" in ASKED]
    assert len(cases) == len(ASKED)
    for case in cases:
        kind, said = examiner(str(path), case)
        assert kind in ("rewritten", "unchanged", "refused"), f"{case.pipeline}: {said}"
