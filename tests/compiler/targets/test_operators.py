"""Which operators a TensorRT version imports."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from onnx_compress.compiler.targets import TARGETS, find_target
from onnx_compress.compiler.targets.operators import next_version_with, plugins, supported, table

SHARED = Path(__file__).resolve().parents[4] / "shared" / "data"
MATRICES = {8: ("trt85_ops.csv", "xavier"), 10: ("trt10_ops.csv", "trt10")}
TYPES = {"FP32", "FP16", "BF16", "FP8", "FP4", "INT4", "INT8", "UINT8", "INT32", "INT64", "BOOL"}


@pytest.mark.parametrize(
    ("op", "since"),
    [
        ("Conv", "xavier-8.0"),
        ("Einsum", "xavier-8.2"),
        ("HardSwish", "xavier"),
        ("OneHot", "xavier"),
        ("Gelu", "orin-10.3"),
        ("TopK", "xavier-8.0"),
    ],
)
def test_an_operator_is_there_from_its_version_on(op: str, since: str):
    order = ["xavier-8.0", "xavier-8.2", "xavier", "orin-10.3", "trt10"]
    there = [name for name in order if op in supported(find_target(name))]
    assert there == order[order.index(since) :]


def test_the_device_is_all_one():
    assert supported(find_target("orin")) == supported(find_target("xavier"))


def test_an_operator_that_never_came():
    assert all("Compress" not in supported(target) for target in TARGETS.values())
    assert next_version_with("Compress", (8, 5)) is None


def test_the_next_version_with_an_operator():
    assert next_version_with("Shrink", (8, 2)) == (8, 4)
    assert next_version_with("LayerNormalization", (8, 5)) == (10, 0)
    assert next_version_with("Swish", (10, 16)) == (11, 1)


def test_other_engines_have_no_table():
    assert supported(find_target("ort")) == {}


@pytest.mark.parametrize("line", [8, 10])
def test_types_are_known_ones(line: int):
    assert all(entry.types and entry.types <= TYPES for entry in table(line).values())
    assert all(entry.since[0] in (line, line + 1) for entry in table(line).values())


def test_plugins_are_no_operators():
    assert not plugins() & set(table(8)) and "EfficientNMS_TRT" in plugins()


@pytest.mark.parametrize("line", [8, 10])
def test_the_table_agrees_with_the_matrix(line: int):
    name, target = MATRICES[line]
    if not (SHARED / name).is_file():
        pytest.skip("no operator matrix")
    with (SHARED / name).open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["supported"] != "no"]
    assert supported(find_target(target)) == {row["op"]: frozenset(row["types"].split(";")) for row in rows}
