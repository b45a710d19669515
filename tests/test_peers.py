"""The benchmark beside the peers: what it says of files, on networks and lines that are small."""

from __future__ import annotations

import fcntl
import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from builders import normal, proto

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
SHARED = Path(__file__).resolve().parents[2] / "shared"
REAL = SHARED / "tools" / "real.py"
needs_real = pytest.mark.skipif(not REAL.exists(), reason="the real networks are not here")
LINE = {"network": "n", "tool": "t", "setting": "s", "seconds": 1, "cpu_seconds": 2, "peak_mb": 3, "bytes": 1000}


@pytest.fixture(scope="module")
def benchmarks() -> Iterator[pytest.MonkeyPatch]:
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(BENCHMARKS))
        yield patch


@pytest.fixture(scope="module")
def tools(benchmarks: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("peer_tools")


@pytest.fixture(scope="module")
def networks(benchmarks: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("peer_networks")


@pytest.fixture(scope="module")
def peers(benchmarks: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("peers")


@pytest.fixture(scope="module")
def peers_table(benchmarks: pytest.MonkeyPatch) -> ModuleType:
    return importlib.import_module("peers_table")


@pytest.fixture
def network(tmp_path: Path) -> Path:
    path = tmp_path / "net.onnx"
    text = "net (float[1,3,4,4] x) => (float[1,8,4,4] y) { y = Conv(x, w) }"
    onnx.save(proto(text, opset=11, w=normal(8, 3, 1, 1)), path)
    return path


def test_the_table_leaves_out_what_all_lines_say_alike(peers_table: ModuleType):
    lines = [{**LINE, "map50": 12.345}, {**LINE, "tool": "u", "miou": 1}, {**LINE, "failed": "a | b"}]
    head, rows = peers_table.rows(lines)
    assert head == ["network", "tool", "setting", "figure"]
    assert rows == [["n", "t", "`s`", "12.35"], ["n", "u", "`s`", "1.00"], ["n", "t", "`s`", "failed: a / b"]]


def test_a_table_of_one_line_has_all_that_is_known(peers_table: ModuleType):
    head, (row,) = peers_table.rows([{**LINE, "xavier_refuses": []}])
    assert head[3:] == ["bytes", "s", "CPU s", "peak MB"]
    assert row[3:] == ["1,000", "1", "2", "3"]


def test_every_peer_has_its_say_on_real_networks_or_none(tools: ModuleType, networks: ModuleType):
    assert networks.kind_of(SHARED, "resnet50") is networks.RANDOM
    settings = {name: networks.REAL.settings(peer) for name, peer in tools.PEERS.items()}
    assert settings["original"] == ("",)
    assert all(not entry.endswith(tools.WITHOUT_DATA) for entries in settings.values() for entry in entries)


def test_pairs_per_channel_want_a_later_opset(tools: ModuleType, network: Path, tmp_path: Path):
    recent = tools.raise_opset(network, tmp_path / "recent.onnx")
    assert onnx.load(recent).opset_import[0].version == tools.PER_CHANNEL_OPSET
    assert tools.raise_opset(recent, tmp_path / "again.onnx") == recent


def test_a_tool_answers_from_its_own_process(peers: ModuleType, network: Path, tmp_path: Path):
    images, small = tmp_path / "images.npy", tmp_path / "small.onnx"
    np.save(images, np.zeros((2, 3, 4, 4), np.float32))
    paths = [str(path) for path in (network, small, images)]
    line = peers.rewritten(sys.executable, 60.0, 4.0, "original", "", *paths)
    assert (line["samples"], line["version"]) == (2, None)
    assert small.read_bytes() == network.read_bytes()
    failed = peers.rewritten(sys.executable, 60.0, None, "original", "", str(tmp_path / "none.onnx"), *paths[1:])
    assert "none.onnx" in failed["failed"]
    assert peers.rewritten(str(tmp_path / "python"), 60.0, None)["failed"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, None])
def test_an_environment_that_is_half_made_goes_away(
    peers: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: type[BaseException] | None
):
    """What is left of it would pass for a whole one the next time."""

    def run(command: list[str], **_: Any) -> SimpleNamespace:
        (tmp_path / "nncf").mkdir(exist_ok=True)
        if "pip" in command and error is not None:
            raise error
        return SimpleNamespace(returncode=int("pip" in command))

    monkeypatch.setattr(peers.subprocess, "run", run)
    with nullcontext() if error is None else pytest.raises(error):
        assert list(peers.create(tmp_path, ["original", "nncf"])) == ["nncf: could not be installed"]
    assert not list(tmp_path.iterdir())


def test_costs_of_a_file(networks: ModuleType, network: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    images = tmp_path / "images.npy"
    np.save(images, np.zeros((2, 3, 4, 4), np.float32))
    monkeypatch.setattr(networks, "ROUNDS", 3)
    found = networks.costs(network, network, images, tmp_path / "lock")
    assert found["bytes"] == network.stat().st_size
    assert found["xavier_ms"] == found["xavier_ms_original"] > 0
    assert found["latency_interval"][0] <= found["latency_ratio"] <= found["latency_interval"][1]
    assert found["xavier_refuses"] == []
    json.dumps(found)


def test_the_lock_keeps_others_out(networks: ModuleType, tmp_path: Path):
    lock = tmp_path / "lock"
    with networks.held(lock), lock.open("a") as other, pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with lock.open("a") as other:
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    with networks.held(None):
        pass


def test_distance_is_relative_to_the_first(networks: ModuleType):
    first, second = [np.full(3, 2.0), np.zeros(4)], [np.full(3, 2.0), np.full(4, 1.0)]
    assert networks.relative_distance(first, second) == pytest.approx(np.sqrt(4 / 12))
    assert networks.relative_distance(first, first) == 0


@needs_real
@pytest.mark.parametrize(("name", "figure"), [("fastestdet", "map50"), ("deeplab", "miou"), ("squeezenet", "top1")])
def test_an_original_judges_itself_perfect(networks: ModuleType, name: str, figure: str, tmp_path: Path):
    source = networks.real_networks(SHARED)[name]
    kept = tmp_path / "net.onnx"
    found: dict[str, Any] = networks.judge_real(SHARED, name, kept, source, 3)
    assert found["images"] == 3
    assert (found["agreement"], found["output_error"], found["output_error_fused"]) == (100, 0, 0)
    assert found[figure] == found[f"{figure}_fused"]
    assert len(np.load(kept.with_suffix(".3.outputs.npy"))) == 3
    assert networks.judge_real(SHARED, name, kept, source, 3) == found


@needs_real
def test_a_worse_detector_agrees_less(networks: ModuleType, tmp_path: Path):
    source, worse = networks.real_networks(SHARED)["fastestdet"], tmp_path / "worse.onnx"
    model = onnx.load(source)
    weights = next(tensor for tensor in reversed(model.graph.initializer) if len(tensor.dims) == 4)
    values = onnx.numpy_helper.to_array(weights)
    weights.CopyFrom(onnx.numpy_helper.from_array(np.roll(values, 1, axis=1), weights.name))
    onnx.save(model, worse)
    found = networks.judge_real(SHARED, "fastestdet", tmp_path / "net.onnx", worse, 4)
    assert found["agreement"] < 90
    assert found["output_error"] > 0.1
