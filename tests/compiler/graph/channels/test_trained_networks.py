"""Trained networks: every group is found, and half of each can go."""

from __future__ import annotations

from pathlib import Path

import onnx
import pytest
from builders import normal
from onnx_compress.compiler.graph.channels import Group
from onnx_compress.compiler.graph.io import load, to_proto
from onnx_compress.compiler.pipeline.context import Context
from onnx_compress.passes.cleanup import Cleanup
from pruning import Pruned, check_equal, half, prune

ROOT = Path(__file__).resolve().parents[4]
SHARED = ROOT.parent / "shared" / "models"


def cleaned(path: Path) -> onnx.ModelProto:
    model = load(path)
    Cleanup().run(model.graph, Context())
    return to_proto(model)


def halve(path: Path) -> Pruned:
    result = prune(cleaned(path), half)
    check_equal(result, input=normal(2, 3, 32, 32))
    return result


def free(groups: tuple[Group, ...]) -> list[tuple[str, int, int, int]]:
    """Size, and how many layers make and read the units, of every group that can be pruned."""
    return [(g.name, g.size, len(g.producers), len(g.consumers)) for g in groups if g.frozen is None]


def test_the_shipped_network_has_three_streams_and_nine_blocks():
    result = halve(ROOT / "models" / "resnet20_cifar10.onnx")
    streams = [group for group in free(result.groups) if group[2] > 1]
    assert [stream[1:] for stream in streams] == [(16, 4, 5), (32, 4, 4), (64, 4, 3)]
    assert len(free(result.groups)) == 12
    assert [group.frozen for group in result.groups if group.frozen] == ["'logits' is an output of the model"]


@pytest.mark.skipif(not SHARED.is_dir(), reason="the third-party networks are not here")
@pytest.mark.parametrize("name", ["resnet20", "resnet32", "resnet56", "resnet20_bn_op17", "resnet56_bn_op17"])
def test_padded_shortcuts_make_one_stream(name: str):
    """Option A: 16 of the 32 channels of the second stage are those of the first, and so on: 64 units in all."""
    result = halve(SHARED / f"{name}.onnx")
    depth = int("".join(c for c in name.split("_")[0] if c.isdigit()))
    blocks = (depth - 2) // 2
    stream, *inner = free(result.groups)
    assert stream[1:3] == (64, blocks + 1)
    assert len(inner) == blocks
    assert [group.frozen for group in result.groups if group.frozen] == ["'output' is an output of the model"]
