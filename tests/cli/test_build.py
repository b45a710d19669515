"""`onnx-compress build`: which way is taken, what is told to it, what is shown, and every way to fail."""

from __future__ import annotations

import json
from pathlib import Path

import front
import pytest
import stand_ins
from front import call
from onnx_compress.compiler.costs.layer_times import read_layer_times
from onnx_compress.compiler.report.loading import load_report
from onnx_compress.compiler.report.sizes import size_lines
from onnx_compress.runtime.tensorrt import power, power_mode, program
from onnx_compress.runtime.tensorrt.power import PowerSettings

PASSED = """&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec
[04/02/2024-10:00:09] [I] Throughput: 1234.5 qps
[04/02/2024-10:00:09] [I] Latency: min = 0.5 ms, max = 1.2 ms, mean = 0.7 ms, median = 0.75 ms, percentile(99%) = 1.1 ms
&&&& PASSED TensorRT.trtexec [TensorRT v8502] # trtexec"""
FAILED = """&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec
[04/02/2024-10:00:01] [E] Error[4]: [a.cpp::f::1] Error Code 4: Internal Error (no kernel for conv)
[04/02/2024-10:00:01] [E] Engine set up failed
&&&& FAILED TensorRT.trtexec [TensorRT v8502] # trtexec"""

ONE_LAYER = [{"count": 1}, {"name": "Conv_0", "averageMs": 0.75, "medianMs": 0.75, "percentage": 100}]


@pytest.fixture(autouse=True)
def nothing_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(program, "INSTALLED", Path("/nowhere/trtexec"))
    monkeypatch.setenv("PATH", "/nowhere")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return front.write_model(tmp_path / "my net.onnx")


def test_by_the_program(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    told = stand_ins.trtexec(model.parent, monkeypatch, PASSED)
    assert call("build", model) == 0
    engine = model.with_suffix(".engine")
    assert engine.read_bytes() == stand_ins.ENGINE
    options = json.loads(told.read_text())
    assert options[0] == f"--onnx={model}" and options[2:] == ["--fp16", "--shapes=x:1x3x8x8"]
    shown = capsys.readouterr()
    assert f"wrote {engine}: {len(stand_ins.ENGINE)} bytes, trtexec 8.5.2" in shown.out and shown.err == ""
    assert "median 0.75 ms, 99 % below 1.1 ms" in shown.out and "1234.5 inferences per second" in shown.out


def test_every_option_reaches_the_program(model: Path, monkeypatch: pytest.MonkeyPatch):
    told = stand_ins.trtexec(model.parent, monkeypatch, PASSED)
    cache = model.with_suffix(".cache")
    cache.write_text("ranges")
    options = ("--int8", "--shapes", "x:1x3x8x8/2x3x8x8/4x3x8x8", "--calib", cache, "--timing-cache", "t", "-q")
    assert call("build", model, "-o", model.parent / "e", "--workspace", 64, "--target", "xavier-8.2", *options) == 0
    assert json.loads(told.read_text())[2:] == [
        "--int8",
        f"--calib={cache}",
        *("--minShapes=x:1x3x8x8", "--optShapes=x:2x3x8x8", "--maxShapes=x:4x3x8x8"),
        "--workspace=64",
        "--timingCacheFile=t",
    ]


def test_the_times_are_added_to_the_report(model: Path, monkeypatch: pytest.MonkeyPatch):
    report, small = model.parent / "run.json", model.parent / "small.onnx"
    assert call(model, "-p", "basis:rank=4:form=channel", "-o", small, "--report", report, "-q") == 0
    entries = [{"count": 1}, {"name": "Conv_0.basis", "averageMs": 0.5, "medianMs": 0.5, "percentage": 100}]
    stand_ins.trtexec(model.parent, monkeypatch, PASSED, profile=entries, layer_info={"Layers": ["a name"]})
    assert call("build", small, "--profile", model.parent / "p.json", "--report", report, "-q") == 0
    decisions = [d for entry in json.loads(report.read_text())["passes"] for d in entry["decisions"]]
    assert [d["figures"]["measured_ms"] for d in decisions if d["action"] == "rewritten"] == [0.5]
    assert call("build", small, "--report", report, "--overwrite", "-q") == 2


def test_a_profile_is_a_clock_for_the_next_search(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    stand_ins.trtexec(model.parent, monkeypatch, PASSED, profile=ONE_LAYER)
    profile, options = model.parent / "layers.json", ("-o", model.parent / "small.onnx", "--overwrite")
    assert call("build", model, "--profile", profile, "-q") == 0
    assert call(model, "-p", f"basis:latency=1:precision=fp16:clock={profile}", *options) == 0
    shown = capsys.readouterr().out
    assert "times of 1 of the 1 Convs are from the device" in " ".join(shown.split())
    assert call(model, "-p", f"basis:latency=1:precision=int8:clock={profile}", *options) == 1
    assert "nothing was measured in INT8" in capsys.readouterr().err
    renamed = profile.rename(model.parent / "clock.onnx")
    assert call(model, "-p", f"basis:latency=1:clock={renamed}", "-o", renamed, "--overwrite") == 2
    assert "-o would write over the file of basis:clock" in capsys.readouterr().err
    assert call(model, "-p", "basis:latency=1:clock=none.json", *options) == 2
    assert "the file of basis:clock, none.json: no such file" in capsys.readouterr().err


def test_a_profile_that_trtexec_alone_has_written_is_read(model: Path, capsys: pytest.CaptureFixture[str]):
    report, small = model.parent / "run.json", model.parent / "small.onnx"
    assert call(model, "-p", "basis:rank=4:form=channel", "-o", small, "--report", report, "-q") == 0
    profile = model.parent / "layers.json"
    profile.write_text(json.dumps(ONE_LAYER))
    options = ("--profile", profile, "--via", "profile")
    assert call("build", model, *options, "--power-mode", "MODE_15W", "--report", report) == 0
    assert "1 Convs are timed in the profile" in capsys.readouterr().out
    times = read_layer_times(profile)
    assert (times.mode, times.convs[0].ms, times.convs[0].precision) == ("15W", 0.75, "fp16")
    assert json.loads(profile.read_text())[1:] == ONE_LAYER[1:]
    figures = [d["figures"] for entry in load_report(report)["passes"] for d in entry["decisions"]]
    assert [each["measured_before_ms"] for each in figures if "measured_before_ms" in each]
    assert not model.with_suffix(".engine").exists() and not (model.parent / "layers.layers.json").exists()
    before = profile.read_text()
    assert call("build", small, *options) == 1
    assert "no layer of the profile is one of the model's Convs" in capsys.readouterr().err
    assert profile.read_text() == before


def test_a_profile_shows_the_slowest_convs(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    entries = [{"count": 9}, {"name": "Conv_0 + Relu_1", "averageMs": 0.3, "medianMs": 0.25, "percentage": 99}]
    stand_ins.trtexec(model.parent, monkeypatch, PASSED, profile=entries, layer_info={"Layers": ["a name"]})
    profile = model.parent / "times.json"
    assert call("build", model, "--profile", profile) == 0
    assert "0.2500 ms  Conv_0" in capsys.readouterr().out
    head, layer = json.loads(profile.read_text())
    assert head["count"] == 9 and layer == entries[1]
    (conv,) = read_layer_times(profile).convs
    assert (conv.ms, conv.precision, conv.workload.positions()) == (0.25, "fp16", (64, 64))
    assert json.loads((model.parent / "times.layers.json").read_text()) == {"Layers": ["a name"]}


IDLE = "VDD_GPU_SOC 2000mW/1mW VDD_CPU_CV 500mW/1mW VIN_SYS_5V0 2500mW/1mW"
RUNNING = "VDD_GPU_SOC 12000mW/1mW VDD_CPU_CV 1000mW/1mW VIN_SYS_5V0 4000mW/1mW"
QUICKLY = ("--power-seconds", 0.3)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(power, "SETTLING", 0.0)
    monkeypatch.setattr(power, "USUAL", PowerSettings(warm_up=0.25, idle=0.2))


@pytest.mark.slow  # phases of some tenths of a second, which a busy machine draws out
@pytest.mark.usefixtures("quick")
def test_on_a_jetson_the_power_is_measured_too(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    told = stand_ins.trtexec(model.parent, monkeypatch, PASSED, profile=ONE_LAYER)
    stand_ins.jetson(model.parent, IDLE, RUNNING)
    assert call("build", model, "--profile", model.parent / "p.json", *QUICKLY) == 0
    shown = capsys.readouterr().out
    assert "power at MAXN: 17 W, 68 mJ per inference; idle 5 W, 48 mJ above that" in shown and "note" not in shown
    assert json.loads(told.with_suffix(".run.json").read_text()) == [
        f"--loadEngine={model.with_suffix('.engine')}",
        "--shapes=x:1x3x8x8",
        *("--useCudaGraph", "--noDataTransfers", "--warmUp=250", "--duration=0.3"),
    ]


@pytest.mark.slow  # phases of some tenths of a second, which a busy machine draws out
@pytest.mark.usefixtures("quick")
def test_a_device_that_hides_its_mode_is_named(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    stand_ins.trtexec(model.parent, monkeypatch, PASSED, profile=ONE_LAYER)
    stand_ins.jetson(model.parent, IDLE, RUNNING)
    (model.parent / "bin" / "nvpmodel").unlink()
    assert call("build", model, "--profile", model.parent / "p.json", *QUICKLY) == 0
    shown = capsys.readouterr().out
    assert "power: 17 W" in shown and "note: nvpmodel does not say in which power mode the device is" in shown


@pytest.mark.slow  # phases of some tenths of a second, which a busy machine draws out
@pytest.mark.usefixtures("quick")
def test_both_networks_meet_in_the_report_mode_by_mode(model: Path, monkeypatch: pytest.MonkeyPatch):
    report, small = model.parent / "run.json", model.parent / "small.onnx"
    assert call(model, "-p", "basis:rank=4:form=channel", "-o", small, "--report", report, "-q") == 0
    stand_ins.trtexec(model.parent, monkeypatch, PASSED, profile=ONE_LAYER)
    for mode, network in (("MAXN", model), ("MAXN", small), ("MODE_15W", small), ("MODE_15W", small)):
        stand_ins.jetson(model.parent, IDLE, RUNNING, mode)
        options = ("--power-mode", mode.removeprefix("MODE_"), "--report", report, "--overwrite", "-q")
        assert call("build", network, "--profile", model.parent / "p.json", *options, *QUICKLY) == 0
    found = load_report(report)
    engines = found.get("measured", [])
    assert [(e["network"], e["mode"]) for e in engines] == [("before", "MAXN"), ("after", "MAXN"), ("after", "15W")]
    assert {(e["precision"], e["tensorrt"], e["ms"], e["watts"], e["mj"]) for e in engines} == {
        ("fp16", "8.5.2", 0.75, 17.0, 68.0)
    }
    lines = {line.name: line for line in size_lines(found) if "at MAXN" in line.remark}
    assert lines["Power, measured"].before == lines["Power, measured"].after == "17 W"
    assert lines["Energy above idle"].after == "48 mJ" and lines["Latency, measured"].kept == 1
    (decision,) = [d for entry in found["passes"] for d in entry["decisions"] if d["action"] == "rewritten"]
    assert decision["figures"]["measured_before_ms"] == 0.75


def test_without_tegrastats_a_line_says_so(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    stand_ins.trtexec(model.parent, monkeypatch, PASSED, profile=ONE_LAYER)
    assert call("build", model, "--profile", model.parent / "p.json") == 0
    assert "note: power was not measured: there is no tegrastats here" in capsys.readouterr().out
    assert call("build", model, "--profile", model.parent / "p.json", "--power-seconds", 0, "--overwrite") == 0
    assert "note" not in capsys.readouterr().out


@pytest.mark.slow  # phases of some tenths of a second, which a busy machine draws out
@pytest.mark.usefixtures("quick")
def test_an_engine_stays_where_its_power_cannot_be_measured(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    stand_ins.trtexec(model.parent, monkeypatch, PASSED, profile=[])
    stand_ins.jetson(model.parent, "RAM 1/2MB", "RAM 1/2MB")
    assert call("build", model, "--profile", model.parent / "p.json", *QUICKLY) == 0
    assert "note: power was not measured: tegrastats: 0 lines with rails" in capsys.readouterr().out
    stand_ins.jetson(model.parent, "A 1/1", "A 1000/1")
    assert call("build", model, "--profile", model.parent / "p.json", "--overwrite", *QUICKLY) == 0
    shown = capsys.readouterr().out
    assert "power at MAXN: A 1 W" in shown and "note: the power of the module is not known" in shown


def test_layers_that_do_not_tell_convs_apart_are_no_clock(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    stand_ins.trtexec(model.parent, monkeypatch, PASSED, profile=[{"name": "__myl_1", "averageMs": 1}])
    assert call("build", model, "--profile", model.parent / "p.json") == 0
    assert "note: the engine's layers do not tell its Convs apart" in capsys.readouterr().out


def test_the_power_mode_is_never_switched(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    stand_ins.trtexec(model.parent, monkeypatch, PASSED, profile=[])
    stand_ins.jetson(model.parent, IDLE, RUNNING)
    monkeypatch.setattr(power_mode, "CONFIGURATION", Path("/nowhere"))
    assert call("build", model, "--profile", model.parent / "p.json", "--power-mode", "15W") == 1
    assert "the device is in mode MAXN (run sudo nvpmodel -m ID" in capsys.readouterr().err
    assert not model.with_suffix(".engine").exists()


def test_a_report_of_another_network_is_refused_before_anything_is_built(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    report = model.parent / "run.json"
    small = model.parent / "small.onnx"
    assert call(model, "-p", "basis:rank=4:form=channel", "-o", small, "--report", report, "-q") == 0
    stand_ins.trtexec(model.parent, monkeypatch, PASSED, profile=[])
    other = front.write_model(model.parent / "other.onnx")
    other.write_bytes(other.read_bytes() + b"\x3a\x00")
    assert call("build", other, "--profile", model.parent / "p.json", "--report", report) == 1
    assert "is of neither the model nor the output of" in capsys.readouterr().err
    renamed = small.rename(model.parent / "renamed.onnx")
    assert call("build", renamed, "--profile", model.parent / "p.json", "--report", report, "-q") == 0
    assert [e["network"] for e in load_report(report).get("measured", [])] == ["after"]


def test_a_failure_is_one_line_and_leaves_no_file(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    stand_ins.trtexec(model.parent, monkeypatch, FAILED, code=1)
    before = set(model.parent.iterdir())
    assert call("build", model, "--profile", model.parent / "p.json") == 1
    line = capsys.readouterr().err
    assert line.startswith("error: trtexec 8.5.2: no engine: no kernel for conv") and line.count("\n") == 1
    assert set(model.parent.iterdir()) - before == {model.parent / "told.json"}


def test_a_program_that_writes_nothing(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    stand_ins.trtexec(model.parent, monkeypatch, "odd words", engine=False)
    assert call("build", model, "-v") == 1
    line = capsys.readouterr().err
    assert "no engine: odd words" in line and line.startswith("odd words\n")


def test_another_version_than_the_target(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    stand_ins.trtexec(model.parent, monkeypatch, PASSED)
    assert call("build", model, "--target", "trt10") == 0
    assert "note: TensorRT 8.5.2 is installed, the target trt10 is for 10.16" in capsys.readouterr().out


@pytest.mark.parametrize("via", ["auto", "python"])
def test_by_the_package(model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], via: str):
    stand_ins.tensorrt(monkeypatch, "8.5.2")
    assert call("build", model, "--via", via) == 0
    assert model.with_suffix(".engine").read_bytes() == stand_ins.ENGINE
    shown = capsys.readouterr().out
    assert "tensorrt 8.5.2" in shown and "note: Weights do not fit in FP16." in shown


def test_nothing_is_overwritten_unasked(model: Path, monkeypatch: pytest.MonkeyPatch):
    stand_ins.trtexec(model.parent, monkeypatch, PASSED)
    model.with_suffix(".engine").write_text("mine")
    assert call("build", model) == 2
    assert model.with_suffix(".engine").read_text() == "mine"
    assert call("build", model, "--overwrite", "-q") == 0


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ((), 1, ["TensorRT is not installed", "trtexec on the PATH", "pip install 'onnx-compress[tensorrt]'"]),
        (("--via", "python"), 1, ["tensorrt cannot be loaded", "pip install 'onnx-compress[tensorrt]'"]),
        (("--via", "trtexec"), 1, ["no trtexec here", "PATH"]),
        (("--power-mode", "15W"), 2, ["--power-mode: nothing is measured without a profile"]),
        (("--profile", "p.json", "--power-mode", "15W", "--via", "trtexec"), 1, ["no trtexec here"]),
        (("--profile", "p.json"), 1, ["--profile: no trtexec here"]),
        (("--profile", "p.json", "--via", "python"), 2, ["cannot measure layers", "--via trtexec"]),
        (("--via", "profile"), 2, ["--via profile: which one?"]),
        (("--via", "profile", "--profile", "p.json"), 2, ["p.json: no such file", "on the device"]),
        (("--target", "ort"), 2, ["'ort' has no engine files"]),
        (("--target", "xavir"), 2, ["unknown target"]),
        (("--shapes", "x"), 2, ["'x' is not a shape"]),
        (("--calib", "none.cache"), 2, ["none.cache", "no such file"]),
        (("--workspace", "0"), 2, ["--workspace"]),
        (("--via", "magic"), 2, ["--via"]),
    ],
)
def test_refusals(
    model: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    options: tuple[str, ...],
    code: int,
    words: list[str],
):
    monkeypatch.chdir(model.parent)
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    assert call("build", model, *options) == code
    shown = capsys.readouterr()
    assert shown.out == "" and shown.err.startswith("error: ") and shown.err.count("\n") == 1
    assert all(word in shown.err for word in words), shown.err
    assert list(model.parent.iterdir()) == [model]


def test_shapes_that_the_model_does_not_have(
    model: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    stand_ins.trtexec(model.parent, monkeypatch, PASSED)
    assert call("build", model, "--shapes", "z:1x3x8x8") == 2
    assert "no input 'z'" in capsys.readouterr().err


def test_a_missing_model_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert call("build", tmp_path / "none.onnx") == 1
    assert "none.onnx: no such file" in capsys.readouterr().err
