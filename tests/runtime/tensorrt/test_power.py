"""Power while an engine runs: which lines of tegrastats count, and what becomes of them."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
import stand_ins
from onnx_compress import CompressError
from onnx_compress.runtime.tensorrt import power
from onnx_compress.runtime.tensorrt.power import PowerFigures, PowerSettings, measure_power

IDLE = "GPU 0/0 CPU 300/300 SOC 900/900 CV 0/0 VDDRQ 100/100 SYS5V 1700/1700"
RUNNING = "GPU 9000/1 CPU 500/1 SOC 3000/1 CV 0/0 VDDRQ 2000/1 SYS5V 2500/1"
QUICK = PowerSettings(seconds=0.4, warm_up=0.25, idle=0.2)


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "SETTLING", 0.0)


def measure(folder: Path, **given: str) -> PowerFigures:
    engine = folder / "e.engine"
    engine.write_bytes(stand_ins.ENGINE)
    wanted = [f"--loadEngine={engine}", f"--warmUp={1e3 * QUICK.warm_up:g}", f"--duration={QUICK.seconds:g}"]
    programs = {name: str(folder / "bin" / name) for name in ("tegrastats", "trtexec")} | given
    return measure_power(programs["tegrastats"], Path(programs["trtexec"]), wanted, QUICK)


@pytest.mark.slow  # phases of some tenths of a second, which a busy machine draws out
def test_only_the_running_engine_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stand_ins.trtexec(tmp_path, monkeypatch)
    stand_ins.jetson(tmp_path, IDLE, RUNNING)
    found = measure(tmp_path)
    assert found.samples >= power.FEWEST
    assert found.rails == {"GPU": 9.0, "CPU": 0.5, "SOC": 3.0, "CV": 0.0, "VDDRQ": 2.0, "SYS5V": 2.5}
    assert (found.watts, found.idle_watts, found.ms) == (17.0, 3.0, 4.0)
    assert (found.mj, found.mj_above_idle) == (17.0 * 4, 14.0 * 4)


@pytest.mark.slow  # phases of some tenths of a second, which a busy machine draws out
def test_tegrastats_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stand_ins.trtexec(tmp_path, monkeypatch)
    stand_ins.jetson(tmp_path, IDLE, RUNNING)
    measure(tmp_path)
    path = str(tmp_path / "bin" / "tegrastats")
    assert path not in subprocess.run(["/bin/ps", "-eo", "args"], capture_output=True, text=True).stdout


@pytest.mark.slow  # phases of some tenths of a second, which a busy machine draws out
def test_without_an_idle_device_there_is_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stand_ins.trtexec(tmp_path, monkeypatch)
    stand_ins.jetson(tmp_path, "starting", RUNNING)
    found = measure(tmp_path)
    assert (found.watts, found.idle_watts, found.mj_above_idle) == (17.0, None, None)


@pytest.mark.slow  # phases of some tenths of a second, which a busy machine draws out
def test_rails_of_no_known_device_stay_rails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    stand_ins.trtexec(tmp_path, monkeypatch)
    stand_ins.jetson(tmp_path, IDLE, "ELSE 9000/1")
    found = measure(tmp_path)
    assert found.rails == {"ELSE": 9.0} and found.watts is None and found.mj is None


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo '[E] Error[1]: [a.cpp::f::1] Error Code 1: Serialization (no such plan)'; exit 1", "no such plan"),
        ("echo '[I] Throughput: 250 qps'", "does not say when"),
        ("echo a; sleep 0.4; echo Warmup completed", "neither throughput nor latency"),
        ("echo a; echo Warmup completed; echo '[I] Throughput: 250 qps'", "0 lines with rails"),
    ],
)
def test_what_trtexec_does_not_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, words: str):
    stand_ins.trtexec(tmp_path, monkeypatch)
    stand_ins.jetson(tmp_path, IDLE, IDLE)
    (tmp_path / "bin" / "trtexec").write_text(f"#!/bin/sh\nPATH=/bin:/usr/bin\n{script}\n")
    with pytest.raises(CompressError, match=words):
        measure(tmp_path)


@pytest.mark.parametrize("name", ["tegrastats", "trtexec"])
def test_a_program_that_cannot_be_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str):
    stand_ins.trtexec(tmp_path, monkeypatch)
    stand_ins.jetson(tmp_path, IDLE, RUNNING)
    with pytest.raises(CompressError, match="cannot be started"):
        measure(tmp_path, **{name: str(tmp_path / "none")})
