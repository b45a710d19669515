"""Layer times: the exported file, and the nodes behind the names of fused layers."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.errors import CompressError
from onnx_compress.runtime.tensorrt.layers import LayerTime, nodes_of, read_origins, read_profile, times_by_node

NODES = ["conv1", "relu1", "/block.0/conv2/Conv", "add", "conv3", "conv_7", "fc"]


@pytest.mark.parametrize(
    ("layer", "nodes"),
    [
        ("conv1", ["conv1"]),
        ("conv1 + relu1", ["conv1", "relu1"]),
        ("conv1.weight + q_18 + conv1 + add + relu1", ["conv1", "add", "relu1"]),
        ("conv1 || conv3", ["conv1", "conv3"]),
        ("PWN(PWN(sigmoid, relu1), add)", ["relu1", "add"]),
        ("PWN(relu1)", ["relu1"]),
        ("/block.0/conv2/Conv + PWN(relu1)", ["/block.0/conv2/Conv", "relu1"]),
        ("{ForeignNode[relu1...conv3]}", ["relu1", "/block.0/conv2/Conv", "add", "conv3"]),
        ("{ForeignNode[conv1.../block.0/conv2/Conv_30]}", ["conv1", "relu1", "/block.0/conv2/Conv"]),
        ("{ForeignNode[conv1.bias...fc]}", ["fc"]),
        ("Reformatting CopyNode for Input Tensor 0 to conv1 + relu1", ["conv1", "relu1"]),
        ("Reformatting CopyNode for Output Tensor 1 to fc", ["fc"]),
        ("conv1 + add output reformatter 0", ["conv1", "add"]),
        ("conv_7", ["conv_7"]),
        ("conv3_12", ["conv3"]),
        ("conv1_clone_1", ["conv1"]),
        ("__myl_Conv_myl0_3", []),
        ("conv11 + myconv1", []),
        ("", []),
    ],
)
def test_nodes_of(layer: str, nodes: list[str]):
    assert sorted(nodes_of(layer, NODES)) == sorted(nodes)


def test_listed_nodes_come_first():
    assert nodes_of("__myl_Conv", NODES, ["conv3", "elsewhere"]) == ["conv3"]


def layer(name: str, median: float) -> LayerTime:
    return LayerTime(name, median, median, 0.0)


def test_times_go_to_the_wanted_nodes():
    profile = [layer("conv1 + relu1", 3.0), layer("conv1 || conv3", 2.0), layer("conv1 copy", 0.5), layer("pool", 9.0)]
    assert times_by_node(profile, ["conv1", "conv3"]) == {"conv1": 4.5, "conv3": 1.0}
    assert times_by_node([layer("__myl_3", 2.0)], NODES, {"__myl_3": ("fc", "conv1")}) == {"conv1": 1.0, "fc": 1.0}


@given(st.lists(st.tuples(st.lists(st.sampled_from(NODES), min_size=1, unique=True), st.floats(0, 9)), max_size=6))
def test_no_time_is_lost_or_counted_twice(entries: list[tuple[list[str], float]]):
    times = times_by_node([layer(" + ".join(names), ms) for names, ms in entries], NODES)
    assert sum(times.values()) == pytest.approx(sum(ms for _, ms in entries))


def test_read_profile(tmp_path: Path):
    entries = [
        {"count": 200},
        {"name": "conv1", "timeMs": 20, "averageMs": 0.1, "medianMs": 0.09, "percentage": 75},
        {"name": "fc", "timeMs": 8, "averageMs": 0.04, "percentage": 25},
    ]
    path = tmp_path / "p.json"
    path.write_text(json.dumps(entries))
    assert read_profile(path) == [LayerTime("conv1", 0.1, 0.09, 75.0), LayerTime("fc", 0.04, 0.04, 25.0)]


@pytest.mark.parametrize("text", ["", "{", "3", '[{"name": "x"}]', '[{"name": "x", "averageMs": "long"}]'])
def test_what_is_no_profile(tmp_path: Path, text: str):
    (tmp_path / "p.json").write_text(text)
    with pytest.raises(CompressError, match="--exportProfile"):
        read_profile(tmp_path / "p.json")


def test_read_origins(tmp_path: Path):
    listed = "[ONNX Layer: conv1]\x1e[ONNX Layer: /b/relu]"
    layers = ["just a name", {"Name": "a", "Metadata": listed}, {"Name": "b", "Metadata": ""}, {"Name": "c"}]
    for content in ({"Layers": layers, "Bindings": []}, layers):
        (tmp_path / "l.json").write_text(json.dumps(content))
        assert read_origins(tmp_path / "l.json") == {"a": ("conv1", "/b/relu")}
