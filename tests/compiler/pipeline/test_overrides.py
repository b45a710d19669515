"""Options of single nodes: read, typed, refused where no pass takes them; patterns that match nothing."""

from __future__ import annotations

from typing import Any

import pytest
from onnx_compress.compiler.errors import UsageError
from onnx_compress.compiler.pipeline.context import Context, RunState
from onnx_compress.compiler.pipeline.overrides import check_matches, parse_override
from onnx_compress.compiler.pipeline.spec import parse_pipeline

PASSES = parse_pipeline("basis,quantize,legalize")


@pytest.mark.parametrize(
    ("text", "pattern", "name", "option", "value"),
    [
        ("layer4.*:basis.rank=64", "layer4.*", "basis", "rank", 64),
        ("a:b:basis.rank=0.5", "a:b", "basis", "rank", 0.5),
        ("^x$:quantize.method=minmax", "^x$", "quantize", "method", "minmax"),
        ("head:quantize.skip=true", "head", "quantize", "skip", True),
    ],
)
def test_reading(text: str, pattern: str, name: str, option: str, value: Any):
    found = parse_override(text, PASSES)
    assert (found.pattern, found.name, found.option, found.value) == (pattern, name, option, value)
    assert type(found.value) is type(value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("rank=64", "cannot read"),
        ("(:basis.rank=64", "not a regular expression"),
        ("x:prune.skip=true", r"no pass 'prune' in the pipeline \(it has basis, quantize, legalize\)"),
        ("x:basis.macs=0.5", r"basis takes no macs for single nodes \(it takes energy, rank, skip\)"),
        ("x:legalize.skip=true", "it works on the whole model"),
        ("x:basis.rank=many", "cannot be 'many'"),
        ("x:basis.rank=-1", "rank=-1"),
        ("x:quantize.percentile=200", "percentile=200"),
        ("x:basis.skip=yes", "skip is true or false"),
    ],
)
def test_refusals(text: str, words: str):
    with pytest.raises(UsageError, match=words):
        parse_override(text, PASSES)


def test_the_last_match_counts_for_the_running_pass_and_by_the_name_of_the_original():
    texts = ("conv:basis.rank=8", "conv2:basis.rank=4", "conv:quantize.skip=true")
    ctx = Context(
        overrides=tuple(parse_override(text, PASSES) for text in texts), state=RunState(origins={"conv2.new": "conv2"})
    )
    ctx.running = "basis"
    assert [ctx.settings(name) for name in ("conv1", "conv2", "conv2.new", "fc")] == [
        {"rank": 8},
        {"rank": 4},
        {"rank": 4},
        {},
    ]
    assert ctx.out_of_scope("conv1") is None
    ctx.running = "quantize"
    assert ctx.out_of_scope("conv1") == "left alone by --set for quantize" and ctx.out_of_scope("fc") is None


def test_a_pattern_that_matches_nothing_names_the_nearest():
    names = ["layer1.conv1", "layer1.conv2", "fc", ""]
    check_matches("--exclude", "conv2$", names)
    check_matches("--exclude", None, names)
    with pytest.raises(UsageError, match=r"'layer2.conv1' matches no node \(nearest: layer1.conv1, layer1.conv2"):
        check_matches("--exclude", "layer2.conv1", names)
