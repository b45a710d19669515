"""The benchmark of quality against time: which points it measures, that it goes on where it stopped, its table."""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def frontiers() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("frontiers")


def line(network: str, method: str, share: str | None, **figures: Any) -> dict[str, Any]:
    return {"network": network, "method": method, "share": share, **figures}


def test_quantize_comes_first_and_once(frontiers: ModuleType) -> None:
    found = frontiers.points(["a", "b"], ["quantize", "fast"], ["0.9", "0.5"])
    assert [tuple(point.values()) for point in found] == [
        (network, method, share)
        for network in "ab"
        for method, share in (("quantize", None), ("fast", "0.9"), ("fast", "0.5"))
    ]


def test_a_row_has_the_figure_with_int8_kernels_at_its_time(frontiers: ModuleType) -> None:
    lines = [
        line("a", "quantize", None, ms=0.5, top1=91.0, top1_fused=90.0),
        line("a", "fast", "0.9", ms=0.4375, map50=40.0),
        line("a", "depth", "0.9", failed="cannot be reached"),
    ]
    assert list(frontiers.rows(lines)) == [
        ["a", "1", "90.00 at 0.500", "", "", "", ""],
        ["a", "0.9", "", "", "", "", "40.00 at 0.438"],
    ]


def test_what_is_measured_is_not_measured_again(
    frontiers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    results = tmp_path / "lines.jsonl"
    arguments = ["--networks", "a", "--methods", "fast", "--shares", "0.5", "--folder", str(tmp_path / "files")]
    monkeypatch.setattr("sys.argv", ["frontiers.py", *arguments, "--results", str(results)])
    monkeypatch.setattr(frontiers, "measured", lambda point, *_: {**point, "ms": 1.0})
    results.write_text(json.dumps(line("a", "quantize", None)) + "\n", encoding="utf-8")
    frontiers.main()
    frontiers.main()
    assert [each["method"] for each in frontiers.read(results)] == ["quantize", "fast"]
    assert capsys.readouterr().out.count("fast") == 1
