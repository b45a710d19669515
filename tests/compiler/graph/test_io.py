"""Files in and out: what is kept, what is refused, and that nothing half written is left."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import onnx
import onnx_graphsurgeon as gs
import pytest
from builders import listing, model, normal, proto, run
from onnx import AttributeProto, TensorProto, helper, numpy_helper
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.graph import io
from onnx_compress.compiler.graph.check import check_graph
from onnx_compress.compiler.graph.copies import copy_graph
from onnx_compress.compiler.graph.io import from_proto, graph_digest, load, save, save_graph, to_proto

CONV = "g (float[N,3,8,8] x) => (float[N,4,6,6] y) { y = Conv(x, w) }"
LIGHT = sorted((Path(onnx.__file__).parent / "backend/test/data/light").glob("light_*.onnx"))
X = normal(2, 3, 8, 8)


def write(path: Path, content: onnx.ModelProto) -> Path:
    path.write_bytes(content.SerializeToString())
    return path


def external(folder: Path, location: str = "w.bin", **entries: int) -> onnx.ModelProto:
    """A Conv whose weight lies in a file."""
    content = proto(CONV, w=normal(4, 3, 3, 3))
    (weight,) = content.graph.initializer
    if location and not os.path.isabs(location) and ".." not in location:
        (folder / location).parent.mkdir(exist_ok=True, parents=True)
        (folder / location).write_bytes(weight.raw_data)
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    for key, value in {"location": location, **entries}.items():
        weight.external_data.add(key=key, value=str(value))
    return content


def test_metadata_declarations_and_opsets_survive(tmp_path: Path):
    content = proto(CONV, opset=16, ir=7, domains=', "com.example" : 3', w=normal(4, 3, 3, 3))
    content.producer_name, content.model_version, content.doc_string = "me", 7, "about"
    content.domain, content.graph.doc_string, content.graph.name = "org", "graph", "net"
    content.metadata_props.add(key="author", value="me")
    content.graph.node[0].doc_string = "stack trace"
    save(load(write(tmp_path / "a.onnx", content)), tmp_path / "b.onnx")
    after = onnx.load(tmp_path / "b.onnx")
    for field in (
        "ir_version",
        "producer_name",
        "model_version",
        "doc_string",
        "domain",
        "metadata_props",
        "opset_import",
    ):
        assert getattr(after, field) == getattr(content, field), field
    assert after.graph.input == content.graph.input
    assert after.graph.output == content.graph.output
    assert (after.graph.name, after.graph.doc_string) == ("net", "graph")
    assert after.graph.node[0].doc_string == "stack trace"


def test_the_same_model_gives_the_same_bytes(tmp_path: Path):
    source = write(tmp_path / "a.onnx", proto(CONV, w=normal(4, 3, 3, 3)))
    save(load(source), tmp_path / "b.onnx")
    save(load(source), tmp_path / "c.onnx")
    assert (tmp_path / "b.onnx").read_bytes() == (tmp_path / "c.onnx").read_bytes()


def test_a_proto_given_by_the_caller_stays_as_it_is():
    content = proto(CONV, w=normal(4, 3, 3, 3))
    before = content.SerializeToString()
    from_proto(content)
    assert content.SerializeToString() == before


@pytest.mark.parametrize("path", LIGHT, ids=lambda path: path.stem)
def test_round_trip_of_the_light_models(path: Path, tmp_path: Path):
    save(load(path), tmp_path / "out.onnx")
    before, after = onnx.load(path), onnx.load(tmp_path / "out.onnx")
    assert [node.op_type for node in after.graph.node] == [node.op_type for node in before.graph.node]
    assert [value.name for value in after.graph.output] == [value.name for value in before.graph.output]
    onnx.checker.check_model(after)
    stored = {tensor.name for tensor in before.graph.initializer}
    feeds = {
        value.name: normal(*(dim.dim_value for dim in value.type.tensor_type.shape.dim))
        for value in before.graph.input
        if value.name not in stored
    }
    if "vgg" not in path.stem and "alexnet" not in path.stem:
        expected = run(before, **feeds)
        for name, result in run(after, **feeds).items():
            np.testing.assert_array_equal(result, expected[name])


# --- external data


@pytest.mark.parametrize("location", ["w.bin", "weights/deep/w.bin"])
def test_external_data_is_read(tmp_path: Path, location: str):
    loaded = load(write(tmp_path / "a.onnx", external(tmp_path, location)))
    np.testing.assert_array_equal(run(loaded, x=X)["y"], run(proto(CONV, w=normal(4, 3, 3, 3)), x=X)["y"])


def test_external_weights_lie_in_memory_once(tmp_path: Path):
    """The IR would otherwise keep the proto they came in."""
    convs = (f"{after} = Conv({before}, w_{after})" for before, after in ("xa", "ab", "bc", "cd", "de", "ey"))
    text = f"g (float[N,8,9,9] x) => (float[N,8,9,9] y) {{ {' '.join(convs)} }}"
    weights = {f"w_{name}": normal(8, 8, 1, 1, seed=ord(name)) for name in "abcdey"}
    content = proto(text, **weights)
    onnx.save(content, tmp_path / "a.onnx", save_as_external_data=True, size_threshold=0)
    loaded = load(tmp_path / "a.onnx")
    stored = [tensor for tensor in loaded.graph.tensors().values() if isinstance(tensor, gs.Constant)]
    assert len(stored) == 6
    assert all(isinstance(tensor._values, np.ndarray) for tensor in stored)
    x = normal(1, 8, 9, 9)
    np.testing.assert_array_equal(run(loaded, x=x)["y"], run(model(text, **weights), x=x)["y"])


BRANCHES = """g (float[N,300] x, bool c) => (float[N,300] y) {
    y = If(c) <
        then_branch = then () => (float[N,300] t) { t = Add(x, b) },
        else_branch = other () => (float[N,300] e) { e = Identity(x) }
    >
}"""


def test_a_weight_in_a_file_may_be_read_by_a_branch_alone(tmp_path: Path):
    content = proto(BRANCHES, b=normal(300))
    onnx.save(content, tmp_path / "a.onnx", save_as_external_data=True, size_threshold=0)
    save(load(tmp_path / "a.onnx"), tmp_path / "b.onnx")
    feeds = {"x": normal(2, 300, seed=1), "c": np.array(True)}
    np.testing.assert_array_equal(run(onnx.load(tmp_path / "b.onnx"), **feeds)["y"], feeds["x"] + normal(300))


@pytest.mark.parametrize("beside", [False, True])
def test_a_default_value_is_read_wherever_it_lies(tmp_path: Path, beside: bool):
    content = proto("g (float[2] x, float[2] d) => (float[2] y) { y = Neg(x) }", d=normal(2))
    onnx.save(content, tmp_path / "a.onnx", save_as_external_data=beside, size_threshold=0)
    (_, default) = load(tmp_path / "a.onnx").graph.inputs
    assert isinstance(default, gs.Constant)
    np.testing.assert_array_equal(default.values, normal(2))


def test_weights_are_arrays_of_their_own_and_the_file_is_measured(tmp_path: Path):
    weights = {"w": normal(4, 3, 3, 3), "b": np.arange(4, dtype=np.float32)}
    text = CONV.replace("Conv(x, w)", "Conv(x, w, b)")
    onnx.save(proto(text, **weights), tmp_path / "a.onnx")
    content = proto(text, **weights)
    onnx.save(content, tmp_path / "b.onnx", save_as_external_data=True, size_threshold=0, location="b.bin")
    for names in (["a.onnx"], ["b.onnx", "b.bin"]):
        loaded = load(tmp_path / names[0])
        assert loaded.stored == sum((tmp_path / name).stat().st_size for name in names)
        for name, values in weights.items():
            tensor = loaded.graph.tensors()[name]
            assert isinstance(tensor._values, np.ndarray)
            np.testing.assert_array_equal(tensor.values, values)


def test_external_data_with_offset_and_length(tmp_path: Path):
    content = external(tmp_path, offset=64, length=4 * 108)
    (tmp_path / "w.bin").write_bytes(b"\1" * 64 + normal(4, 3, 3, 3).tobytes() + b"\2" * 9)
    loaded = load(write(tmp_path / "a.onnx", content))
    np.testing.assert_array_equal(loaded.graph.nodes[0].inputs[1].values, normal(4, 3, 3, 3))


@pytest.mark.parametrize("location", ["../w.bin", "/etc/hostname", "a/../../w.bin", "", "link.bin"])
def test_external_data_outside_of_the_folder_is_refused(tmp_path: Path, location: str):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "w.bin").write_bytes(normal(4, 3, 3, 3).tobytes())
    content = external(folder, location)
    if location == "link.bin":
        (folder / "link.bin").unlink()
        (folder / "link.bin").symlink_to(tmp_path / "w.bin")
    with pytest.raises(CompressError, match=r"tensor 'w'.*outside"):
        load(write(folder / "a.onnx", content))


def test_missing_external_data_names_the_tensor(tmp_path: Path):
    content = external(tmp_path)
    (tmp_path / "w.bin").unlink()
    with pytest.raises(CompressError, match=r"'w' is missing"):
        load(write(tmp_path / "a.onnx", content))


@pytest.mark.parametrize("entries", [{}, {"offset": 8}, {"length": 4 * 108}, {"length": 16}])
def test_external_data_that_is_too_short_names_the_tensor(tmp_path: Path, entries: dict[str, int]):
    content = external(tmp_path, **entries)
    (tmp_path / "w.bin").write_bytes(bytes(4 * 107))
    with pytest.raises(CompressError, match="tensor 'w' needs 432 bytes"):
        load(write(tmp_path / "a.onnx", content))


def test_a_big_model_is_saved_with_external_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(io, "INLINE_LIMIT", 0)
    original = model(CONV, w=normal(4, 3, 3, 3))
    big = model(
        "g (float[N,16,8,8] x) => (float[N,32,6,6] y) { y = Conv(x, w, b) }", w=normal(32, 16, 3, 3), b=normal(32)
    )
    written = save(big, tmp_path / "big.onnx")
    assert written == sum(path.stat().st_size for path in tmp_path.iterdir())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["big.onnx", "big.onnx.data"]
    onnx.checker.check_model(str(tmp_path / "big.onnx"))
    x = normal(1, 16, 8, 8)
    np.testing.assert_array_equal(run(load(tmp_path / "big.onnx"), x=x)["y"], run(big, x=x)["y"])
    save(original, tmp_path / "small.onnx")
    assert load(tmp_path / "small.onnx").graph.nodes[0].op == "Conv"


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    target = write(tmp_path / "out.onnx", proto(CONV, w=normal(4, 3, 3, 3)))
    before = target.read_bytes()
    monkeypatch.setattr(io, "write", _disk_full)
    with pytest.raises(CompressError, match="No space left"):
        save(model(CONV, w=normal(4, 3, 3, 3, seed=1)), target)
    assert target.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["out.onnx"]


def test_a_missing_folder_is_named(tmp_path: Path):
    with pytest.raises(CompressError, match=r"nowhere.*cannot write"):
        save(model(CONV, w=normal(4, 3, 3, 3)), tmp_path / "nowhere" / "out.onnx")


def _disk_full(*args: object) -> None:
    raise OSError(28, "No space left on device")


# --- what is not a model


def test_files_that_are_no_model(tmp_path: Path):
    good = proto(CONV, w=normal(4, 3, 3, 3)).SerializeToString()
    cases = {
        "empty": b"",
        "cut": good[: len(good) // 2],
        "text": b"hello, world\n",
        "image": b"\x89PNG\r\n\x1a\n" + bytes(99),
    }
    for name, content in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(CompressError, match=r"empty|ONNX"):
            load(tmp_path / name)
    with pytest.raises(CompressError, match="is a folder"):
        load(tmp_path)
    with pytest.raises(CompressError, match="no such file"):
        load(tmp_path / "none.onnx")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.float64])
def test_weights_with_nan_or_inf_are_refused(bad: float, dtype: type):
    weight = normal(4, 3, 3, 3, dtype=dtype)
    weight[1, 2, 0, 0] = bad
    with pytest.raises(CompressError, match="'w' holds NaN or Inf"):
        model(CONV.replace("float[", {"f": "float[", "e": "float16[", "d": "double["}[np.dtype(dtype).char]), w=weight)


def test_an_infinite_mask_is_no_weight():
    mask = np.array([0, -np.inf], np.float32)
    loaded = model("g (float[N,2] x) => (float[N,2] y) { a = Add(x, mask) y = Softmax(a) }", mask=mask)
    assert run(loaded, x=normal(1, 2))["y"][0, 1] == 0


# --- structure that the IR handles by its own rules


def test_subgraphs_read_outer_tensors_and_the_weights_stay_outside():
    branches = """then_branch = a () => (float[4] t) { u = Add(h, w) t = Mul(u, k) },
        else_branch = b () => (float[4] e) <float[4] k2 = {4,3,2,1}> { e = Mul(h, k2) }"""
    kept = model(
        f"g (float[4] x, bool c) => (float[4] y) {{ h = Relu(x) k = Neg(w) y = If(c) <{branches}> }}", w=normal(4)
    )
    check_graph(kept)
    after = to_proto(kept)
    onnx.checker.check_model(after, full_check=True)
    assert [tensor.name for tensor in after.graph.initializer] == ["w"]
    inner = {a.name: [t.name for t in a.g.initializer] for a in after.graph.node[-1].attribute}
    assert inner == {"then_branch": [], "else_branch": ["k2"]}
    x, w = normal(4, seed=3), normal(4)
    expected = (np.maximum(x, 0) + w) * -w
    np.testing.assert_allclose(run(kept, x=x, c=np.array(True))["y"], expected, rtol=1e-6)


def test_loops_keep_their_state():
    body = """body = b (int64 i, bool go, float[2] s) => (bool go2, float[2] s2, float[2] o) {
        go2 = Identity(go) s2 = Add(s, x) o = Identity(s2) }"""
    kept = model(
        f"g (float[2] x) => (float[2] y, float[3,2] all) <int64 n = {{3}}> {{ y, all = Loop(n, , x) <{body}> }}"
    )
    check_graph(kept)
    np.testing.assert_allclose(run(kept, x=normal(2))["y"], 4 * normal(2), rtol=1e-6)


def test_local_functions_are_inlined_nested_ones_too():
    text = """<ir_version: 8, opset_import: ["" : 17, "local" : 1]>
    g (float[2] x) => (float[2] y) { y = local.outer(x) }
    <domain: "local", opset_import: ["" : 17, "local" : 1]> outer (a) => (b) { c = local.inner(a) b = Neg(c) }
    <domain: "local", opset_import: ["" : 17]> inner (a) => (b) { b = Relu(a) }"""
    inlined = from_proto(onnx.parser.parse_model(text))
    assert [node.op for node in inlined.graph.nodes] == ["Relu", "Neg"]
    assert [entry.domain for entry in to_proto(inlined).opset_import] == [""]
    np.testing.assert_allclose(run(inlined, x=normal(2))["y"], -np.maximum(normal(2), 0))


def test_custom_operators_pass_through():
    kept = model(
        'g (float[2] x) => (float[2] y) { a = com.example.Magic<mode = "fast", level = 3>(x) y = Relu(a) }',
        domains=', "com.example" : 2',
    )
    check_graph(kept)
    (magic, _) = to_proto(kept).graph.node
    assert (magic.domain, magic.op_type, len(magic.attribute)) == ("com.example", "Magic", 2)


def test_attributes_that_the_ir_cannot_hold_come_back():
    content = proto("g (float[2] x) => (float[2] y) { y = com.example.Magic(x) }", domains=', "com.example" : 2')
    attributes = content.graph.node[0].attribute
    attributes.append(helper.make_attribute("blob", b"\xff\xfe\x00"))
    attributes.append(onnx.AttributeProto(name="none", type=onnx.AttributeProto.INTS))
    attributes.append(helper.make_attribute("kind", helper.make_tensor_type_proto(1, [2])))
    attributes.append(
        helper.make_attribute("two", [numpy_helper.from_array(normal(2)), numpy_helper.from_array(normal(3))])
    )
    after = to_proto(from_proto(content)).graph.node[0].attribute
    assert sorted(a.name for a in after) == ["blob", "kind", "none", "two"]
    assert {a.name: a for a in after}["blob"].s == b"\xff\xfe\x00"


@pytest.mark.parametrize("kind", [AttributeProto.FLOATS, AttributeProto.GRAPH, AttributeProto.TENSORS])
def test_attributes_with_data_of_another_type_are_refused(kind: int):
    content = proto("g (float[N,3,8,8] x) => (float y) { y = Conv<pads = [1, 1, 1, 1]>(x, w) }", w=normal(4, 3, 3, 3))
    content.graph.node[0].attribute[0].type = kind
    with pytest.raises(CompressError, match="its attribute 'pads' is of type"):
        from_proto(content)


def test_a_list_of_graphs_is_refused():
    content = proto("g (float[2] x) => (float[2] y) { y = com.example.Magic(x) }", domains=', "com.example" : 2')
    content.graph.node[0].attribute.append(helper.make_attribute("bodies", [onnx.GraphProto(name="a")]))
    with pytest.raises(CompressError, match="'bodies' is a list of graphs"):
        from_proto(content)


def test_sequences_and_optionals_keep_their_types():
    kept = model(
        """g (float[2] x, seq(float[2]) s, optional(float[2]) o) => (seq(float[2]) t, float[2] y) {
        t = SequenceInsert(s, x) y = OptionalGetElement(o) }"""
    )
    check_graph(kept)
    after = to_proto(kept).graph
    assert [value.type.WhichOneof("value") for value in after.input] == [
        "tensor_type",
        "sequence_type",
        "optional_type",
    ]
    assert after.output[0].type.HasField("sequence_type")


@pytest.mark.parametrize(
    "kind", [TensorProto.BFLOAT16, TensorProto.FLOAT8E4M3FN, TensorProto.FLOAT8E5M2FNUZ, TensorProto.INT4]
)
def test_types_that_numpy_lacks_keep_their_bytes(kind: int):
    content = proto("g (float[4] x) => (float[4] y) { c = Cast<to = 1>(w) y = Add(x, c) }", opset=21, ir=10)
    content.graph.initializer.append(helper.make_tensor("w", kind, [4], [1, 2, -1, 0]))
    before = helper.make_tensor("w", kind, [4], [1, 2, -1, 0])
    (after,) = to_proto(from_proto(content)).graph.initializer
    assert (after.data_type, after.raw_data, after.int32_data) == (kind, before.raw_data, before.int32_data)


def test_sparse_constants_become_dense():
    content = proto("g (float[3] x) => (float[3] y) { y = Add(x, w) }")
    sparse = content.graph.sparse_initializer.add(dims=[3])
    sparse.values.CopyFrom(numpy_helper.from_array(np.array([2.0], np.float32), "w"))
    sparse.indices.CopyFrom(numpy_helper.from_array(np.array([1])))
    (dense,) = to_proto(from_proto(content)).graph.initializer
    np.testing.assert_array_equal(numpy_helper.to_array(dense), [0, 2, 0])


def test_names_are_given_and_made_unique():
    content = proto("g (float[2] x) => (float[2] y) { a = Relu(x) b = Relu(a) y = Relu(b) }")
    content.graph.node[1].name = content.graph.node[2].name = "r"
    assert [node.name for node in from_proto(content).graph.nodes] == ["Relu_0", "r", "r_1"]


def test_the_long_name_of_the_default_domain():
    content = proto("g (float[2] x) => (float[2] y) { y = Relu(x) }")
    content.opset_import[0].domain = content.graph.node[0].domain = "ai.onnx"
    kept = from_proto(content)
    assert not kept.graph.nodes[0].domain
    np.testing.assert_allclose(run(kept, x=normal(2))["y"], np.maximum(normal(2), 0))


# --- initializers listed as inputs


def test_up_to_ir_3_listed_initializers_are_constants():
    listed = model(
        "g (float[N,1,4,4] x, float[1,1,1,1] w, float[1] b) => (float[N,1,4,4] y) { y = Conv(x, w, b) }", ir=3
    )
    listed = from_proto(_with_initializers(to_proto(listed), w=normal(1, 1, 1, 1), b=normal(1)))
    conv = listed.graph.nodes[0]
    assert [tensor.name for tensor in listed.graph.inputs] == ["x"]
    listed.graph.nodes[0].inputs[1] = type(conv.inputs[1])("new", normal(1, 1, 1, 1))
    after = to_proto(listed)
    assert [value.name for value in after.graph.input] == ["x", "b", "new"]
    onnx.checker.check_model(after)


def test_up_to_ir_3_the_list_describes_what_has_the_name_now():
    """A pass may give the name of a weight that is gone to a tensor of another type."""
    content = proto("g (float[N,4] x, float[1] w) => (float[N,4] y) { z = Mul(x, w) y = Reshape(z, s) }", ir=3)
    given = from_proto(_with_initializers(content, w=normal(1), s=np.array([-1, 4])))
    scale, reshape = given.graph.nodes
    scale.inputs[1], reshape.inputs[1] = (
        gs.Constant("v", normal(1, 4)),
        gs.Constant("w", np.array([-1, 4])),
    )
    after = to_proto(given)
    kinds = {entry.name: entry.type.tensor_type for entry in after.graph.input}
    assert (kinds["w"].elem_type, kinds["w"].shape.dim[0].dim_value) == (TensorProto.INT64, 2)
    onnx.checker.check_model(after, full_check=True)
    assert run(given, x=normal(2, 4))["y"].shape == (2, 4)


def test_from_ir_4_on_a_listed_initializer_is_an_input_with_a_default():
    content = proto("g (float[2] x, float[2] w) => (float[2] y) { y = Add(x, w) }", w=normal(2))
    kept = from_proto(content)
    assert [tensor.name for tensor in kept.graph.inputs] == ["x", "w"]
    after = to_proto(kept)
    assert after.graph.input == content.graph.input
    np.testing.assert_allclose(run(kept, x=normal(2))["y"], 2 * normal(2))
    np.testing.assert_allclose(run(kept, x=normal(2), w=np.zeros(2, np.float32))["y"], normal(2))


def _with_initializers(content: onnx.ModelProto, **weights: np.ndarray) -> onnx.ModelProto:
    content.graph.initializer.extend(numpy_helper.from_array(values, name) for name, values in weights.items())
    return content


def test_an_input_can_be_an_output():
    kept = model("g (float[2] x) => (float[2] x, float[2] y) { y = Relu(x) }")
    check_graph(kept)
    assert [value.name for value in to_proto(kept).graph.output] == ["x", "y"]
    assert listing(kept.graph) == ["y = Relu(x)"]


def test_a_graph_without_an_envelope_is_saved_as_it_is(tmp_path: Path):
    found = model("g (float[N,4] x) => (float[N,3] y) { y = MatMul(x, w) }", w=normal(4, 3))
    graph = copy_graph(found.graph)
    save_graph(graph, tmp_path / "g.onnx")
    loaded = load(tmp_path / "g.onnx").graph
    assert graph_digest(loaded) == graph_digest(graph) == graph_digest(found.graph)
    assert onnx.load(tmp_path / "g.onnx").graph.output[0] == to_proto(found).graph.output[0]
    graph.nodes[0].inputs[1] = gs.Constant("w", np.zeros((4, 3), np.float32))
    assert graph_digest(graph) != graph_digest(found.graph)
