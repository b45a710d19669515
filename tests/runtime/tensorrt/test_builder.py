"""The Python way, against stand-ins of the API of TensorRT 8.5 and 10."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path

import builders
import onnx
import pytest
import stand_ins
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.io import load
from onnx_compress.compiler.pipeline.progress import Progress, silent
from onnx_compress.compiler.targets import TARGETS
from onnx_compress.compiler.targets.profiles import parse_ranges
from onnx_compress.compiler.targets.trtexec import EngineOptions
from onnx_compress.runtime.tensorrt.builder import build_engine

TEXT = 'g (float[N,3,8,8] x) => (float[N,4,6,6] y) { t = Relu(x) ["second"] y = Conv(t, w) }'
NOMINAL = {"x": ((1, 3, 8, 8),) * 3}
ALL = {"x": ((1, 3, 8, 8), (2, 3, 8, 8), (4, 3, 8, 8))}


def build(
    folder: Path, target: str = "xavier", progress: Progress = silent, **options: object
) -> tuple[str, list[str]]:
    path = folder / "m.onnx"
    onnx.save(builders.proto(TEXT, w=builders.normal(4, 3, 3, 3)), path)
    chosen = EngineOptions(**options)  # type: ignore[arg-type]
    return build_engine(path, folder / "m.engine", TARGETS[target], load(path).graph, chosen, progress)


@pytest.mark.parametrize("version", ["8.5.2.2", "8.6.1", "10.3.0"])
def test_an_engine_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str):
    told = stand_ins.tensorrt(monkeypatch, version)
    assert build(tmp_path) == (version, ["Weights do not fit in FP16."])
    assert (tmp_path / "m.engine").read_bytes() == stand_ins.ENGINE
    assert told.model == str(tmp_path / "m.onnx") and told.flags == ["FP16"] and told.profile == NOMINAL
    assert told.network == (0 if version.startswith("10") else 1)
    assert told.config.profiling_verbosity == "DETAILED"


def test_a_typed_network_has_no_precision_flags(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = stand_ins.tensorrt(monkeypatch, "10.16.0")
    build(tmp_path, "trt10")
    assert told.network == 1 << stand_ins.Flag.STRONGLY_TYPED and told.flags == []


def test_options_reach_the_config(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = stand_ins.tensorrt(monkeypatch, "8.5.2")
    shapes = parse_ranges(["x:1x3x8x8/2x3x8x8/4x3x8x8"])
    build(tmp_path, workspace=64, int8=True, fp16=False, shapes=shapes)
    assert told.flags == ["INT8"] and told.profile == ALL and told.pool == ("WORKSPACE", 64 * 2**20)


def test_timings_are_kept_from_build_to_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stand_ins.tensorrt(monkeypatch, "8.5.2")
    for expected in (b"+", b"++"):
        build(tmp_path, timing_cache=str(tmp_path / "t.cache"))
        assert (tmp_path / "t.cache").read_bytes() == expected


def test_a_calibration_cache_on_the_dla(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = stand_ins.tensorrt(monkeypatch, "8.5.2")
    (tmp_path / "c").write_bytes(b"ranges")
    build(tmp_path, "xavier-dla", calibration=str(tmp_path / "c"))
    calibrator = told.config.int8_calibrator
    assert told.flags == ["INT8", "FP16", "GPU_FALLBACK"] and told.calibration_profile == NOMINAL
    assert calibrator.read_calibration_cache() == b"ranges" and calibrator.get_batch(["x"]) is None
    assert (told.config.default_device_type, told.config.DLA_core) == ("DLA", 0)


def watcher(stages: list[str], steps: list[int], step: Callable[[], None] = lambda: None) -> Progress:
    @contextmanager
    def report(stage: str, total: int) -> Generator[Callable[[], None], None, None]:
        stages.append(stage)

        def advance() -> None:
            step()
            steps.append(total)

        yield advance
        stages.append("closed")

    return report


def test_newer_versions_report_their_progress(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = stand_ins.tensorrt(monkeypatch, "10.3.0")
    stages: list[str] = []
    steps: list[int] = []
    build(tmp_path, progress=watcher(stages, steps))
    assert stages == ["Building Engine", "closed"] and steps == [2] and told.goes_on


def test_an_interrupt_ends_the_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    told = stand_ins.tensorrt(monkeypatch, "10.3.0", interrupted=True)

    def interrupt() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(tmp_path, progress=watcher([], [], interrupt))
    assert told.goes_on is False and not (tmp_path / "m.engine").exists()


@pytest.mark.parametrize("version", ["8.5.2", "10.3.0"])
def test_a_refused_node_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, version: str):
    stand_ins.tensorrt(monkeypatch, version, parses=False)
    with pytest.raises(CompressError, match=r"node 1 'second' \(Conv\): Cannot be read\."):
        build(tmp_path)


def test_the_builder_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stand_ins.tensorrt(monkeypatch, "8.5.2", builds=False)
    with pytest.raises(CompressError, match="no engine: no kernel for conv"):
        build(tmp_path)
    assert not (tmp_path / "m.engine").exists()


def test_no_driver(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stand_ins.tensorrt(monkeypatch, "8.6.1", driver=False)
    with pytest.raises(CompressError, match=r"cannot start: CUDA initialization failure.*NVIDIA GPU"):
        build(tmp_path)


def test_too_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stand_ins.tensorrt(monkeypatch, "8.4.1")
    with pytest.raises(CompressError, match=r"8\.4\.1 is too old"):
        build(tmp_path)
