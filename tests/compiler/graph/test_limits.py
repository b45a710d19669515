"""Small files that hold what no memory does: refused in little time and little memory."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from builders import model, normal, proto
from onnx import helper
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph.io import from_proto, load
from onnx_compress.compiler.graph.validate import validate

IMPORTS = [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
MEMORY = 2**30


def function(name: str, *ops: str) -> onnx.FunctionProto:
    tensors = ["x", *(f"t{i}" for i in range(len(ops) - 1)), "y"]
    nodes = [
        helper.make_node(op, [tensors[i]], [tensors[i + 1]], domain="f" if op.startswith("F") else "")
        for i, op in enumerate(ops)
    ]
    return helper.make_function("f", name, ["x"], ["y"], nodes, IMPORTS)


def doubling(levels: int) -> onnx.ModelProto:
    """`F0` calls `F1` twice, that one `F2` twice, ...; 2^levels nodes in all."""
    found = proto("g (float[N,3,8,8] x) => (float[N,4,8,8] y) { c = Conv(x, w) y = f.F0(c) }", domains=', "f" : 1')
    found.graph.initializer.append(onnx.numpy_helper.from_array(normal(4, 3, 1, 1), "w"))
    inner = [function(f"F{i}", f"F{i + 1}", f"F{i + 1}") for i in range(levels - 1)]
    found.functions.extend([*inner, function(f"F{levels - 1}", "Relu", "Neg")])
    return found


def doubled(steps: int, op: str = "Concat<axis=0>(t{i}, t{i})") -> onnx.ModelProto:
    """A constant that each step makes twice as big."""
    body = " ".join(f"t{i + 1} = {op.format(i=i)}" for i in range(steps))
    text = f"g (float[N,3,8,8] x) => (float y) {{ c = Conv(x, w) {body} m = ReduceMean(t{steps}) y = Add(c, m) }}"
    stored = {"w": normal(4, 3, 1, 1), "t0": normal(16), "two": np.array([2], np.int64)}
    return proto(text, **{name: values for name, values in stored.items() if name in f"{text} w"})


LARGE = {
    "Concat": doubled(30),
    "Tile": doubled(30, "Tile(t{i}, two)"),
    "ConstantOfShape": "s = Mul(k, k) z = ConstantOfShape(s) m = ReduceMean(z)",
    "ConstantOfShape of what inference does not follow": "s = Pow(k, two) z = ConstantOfShape(s) m = ReduceMean(z)",
    "Expand": "z = Expand(one, k) m = ReduceMean(z)",
    "Range": "z = Range(nought, big, step) f = Cast<to=1>(z) m = ReduceMean(f)",
    "Resize": "z = Resize(t, , scales) m = ReduceMean(z)",
    "an outer product": "z = MatMul(column, row) m = ReduceMean(z)",
}
STORED = {
    "k": np.array([50_000, 50_000], np.int64),
    "two": np.array([2], np.int64),
    "one": np.ones(1, np.float32),
    "nought": np.array(0, np.int64),
    "big": np.array(10**10, np.int64),
    "step": np.array(1, np.int64),
    "t": normal(1, 1, 8, 8),
    "scales": np.array([1, 1, 1e4, 1e4], np.float32),
    "column": normal(50_000, 1),
    "row": normal(1, 50_000),
}


def large(case: str) -> onnx.ModelProto:
    body = LARGE[case]
    if isinstance(body, onnx.ModelProto):
        return body
    words = body.replace("(", " ").replace(")", " ").replace(",", " ").split()
    used = {name: values for name, values in STORED.items() if name in words}
    text = f"g (float[N,3,8,8] x) => (float y) {{ c = Conv(x, w) {body} y = Add(c, m) }}"
    return proto(text, w=normal(4, 3, 1, 1), **used)


@pytest.mark.parametrize("case", LARGE)
def test_constants_that_would_fill_the_memory_are_refused(case: str):
    with pytest.raises(CompressError, match=r"constants that the network computes take|engines can count"):
        validate(from_proto(large(case)))


def test_constants_that_do_not_pass():
    validate(from_proto(doubled(18)))


def test_functions_that_double_are_refused(tmp_path: Path):
    path = tmp_path / "m.onnx"
    onnx.save(doubling(30), path)
    for read in (lambda: load(path), lambda: from_proto(doubling(30))):
        with pytest.raises(CompressError, match="make more than 100000 nodes where they are inlined"):
            read()


def test_functions_that_are_called_often_are_inlined():
    assert sum(node.op == "Relu" for node in from_proto(doubling(8)).graph.nodes) == 128


def test_functions_with_big_constants_are_refused():
    net = doubling(10)
    value = helper.make_attribute("value", onnx.numpy_helper.from_array(normal(2**18)))
    constant = helper.make_node("Constant", [], ["unused"])
    constant.attribute.append(value)
    net.functions[-1].node.append(constant)
    with pytest.raises(CompressError, match="make more than 256 MiB"):
        from_proto(net)


@pytest.mark.parametrize(
    ("functions", "words"),
    [([function("F0", "F0")], "calls itself"), ([function(f"F{i}", f"F{i + 1}") for i in range(5000)], "100 deep")],
)
def test_functions_without_end_are_refused(functions: list[onnx.FunctionProto], words: str):
    net = doubling(1)
    del net.functions[:]
    net.functions.extend(functions)
    with pytest.raises(CompressError, match=words):
        from_proto(net)


def test_inputs_that_no_engine_can_count_are_refused():
    text = "g (float[1,3,1073741824,1073741824] x) => (float y) { y = Conv(x, w) }"
    with pytest.raises(CompressError, match="more than the 2147483647 elements") as caught:
        validate(model(text, w=normal(4, 3, 1, 1)))
    assert caught.value.where == "tensor 'x'"


def test_external_data_that_a_file_does_not_have_take_no_memory(tmp_path: Path):
    net = proto("g (float[N,3,8,8] x) => (float[N,4,8,8] y) { y = Conv(x, w) }", w=normal(4, 3, 1, 1))
    tensor = net.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    tensor.dims[0] = 2**45
    tensor.external_data.add(key="location", value="w.bin")
    (tmp_path / "w.bin").write_bytes(b"0" * 48)
    onnx.save(net, tmp_path / "m.onnx")
    with pytest.raises(CompressError, match="the file has 48"):
        load(tmp_path / "m.onnx")


def test_sparse_tensors_are_made_dense_up_to_a_size():
    net = proto("g (float[N,3,8,8] x) => (float[N,4,8,8] y) { c = Conv(x, w) y = Add(c, s) }", w=normal(4, 3, 1, 1))
    values = onnx.numpy_helper.from_array(normal(1), "s")
    indices = onnx.numpy_helper.from_array(np.array([[0, 0]], np.int64), "i")
    net.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [2**20, 2**20]))
    with pytest.raises(CompressError, match="too many for a sparse tensor"):
        from_proto(net)


MEASURED = """if True:
    import resource, subprocess, sys
    found = subprocess.run(sys.argv[1:], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    print(found.stdout, "kilobytes", resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
    sys.exit(found.returncode)
"""
"""A small process between: one that has just been forked counts the memory of its parent, here that of all tests."""


@pytest.mark.parametrize("command", [["check"], []])
@pytest.mark.parametrize("case", ["Concat", "functions"])
def test_the_refusal_takes_little_memory(command: list[str], case: str, tmp_path: Path):
    path = tmp_path / "m.onnx"
    onnx.save(doubling(30) if case == "functions" else doubled(40), path)
    options = [] if command else ["-p", "cleanup", "-o", str(tmp_path / "out.onnx")]
    run = [sys.executable, "-c", MEASURED, sys.executable, "-m", "onnx_compress", *command, str(path), *options]
    result = subprocess.run(run, capture_output=True, text=True, timeout=60, check=False)
    said, _, used = result.stdout.rpartition("kilobytes ")
    assert result.returncode == 1
    assert "100000 nodes" in said or "engines can count" in said
    assert int(used) * 1024 < MEMORY


def test_weights_that_are_made_up_pass():
    """As the light models of the onnx package have them."""
    body = "c = Conv(x, w) f = Flatten(c) m = ConstantOfShape(big) y = MatMul(f, m)"
    stored = {"w": normal(4, 3, 1, 1), "big": np.array([25_088, 4_096], np.int64)}
    validate(model(f"g (float[1,3,56,112] x) => (float y) {{ {body} }}", **stored))
