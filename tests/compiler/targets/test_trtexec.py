"""The command line of each target: precision, shapes, options by version, quoting."""

from __future__ import annotations

import shlex

import builders
import numpy as np
import onnx_graphsurgeon as gs
import pytest
from onnx_compress.compiler.graph.storage.operators import declare
from onnx_compress.compiler.targets import TARGETS
from onnx_compress.compiler.targets.profiles import parse_ranges
from onnx_compress.compiler.targets.trtexec import EngineOptions, arguments, command_line, run_arguments, steady_latency

CONV = "g (float[{}] x) => (float[{},4,6,6] y) {{ {} y = Conv({}, w) }}"
PAIR = "q = QuantizeLinear(x, s, z) d = DequantizeLinear(q, s, z)"


def graph(shape: str = "1,3,8,8", quantized: bool = False) -> gs.Graph:
    weights: dict[str, np.ndarray] = {"w": builders.normal(4, 3, 3, 3)}
    if quantized:
        weights.update(s=np.array(0.1, np.float32), z=np.array(0, np.int8))
    text = CONV.format(shape, shape.split(",")[0], PAIR if quantized else "", "d" if quantized else "x")
    return builders.model(text, **weights).graph


def told(target: str, model: gs.Graph, **options: object) -> list[str]:
    return arguments(TARGETS[target], model, "m.onnx", "m.engine", EngineOptions(**options))  # type: ignore[arg-type]


@pytest.mark.parametrize("target", ["xavier", "xavier-8.2", "xavier-8.0", "orin"])
def test_precision_follows_the_model(target: str):
    assert told(target, graph()) == ["--onnx=m.onnx", "--saveEngine=m.engine", "--fp16"]
    assert told(target, graph(quantized=True)) == ["--onnx=m.onnx", "--saveEngine=m.engine", "--int8", "--fp16"]


def test_a_calibration_cache_needs_int8():
    assert told("xavier", graph(), calibration="m.cache")[2:] == ["--int8", "--fp16", "--calib=m.cache"]
    assert told("trt10", graph(), calibration="m.cache")[2:] == ["--int8", "--fp16", "--calib=m.cache"]


@pytest.mark.parametrize("target", ["trt10", "orin-10.3"])
def test_a_newer_engine_takes_the_types_of_the_model(target: str):
    assert told(target, graph())[2:] == told(target, graph(quantized=True))[2:] == ["--stronglyTyped"]


def test_a_chosen_precision_is_the_only_one():
    assert told("xavier", graph(quantized=True), int8=True)[2:] == ["--int8"]
    assert told("trt10", graph(), fp16=True)[2:] == ["--fp16"]


def test_the_dla_leaves_the_rest_to_the_gpu():
    flags = ["--int8", "--fp16", "--calib=m.cache", "--useDLACore=0", "--allowGPUFallback"]
    assert told("xavier-dla", graph(), calibration="m.cache")[2:] == flags


def test_shapes_are_given_for_open_inputs_only():
    assert not any("hapes" in option for option in told("xavier", graph()))
    assert "--shapes=x:1x3x224x224" in told("xavier", graph("N,3,H,W"))
    assert "--shapes=x:4x3x8x8" in told("xavier", graph("N,3,8,8"), shapes=parse_ranges(["x:4x3x8x8"]))


def test_a_range_of_shapes():
    options = told("xavier", graph("N,3,8,8"), shapes=parse_ranges(["x:1x3x8x8/4x3x8x8/8x3x8x8"]))
    assert options[3:] == ["--minShapes=x:1x3x8x8", "--optShapes=x:4x3x8x8", "--maxShapes=x:8x3x8x8"]


def test_several_open_inputs_share_an_option():
    text = "g (float[N,3] a, float[M,3] b, float[1,3] c) => (float[N,3] y) { t = Add(a, b) y = Add(t, c) }"
    assert "--shapes=a:1x3,b:2x3" in told("xavier", builders.model(text).graph, shapes=parse_ranges(["b:2x3"]))


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("xavier", ["--memPoolSize=workspace:512", "--timingCacheFile=t"]),
        ("xavier-8.2", ["--workspace=512", "--timingCacheFile=t"]),
        ("xavier-8.0", ["--workspace=512", "--timingCacheFile=t"]),
        ("trt10", ["--memPoolSize=workspace:512", "--timingCacheFile=t"]),
    ],
)
def test_options_of_the_version(target: str, expected: list[str]):
    assert told(target, graph(), workspace=512, timing_cache="t")[3:] == expected


def test_measuring_options_of_the_version():
    newer = [option.partition("=")[0] for option in steady_latency(TARGETS["xavier"])]
    older = [option.partition("=")[0] for option in steady_latency(TARGETS["xavier-8.0"])]
    assert set(newer) - set(older) == {"--exportLayerInfo", "--profilingVerbosity"}
    assert "--exportProfile" in older and "--separateProfileRun" in older
    assert "--exportProfile=p q.json" in steady_latency(TARGETS["xavier"], "p q.json")


@pytest.mark.parametrize("name", ["m.onnx", "my nets/m.onnx", "it's.onnx", "$HOME;rm.onnx", "a=b.onnx", "né.onnx"])
def test_the_shell_reads_back_what_was_meant(name: str):
    line = command_line(TARGETS["xavier"], graph("N,3,8,8"), name, calibration=f"{name}.cache", extra=["--x=a b"])
    read = shlex.split(line)
    assert read[:2] == ["trtexec", f"--onnx={name}"]
    assert f"--saveEngine={name.removesuffix('.onnx')}.engine" in read
    assert f"--calib={name}.cache" in read and read[-1] == "--x=a b"


def test_without_a_file_the_line_is_a_template():
    line = command_line(TARGETS["xavier"], graph(quantized=True))
    assert line == (
        "trtexec --onnx={model} --saveEngine={model}.engine --int8 --fp16 --memPoolSize=workspace:2048 "
        "--timingCacheFile={model}.timing"
    )


@pytest.mark.parametrize(
    ("target", "option"),
    [
        ("xavier-8.0", "--workspace=2048"),
        ("xavier-8.2", "--workspace=2048"),
        ("orin-10.3", "--memPoolSize=workspace:2048"),
    ],
)
def test_the_workspace_is_spelled_as_the_version_knows_it(target: str, option: str):
    words = command_line(TARGETS[target], graph()).split()
    assert option in words and "--timingCacheFile={model}.timing" in words


def test_open_sizes_are_those_of_the_calibration_sample():
    line = command_line(TARGETS["xavier"], graph("N,3,H,W"), "m.onnx", sample={"x": (1, 3, 320, 480)})
    assert "--shapes=x:1x3x320x480" in line.split()


def test_onnxruntime_has_a_line_of_its_own():
    line = command_line(TARGETS["ort"], graph(), "a b.onnx")
    assert shlex.split(line) == ["python", "-c", "import onnxruntime; onnxruntime.InferenceSession('a b.onnx')"]
    assert "$x.onnx" in shlex.split(command_line(TARGETS["ort"], graph(), "$x.onnx"))[2]


@pytest.mark.parametrize(
    ("target", "option"), [("xavier", "--plugins"), ("xavier-8.0", "--plugins"), ("trt10", "--staticPlugins")]
)
def test_the_library_of_the_projects_operator_is_loaded(target: str, option: str) -> None:
    model = graph()
    assert "ugins" not in command_line(TARGETS[target], model)
    declare(model)
    assert f"{option}=libonnx_compress_plugins.so" in command_line(TARGETS[target], model).split()


def test_a_saved_engine_is_run_at_the_sizes_that_it_is_best_at() -> None:
    options = EngineOptions(shapes=parse_ranges(["x:1x3x8x8/2x3x8x8/4x3x8x8"]), calibration="c", timing_cache="t")
    model = graph("N,3,8,8")
    assert run_arguments(TARGETS["xavier"], model, "m.engine", options, 10, 0.5) == [
        *("--loadEngine=m.engine", "--shapes=x:2x3x8x8", "--useCudaGraph", "--noDataTransfers"),
        *("--warmUp=500", "--duration=10"),
    ]
    assert "--useDLACore=0" in run_arguments(TARGETS["xavier-dla"], model, "m.engine", EngineOptions(), 1, 1)
    declare(model)
    assert "--plugins=libonnx_compress_plugins.so" in run_arguments(TARGETS["xavier"], model, "e", options, 1, 1)
