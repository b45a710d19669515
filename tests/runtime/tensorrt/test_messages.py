"""TensorRT's words, shortened."""

from __future__ import annotations

import pytest
from onnx_compress.runtime.tensorrt.messages import NO_IMPORTER, clean, is_echo, matters, node_line


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Assertion failed: a.b(c) == d: Two inputs are needed.", "Two inputs are needed."),
        ('creator && "Plugin not found, is the name right?"', "Plugin not found, is the name right?"),
        ('Assertion failed: ok(x) && "No such type."', "No such type."),
        (
            "Invalid Node - node_of_y\nILayer::set: Error Code 3: API Usage Error (y: image smaller than filter In "
            "validate at /src/a/b.cpp:12)\n[xMacros.cpp::catchCudaError::9] Error Code 1: Cuda Runtime (no driver)",
            "y: image smaller than filter",
        ),
        ("A::b: Error Code 4: Internal Error (x: no way. In f() at /a.cpp:1 In g at /b.cpp:2)", "x: no way"),
        ("[a.cpp::f::132] Error Code 2: OutOfMemory (Requested 8 bytes.)", "OutOfMemory (Requested 8 bytes.)"),
        ("ModelImporter.cpp:77: All is lost", "All is lost"),
        ("Bad weights: In node -1 with name:  and operator:  (f): UNSUPPORTED_NODE: Bad w", "Bad w"),
        ("plain words (with brackets)", "plain words (with brackets)"),
        ("Invalid Node - y", "Invalid Node - y"),
    ],
)
def test_clean(text: str, line: str):
    assert clean(text) == line


def test_a_node_is_named_as_far_as_it_can_be():
    assert node_line(3, "conv", "Conv", "no") == "node 3 'conv' (Conv): no"
    assert node_line(3, "", "", "no") == "node 3: no"
    assert node_line(-1, "", "", "no") == "no"
    assert node_line(0, "", "Compress", "false") == f"node 0 (Compress): {NO_IMPORTER}"


def test_echoes_and_warnings_about_the_machine_are_left_out():
    assert is_echo("ModelImporter.cpp:9: While parsing node number 3 [Conv]:") and is_echo("Failed to parse onnx file")
    assert not is_echo("node conv: kernel too large")
    assert not matters("Make sure input t has Int64 binding.") and matters("Zero scale")
