"""What trtexec prints, of TensorRT 8.2, 8.5 and 10: figures of a run, errors of the parser and of the builder."""

from __future__ import annotations

import pytest
from onnx_compress.runtime.tensorrt.log import LatencyStatistics, read_log, read_version

PASSED = """&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec --onnx=m.onnx --fp16
[04/02/2024-10:00:00] [I] === Model Options ===
[04/02/2024-10:00:01] [W] [TRT] onnx2trt_utils.cpp:375: Your ONNX model has been generated with INT64 weights.
[04/02/2024-10:00:01] [W] [TRT] Weights of 'conv1' do not fit in FP16.
[04/02/2024-10:00:01] [W] [TRT] Weights of 'conv1' do not fit in FP16.
[04/02/2024-10:00:09] [I] === Performance summary ===
[04/02/2024-10:00:09] [I] Throughput: 1234.5 qps
[04/02/2024-10:00:09] [I] Latency: min = 0.5 ms, max = 1.25 ms, mean = 0.75 ms, median = 0.7 ms, \
percentile(90%) = 0.9 ms, percentile(99%) = 1.1 ms
[04/02/2024-10:00:09] [I] Enqueue Time: min = 0.1 ms, max = 0.2 ms, mean = 0.15 ms, median = 0.15 ms
[04/02/2024-10:00:09] [I] GPU Compute Time: min = 0.4 ms, max = 1 ms, mean = 0.5 ms, median = 0.5 ms, \
percentile(99%) = 0.95 ms
&&&& PASSED TensorRT.trtexec [TensorRT v8502] # trtexec --onnx=m.onnx --fp16
"""

REFUSED = """&&&& RUNNING TensorRT.trtexec [TensorRT v8502] # trtexec --onnx=m.onnx
[04/02/2024-10:00:01] [E] [TRT] ModelImporter.cpp:726: While parsing node number 17 [Compress -> "out"]:
[04/02/2024-10:00:01] [E] [TRT] ModelImporter.cpp:727: --- Begin node ---
[04/02/2024-10:00:01] [E] [TRT] ModelImporter.cpp:728: input: "x"
output: "out"
name: "pick"
op_type: "Compress"
attribute {
  name: "axis"
  i: 1
}

[04/02/2024-10:00:01] [E] [TRT] ModelImporter.cpp:729: --- End node ---
[04/02/2024-10:00:01] [E] [TRT] ModelImporter.cpp:732: ERROR: builtin_op_importers.cpp:5428 In function importFallback:
[8] Assertion failed: creator && "Plugin not found."
[04/02/2024-10:00:01] [E] Failed to parse onnx file
[04/02/2024-10:00:01] [E] Parsing model failed
[04/02/2024-10:00:01] [E] Engine could not be created from network
[04/02/2024-10:00:01] [E] Engine set up failed
&&&& FAILED TensorRT.trtexec [TensorRT v8502] # trtexec --onnx=m.onnx
"""

NOT_BUILT = """&&&& RUNNING TensorRT.trtexec [TensorRT v100300] [b26] # trtexec --onnx=m.onnx
[04/02/2024-10:00:01] [E] Error[10]: IBuilder::build: Error Code 10: Internal Error \
(Could not find any implementation for node {ForeignNode[a...b]}. In costs at optimizer/optimizer.cpp:4048)
[04/02/2024-10:00:01] [E] Error[2]: [builder.cpp::build::636] Error Code 2: Internal Error (Assertion ok failed. )
[04/02/2024-10:00:01] [E] Engine could not be created from network
[04/02/2024-10:00:01] [E] Building engine failed
&&&& FAILED TensorRT.trtexec [TensorRT v100300] [b26] # trtexec --onnx=m.onnx
"""


def test_a_run_that_passed():
    report = read_log(PASSED)
    assert report.passed and report.version == "8.5.2" and report.errors == []
    assert report.warnings == ["Weights of 'conv1' do not fit in FP16."]
    assert report.throughput == 1234.5
    assert report.latency == LatencyStatistics(0.5, 1.25, 0.75, 0.7, {90.0: 0.9, 99.0: 1.1})
    assert report.gpu is not None and report.gpu.percentiles == {99.0: 0.95}


def test_the_parser_names_the_node():
    report = read_log(REFUSED)
    assert not report.passed and report.latency is None and report.throughput is None
    assert report.errors == ["node 17 'pick' (Compress): Plugin not found."]


def test_the_builder_names_the_layer():
    report = read_log(NOT_BUILT)
    assert report.version == "10.3.0"
    reason = "Could not find any implementation for node {ForeignNode[a...b]}"
    assert report.errors == [reason, "Assertion ok failed."]


def test_an_echo_is_better_than_nothing():
    assert read_log("[04/02/2024-10:00:01] [E] Engine set up failed\n").errors == ["Engine set up failed"]
    assert read_log("").errors == [] and read_log("").version == ""


@pytest.mark.parametrize(("text", "version"), [("8001", "8.0.1"), ("8601", "8.6.1"), ("101303", "10.13.3")])
def test_versions(text: str, version: str):
    assert read_version(f"&&&& RUNNING TensorRT.trtexec [TensorRT v{text}] # x") == version
