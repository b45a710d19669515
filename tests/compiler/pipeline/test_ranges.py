"""Ranges of options: how they are read, and that every number of every option has one that is kept."""

from __future__ import annotations

import dataclasses
import re
from typing import Any

import pytest
from onnx_compress.compiler.errors import UsageError
from onnx_compress.compiler.pipeline.base import Pass
from onnx_compress.compiler.pipeline.options import RunOptions, flag_of
from onnx_compress.compiler.pipeline.ranges import FINITE, RANGE, parse_range
from onnx_compress.compiler.pipeline.registry import BUILTIN, find
from onnx_compress.compiler.pipeline.spec import option_types, parse_pipeline

Entry = tuple[type[Pass], dataclasses.Field[Any]]
NUMBERS: list[Entry] = [
    (cls, entry)
    for cls in map(find, BUILTIN)
    for entry in dataclasses.fields(cls)
    if {int, float} & set(option_types(cls)[entry.name])
]


@pytest.mark.parametrize(
    ("text", "inside", "outside", "words"),
    [
        ("(0, 1]", (1e-9, 1), (0, 1.1, -1), "more than 0, at most 1"),
        ("[1, inf)", (1, 1e300), (0, float("inf")), "at least 1"),
        (FINITE, (-1e300, 0), (float("inf"), float("-inf")), "a finite number"),
    ],
)
def test_intervals(text: str, inside: tuple[float, ...], outside: tuple[float, ...], words: str) -> None:
    found = parse_range(text)
    assert all(value in found for value in inside)
    assert not any(value in found for value in (*outside, float("nan")))
    assert str(found) == words


def test_what_is_no_interval() -> None:
    with pytest.raises(ValueError, match="no interval"):
        parse_range("0 to 1")


@pytest.mark.parametrize(("cls", "entry"), NUMBERS, ids=[f"{cls.name}-{entry.name}" for cls, entry in NUMBERS])
def test_every_number_of_every_pass_has_a_range_that_is_kept(cls: type[Pass], entry: dataclasses.Field[Any]) -> None:
    allowed = parse_range(entry.metadata[RANGE])
    assert allowed.low >= 0, "no option of a pass has a use for negative numbers: declare its range"
    assert entry.default is None or isinstance(entry.default, str) or entry.default in allowed
    whole = float not in option_types(cls)[entry.name]
    bad = [-1, allowed.low - 1, *([] if allowed.closed[0] else [allowed.low])]
    bad += [allowed.high + 1] if allowed.high < 1e300 else []
    bad += [] if whole else [float("nan"), float("inf"), float("-inf")]
    name = entry.name.replace("_", "-")
    for value in {repr(each): each for each in bad}.values():
        with pytest.raises(ValueError, match=re.escape(f"{name}={value}: expected")):
            cls(**{entry.name: value})
        typed = int(value) if whole else value
        with pytest.raises(UsageError, match=f"pass '{cls.name}': {name}="):
            parse_pipeline(f"{cls.name}:{name}={typed}")


WHOLE = [entry for entry in dataclasses.fields(RunOptions) if str(entry.type).removesuffix(" | None") == "int"]


@pytest.mark.parametrize("entry", WHOLE, ids=[entry.name for entry in WHOLE])
def test_every_number_of_a_run_has_a_range_that_is_kept(entry: dataclasses.Field[Any]) -> None:
    flag = flag_of(entry)
    assert flag.least is not None
    bad: list[Any] = [flag.least - 1, float("nan"), float("inf"), 1.5, True, "3"]
    for value in [*bad, *([] if flag.most is None else [flag.most + 1])]:
        with pytest.raises(UsageError, match=f"{flag.names[0]}: .*expected an integer from"):
            RunOptions(**{entry.name: value})
