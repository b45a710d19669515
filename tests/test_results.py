"""What pages say of measurements is what the lines of benchmarks/results say."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
VERSIONS = re.compile(r" with onnx-compress .*")
README = (BENCHMARKS / "results" / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def load() -> Iterator[Any]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield importlib.import_module


def lines(name: str) -> list[dict[str, Any]]:
    text = (BENCHMARKS / "results" / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("name", ["peers", "peers_real"])
def test_the_tables_of_peers_are_the_stored_lines(load: Any, name: str):
    table = load("peers_table")
    assert load("tables").table(*table.rows(lines(name))) in README


def test_the_table_of_methods_is_the_stored_lines(load: Any):
    assert "\n".join(load("methods").table(lines("methods"))) in README


def test_the_page_of_models_of_others_is_the_stored_lines(load: Any):
    coverage = load("coverage")
    written = coverage.page(list(coverage.read(BENCHMARKS / "results" / "coverage.jsonl")))
    kept = (BENCHMARKS.parent / "docs" / "coverage.md").read_text(encoding="utf-8")
    assert VERSIONS.sub("", written) == VERSIONS.sub("", kept)


def test_every_file_of_lines_is_explained():
    names = [path.name for path in (BENCHMARKS / "results").glob("*.jsonl")]
    assert not [name for name in names if f"| `{name}` |" not in README]


def test_the_networks_of_the_recipes_are_those_of_their_benchmark(load: Any):
    titles = load("recipes").TITLES.values()
    assert {line["network"] for line in lines("recipes")} <= {*titles}
