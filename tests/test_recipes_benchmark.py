"""The benchmark of recipes: what its lines say, and that pages can be made of them."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture(scope="module")
def recipes() -> Iterator[ModuleType]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module("recipes")


def report(**times: float) -> dict[str, Any]:
    decisions = [{"reason": "stays in float: it would lose more than noise"}, {"reason": ""}]
    return {
        "before": {"latency": {"ms": 1.00004}},
        "after": {"latency": {"ms": 0.75}},
        "times": [{"step": step.replace("_", " "), "ms": ms} for step, ms in times.items()],
        "passes": [{"decisions": decisions}],
    }


def test_the_line_of_a_network_has_its_times_and_its_metric(recipes: ModuleType) -> None:
    line = recipes.original("yolox", report(in_FP16=1.0, in_INT8=0.8), {"map50": 49.594, "images": 128})
    assert line["network"] == "YOLOX-nano" and line["recipe"] == "" and line["key"] == "yolox"
    assert (line["ms_fp16"], line["ms_int8"], line["metric"], line["figure"]) == (1.0, 0.8, "mAP50", 49.59)
    assert recipes.original("yolox", report(in_FP16=1.0), {"map50": 1, "images": 1})["ms_int8"] == 0.75


def test_the_line_of_a_recipe_counts_what_stays_in_float(recipes: ModuleType) -> None:
    line = recipes.rewritten("resnet56", "small", report(), {"top1": 93.0, "images": 10})
    assert (line["ms"], line["figure"], line["note"]) == (0.75, 93.0, "1 in float")
