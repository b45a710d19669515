"""Which ONNX operators the parser of a TensorRT version imports, and for which types of data.

The tables `operators_8.csv` and `operators_10.csv` hold one line per operator: the first version of that line that
imports it (8.0 and 10.0 stand for "from the start") and the types of its data. `plugins.csv` names the plugins.
Restrictions that go beyond this are rules of `compiler.lint`.

Sources: onnx-tensorrt docs/operators.md and docs/Changelog.md at 8.0-GA to 8.5-GA and 10.0-GA to 10.16-GA; the list of
plugins in NVIDIA/TensorRT plugin/README.md.
"""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from . import Target

Version = tuple[int, int]
NEXT_LINE: Version = (9, 0)


@dataclass(frozen=True)
class Operator:
    """A line of a table: since which version, and for which types (FP32, FP16, BF16, INT32, INT64, INT8, BOOL, ...)."""

    since: Version
    types: frozenset[str]


@cache
def table(line: int) -> Mapping[str, Operator]:
    """The operators of a line of TensorRT (8 or 10), whatever the version in it."""
    return {row["op"]: _operator(row) for row in _rows(f"operators_{line}.csv")}


@cache
def plugins() -> frozenset[str]:
    """Operators of no ONNX standard that ship with TensorRT 8 as plugins."""
    return frozenset(row["op"] for row in _rows("plugins.csv"))


def line_of(version: Version) -> int:
    """The table that a version belongs to."""
    return 8 if version < NEXT_LINE else 10


def supported(target: Target) -> Mapping[str, frozenset[str]]:
    """Operator -> types of its data, of everything that the target's parser imports.

    Empty for an engine other than TensorRT, of which no table is kept.
    """
    version = target.tensorrt
    if version is None:
        return {}
    return {op: entry.types for op, entry in table(line_of(version)).items() if entry.since <= version}


def next_version_with(op: str, version: Version) -> Version | None:
    """The first version after `version` that imports `op`, None where no table has it."""
    lines = (table(line) for line in (8, 10) if line >= line_of(version))
    return min((line[op].since for line in lines if op in line and line[op].since > version), default=None)


def _rows(name: str) -> list[dict[str, str]]:
    text = files(__name__.rpartition(".")[0]).joinpath(name).read_text(encoding="utf-8")
    return list(csv.DictReader(text.splitlines()))


def _operator(row: Mapping[str, str]) -> Operator:
    major, minor = row["since"].split(".")
    return Operator((int(major), int(minor)), frozenset(row["types"].split()))
