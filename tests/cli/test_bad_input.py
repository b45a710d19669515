"""Each bad input: one line that says what, where and how to mend it; the exit code; no output file."""

from __future__ import annotations

import builtins
import errno
import io
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import builders
import front
import numpy as np
import onnx
import pytest
from front import call


class Refusal:
    """Runs the command line in a folder and expects it to refuse."""

    def __init__(self, folder: Path, capsys: pytest.CaptureFixture[str]):
        self.folder, self._capsys = folder, capsys
        self.model = front.write_model(folder / "net.onnx")

    def __call__(self, code: int, *words: str, model: Path | None = None, options: tuple[object, ...] = ()) -> str:
        before = set(self.folder.rglob("*"))
        base = () if "-p" in options else ("-p", "cleanup")
        assert call(self.model if model is None else model, *base, *options) == code
        shown = self._capsys.readouterr()
        assert shown.err.startswith("error: ") and shown.err.count("\n") == 1, shown.err
        assert shown.out == ""
        assert all(word in shown.err for word in words), shown.err
        assert {path for path in self.folder.rglob("*") if "__pycache__" not in path.parts} == before
        return shown.err

    def file(self, name: str, content: bytes = b"") -> Path:
        (self.folder / name).write_bytes(content)
        return self.folder / name

    def save(self, name: str, proto: onnx.ModelProto) -> Path:
        return front.write_model(self.folder / name, proto)

    def data(self, **arrays: np.ndarray) -> Path:
        np.savez(self.folder / "data.npz", **arrays)
        return self.folder / "data.npz"


@pytest.fixture
def refuse(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Refusal:
    return Refusal(tmp_path, capsys)


def test_not_a_file(refuse: Refusal):
    refuse(1, "none.onnx", "no such file", model=refuse.folder / "none.onnx")
    refuse(1, "folder", model=refuse.folder)


def test_not_onnx(refuse: Refusal):
    refuse(1, "text.onnx", "not an ONNX model", model=refuse.file("text.onnx", b"hello, this is text\n" * 20))
    refuse(1, "empty", model=refuse.file("empty.onnx"))


def test_truncated(refuse: Refusal):
    whole = refuse.model.read_bytes()
    refuse(1, "half.onnx", "not an ONNX model", model=refuse.file("half.onnx", whole[: len(whole) // 2]))


def test_a_model_without_conv(refuse: Refusal):
    model = refuse.save("flat.onnx", builders.proto("g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }"))
    refuse(1, "flat.onnx", "no Conv", model=model)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_not_finite(refuse: Refusal, value: float):
    w = builders.normal(4, 3, 3, 3)
    w[1, 2, 0, 0] = value
    graph = "g (float[N,3,8,8] x) => (float[N,4,6,6] y) { y = Conv(x, w) }"
    refuse(1, "'w'", model=refuse.save("bad.onnx", builders.proto(graph, w=w)))


def _reshaped(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].dims[0] = 5


def _cut(proto: onnx.ModelProto) -> None:
    proto.graph.initializer[0].raw_data = proto.graph.initializer[0].raw_data[:-3]


def _backwards(proto: onnx.ModelProto) -> None:
    nodes = list(proto.graph.node)[::-1]
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)


def _lone(proto: onnx.ModelProto) -> None:
    del proto.graph.node[0].input[1:]


def _grouped(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].attribute.append(onnx.helper.make_attribute("group", 3))


def _unknown(proto: onnx.ModelProto) -> None:
    proto.graph.node[0].attribute.append(onnx.helper.make_attribute("colour", 3))


def _untyped(proto: onnx.ModelProto) -> None:
    proto.graph.output[0].type.Clear()


def _future(proto: onnx.ModelProto) -> None:
    proto.opset_import[0].version = 1 << 40


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_reshaped, "are not 5 x 3 x 3 x 3 of FLOAT"),
        (_cut, "are not 16 x 3 x 3 x 3 of FLOAT"),
        (_backwards, "nothing wrote before"),
        (_lone, "input size 1"),
        (_grouped, "3 groups do not fit"),
        (_unknown, "colour"),
        (_untyped, "it has no type"),
        (_future, "opset 1099511627776"),
    ],
)
def test_broken_models(refuse: Refusal, damage: Callable[[onnx.ModelProto], None], words: str):
    proto = front.classifier()
    damage(proto)
    refuse(1, words, "again", model=refuse.save("bad.onnx", proto))


def test_names_that_are_no_text(refuse: Refusal):
    content = refuse.model.read_bytes().replace(b"pads", b"p\xebds")
    refuse(1, "is not text", "again", model=refuse.file("bad.onnx", content))


def test_convs_that_nothing_depends_on(refuse: Refusal):
    graph = "g (float[N,3,8,8] x) => (float[N,3,8,8] y) { t = Conv(x, w) y = Relu(x) }"
    refuse(
        1,
        "no output depends on a Conv",
        model=refuse.save("n.onnx", builders.proto(graph, w=np.ones((4, 3, 3, 3), np.float32))),
    )


def test_inputs_that_do_not_fit_into_memory(refuse: Refusal):
    graph = f"g (float[1,3,8,{1 << 40}] x) => (float[1,4,6,{(1 << 40) - 2}] y) {{ y = Conv(x, w) }}"
    model = refuse.save("n.onnx", builders.proto(graph, w=builders.normal(4, 3, 3, 3)))
    refuse(1, "more than the 2147483647 elements", model=model)


@pytest.mark.parametrize("spec", ["cleanup", "basis", "quantize"])
@pytest.mark.parametrize("operator", ["Relu", "plugins.MyAct"])
@pytest.mark.parametrize(
    ("opset", "norm"),
    [
        (9, "y, m, v, p, q = BatchNormalization(a, s, s, s, s)"),
        (17, "y, m, v = BatchNormalization<training_mode=1>(a, s, s, s, s)"),
    ],
)
def test_training_mode_is_refused_before_any_pass(refuse: Refusal, opset: int, norm: str, operator: str, spec: str):
    """Also where onnxruntime lacks an operator, so that no output tells what legalization would do."""
    graph = f"g (float[1,3,8,8] x) => (float[1,4,8,8] y) {{ c = Conv(x, w) a = {operator}(c) [norm] {norm} }}"
    weight, ones = builders.normal(4, 3, 1, 1), np.ones(4, np.float32)
    model = refuse.save("n.onnx", builders.proto(graph, opset=opset, domains=', "plugins" : 1', w=weight, s=ones))
    plugin = ("--plugin-op", "MyAct") if "MyAct" in operator else ()
    refuse(1, "node 'norm'", "in training mode", "inference mode", model=model, options=("-p", spec, *plugin))


def test_weight_as_a_graph_input(refuse: Refusal):
    graph = "g (float[N,3,8,8] x, float[4,3,3,3] w) => (float[N,4,6,6] y) { y = Conv(x, w) }"
    refuse(1, "no Conv has a constant weight", model=refuse.save("open.onnx", builders.proto(graph)))


def _external(folder: Path, location: str) -> Path:
    proto = front.classifier()
    onnx.save(proto, folder / "ext.onnx", save_as_external_data=True, location="ext.data", size_threshold=0)
    proto = onnx.load(folder / "ext.onnx", load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            entry.value = location if entry.key == "location" else entry.value
    return front.write_model(folder / "ext.onnx", proto)


def test_external_data_that_are_a_pointer_of_git_lfs(refuse: Refusal):
    model = _external(refuse.folder, "ext.data")
    refuse.file("ext.data", DISGUISES["a pointer of Git LFS"])
    refuse(1, "ext.data", "no weights, but a pointer of Git LFS", "git lfs pull", model=model)


def test_missing_external_data(refuse: Refusal):
    refuse(1, "other.data", "missing", model=_external(refuse.folder, "other.data"))


@pytest.mark.parametrize("location", ["../outside.data", "/etc/hostname"])
def test_external_data_outside_of_the_folder(refuse: Refusal, location: str):
    refuse(1, location, "outside", model=_external(refuse.folder, location))


@pytest.mark.parametrize(
    ("key", "value", "words"),
    [
        ("location", "ext\0.data", "outside of the model's folder"),
        ("location", "", "outside of the model's folder"),
        ("location", "a" * 400, "File name too long"),
        ("location", ".", "is missing"),
        ("offset", "-8", "Invalid argument"),
        ("offset", "abc", "cannot read the data"),
        ("length", "-8", "cannot read the data"),
        ("length", str(1 << 50), "the file has"),
    ],
)
def test_external_data_with_odd_entries(refuse: Refusal, key: str, value: str, words: str):
    model = _external(refuse.folder, "ext.data")
    proto = onnx.load(model, load_external_data=False)
    for entry in proto.graph.initializer[0].external_data:
        entry.value = value if entry.key == key else entry.value
    refuse(1, words, model=refuse.save("odd.onnx", proto))


DISGUISES = {
    "a pointer of Git LFS": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n",
    "an HTML page": b"<!DOCTYPE html><html></html>",
    "an XML file": b"<?xml version='1.0'?><a/>",
    "a gzip archive": b"\x1f\x8b" + bytes(40),
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(40),
    "a pickle": b"\x80\x04" + b"\x95" * 40,
    "a text file": b"hello, world\n",
    "a JSON file": b'{"a": 1}',
    "a file of zeros": bytes(900),
}


@pytest.mark.parametrize("what", DISGUISES)
def test_what_a_file_is_instead_is_said(refuse: Refusal, what: str):
    refuse(1, "bad.onnx", f"not an ONNX model, but {what}", model=refuse.file("bad.onnx", DISGUISES[what]))
    for name in ("bad.npz", "bad.npy"):
        data = refuse.file(name, DISGUISES[what])
        said = refuse(1, name, f"no arrays of numpy, but {what}", options=("--data", data))
        assert "allow_pickle" not in said


def _npy(shape: str, kind: str = "<f4") -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + bytes(4096)


@pytest.mark.parametrize(
    "content",
    [
        *(_npy("(-1, 3, 8, 8)"), _npy("(2, -3, 8, 8)"), _npy("(1.5, 3)"), _npy(f"({10**12}, 3, 8, 8)")),
        *(_npy("(99999999999999999999, 3)"), _npy("(2,)", "zzz"), _npy("(2,)", "|O"), _npy("(" * 3000)),
        b"\x93NUMPY\x09\x00" + bytes(100),
    ],
)
def test_arrays_with_odd_headers(refuse: Refusal, content: bytes):
    refuse(1, "x.npy", options=("--data", refuse.file("x.npy", content)))
    with zipfile.ZipFile(refuse.folder / "x.npz", "w") as archive:
        archive.writestr("x.npy", content)
    refuse(1, "x.npz", options=("--data", refuse.folder / "x.npz"))


@pytest.mark.parametrize("name", ["x.npy", "readme.txt"])
def test_an_archive_of_something_else(refuse: Refusal, name: str):
    with zipfile.ZipFile(refuse.folder / "x.npz", "w") as archive:
        archive.writestr(name, b"no array")
    refuse(1, "x.npz", "is no array of numpy", options=("--data", refuse.folder / "x.npz"))


@pytest.mark.parametrize("spec", ["basis:energy=0.9", "quantize", "prune:macs=0.6", "sbf:macs=0.7", "codebook"])
def test_data_that_overflow_are_no_fault_of_a_pass(
    refuse: Refusal, spec: str, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
):
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))
    values = builders.normal(128, 3, 8, 8)
    said = refuse(1, "overflow", "--preprocess", options=("-p", spec, "--data", refuse.data(x=values * 1e30)))
    assert "report" not in said and not list(Path().iterdir())
    huge = refuse.data(x=values.astype(np.float64) * 1e300)
    refuse(1, "holds values that float32 cannot hold", options=("-p", spec, "--data", huge))


@pytest.mark.parametrize("name", ["net.onnx", "data.npz", "run.toml"])
def test_a_file_that_may_not_be_read_is_there(refuse: Refusal, name: str, monkeypatch: pytest.MonkeyPatch):
    """As root may read everything, opening is refused here."""
    data, toml = refuse.data(x=front.images(2)), refuse.file("run.toml")
    really = io.open

    def refused(file: object, *rest: Any, **more: Any) -> object:
        if str(file).endswith(name):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(file))
        return really(file, *rest, **more)  # pyright: ignore

    with monkeypatch.context() as patch:
        for module in (io, builtins):
            patch.setattr(module, "open", refused)
        code = 2 if name == "run.toml" else 1
        refuse(code, name, "Permission denied", options=("--data", data, "--config", toml))


def test_a_name_that_is_too_long(refuse: Refusal):
    name = refuse.folder / ("a" * 300)
    refuse(1, "File name too long", model=name)
    for flag in ("--data", "--report", "-o", "--plugin", "--config"):
        code = 2 if flag == "--config" else 1
        refuse(code, "File name too long", options=(flag, f"{name}.py"))


def test_unknown_pass_and_option(refuse: Refusal):
    refuse(2, "unknown pass 'bassis'", "did you mean 'basis'", options=("-p", "bassis"))
    refuse(2, "no option 'mac'", "did you mean 'macs'", options=("-p", "basis:mac=0.5"))
    refuse(2, "cannot be 'half'", options=("-p", "basis:macs=half"))


def test_values_out_of_range(refuse: Refusal):
    refuse(2, "macs=1.7", options=("-p", "basis:macs=1.7"))
    refuse(2, "share=1.7", options=("-p", "zero-small:share=1.7", "--plugin", front.ZERO_SMALL))


def test_wrong_usage(refuse: Refusal):
    refuse(2, "unknown target 'nano'", "xavier", options=("--target", "nano"))
    refuse(2, "--include", options=("--include", "("))
    refuse(2, "--nonsense", options=("--nonsense",))
    refuse(2, "--samples", options=("--samples", "0"))
    refuse(2, "exclude each other", options=("-q", "-v"))
    refuse(2, "no such plug-in", options=("--plugin", refuse.folder / "none.py"))
    refuse(2, "is the name of a folder", options=("-o", f"{refuse.folder}/none/"))
    refuse(2, "is the name of a folder", options=(f"--report={refuse.folder}/none/",))
    for spec in (
        "size=1000000",
        "crop=99999",
        "std=1e-300",
        "mean=1e39",
        "std=1e-39",
        "std=nan",
        "mean=1e30:std=1e-30",
    ):
        refuse(2, "--preprocess", options=("--data", refuse.data(x=front.images(2)), "--preprocess", spec))
    refuse(2, "registers no pass", options=("--plugin", "os"))
    refuse(2, "takes a preset or a spec", options=("--data", refuse.data(x=front.images(2)), "--preprocess", "a.py:f"))
    refuse(2, "did you mean 'cifar10'", options=("--data", refuse.data(x=front.images(2)), "--preprocess", "cifar"))


def test_data_of_the_wrong_shape(refuse: Refusal):
    data = refuse.data(images=np.zeros((4, 9, 9, 3), np.uint8))
    refuse(1, "expected float32 (?, 3, 8, 8)", "(N, 3, 9, 9)", options=("--data", data))


def test_empty_data(refuse: Refusal):
    refuse(1, "data.npz", "no samples", options=("--data", refuse.data(images=front.images(0))))
    refuse(2, "no such data", options=("--data", refuse.folder / "none.npz"))


def test_labels_out_of_range(refuse: Refusal):
    data = refuse.data(images=front.images(2), labels=np.array([0, 7]))
    refuse(1, "expected labels 0 to 6, found 0 to 7", options=("--data", data))


def test_output_folder_missing(refuse: Refusal):
    refuse(1, "no such folder", options=("-o", refuse.folder / "none" / "out.onnx"))
    refuse(1, "no such folder", options=("-o", refuse.model / "out.onnx"))
    refuse(2, "is a folder", options=("-o", refuse.folder))
    refuse(1, "no such folder", options=("--report", refuse.folder / "none" / "r.json"))


def test_output_folder_read_only(refuse: Refusal, monkeypatch: pytest.MonkeyPatch):
    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    monkeypatch.setattr("onnx_compress.compiler.files.tempfile.TemporaryFile", refused)
    refuse(1, "net.compressed.onnx", "Read-only file system", "choose a folder")


def test_disk_full(refuse: Refusal, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr("onnx_compress.compiler.graph.io.write", full)
        refuse(1, "net.compressed.onnx", "No space left on device")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_text", full)
        options = ("--report", refuse.folder / "r.json")
        refuse(1, "r.json", "No space left on device", "free some space", options=options)


def test_a_failing_report_leaves_no_model(refuse: Refusal, monkeypatch: pytest.MonkeyPatch):
    def full(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("onnx_compress.compiler.graph.io.os.replace", full)
    refuse(1, "No space left", options=("--report", refuse.folder / "r.json"))


CUSTOM = """g (float[N,3,8,8] x) => (float[N,4,6,6] y) {
    t = Conv(x, w)
    y = my.ops.Wave(t)
}"""


def test_a_custom_op_needs_no_onnxruntime_without_data(refuse: Refusal):
    proto = builders.proto(CUSTOM, domains=', "my.ops" : 1', w=builders.normal(4, 3, 3, 3))
    model = refuse.save("custom.onnx", proto)
    options = ("--data", refuse.data(x=front.images(2)), "--plugin-op", "Wave")
    refuse(1, "onnxruntime cannot load the model", "without --data", model=model, options=options)
    refuse(1, "Wave", "xavier cannot take it", model=model)
    assert call(model, "-p", "cleanup", "-q", "--plugin-op", "Wave") == 0
    kept = onnx.load(refuse.folder / "custom.compressed.onnx")
    assert [node.op_type for node in kept.graph.node] == ["Conv", "Wave"]


def test_interruption_leaves_nothing(refuse: Refusal, monkeypatch: pytest.MonkeyPatch):
    def interrupt(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("onnx_compress.compiler.graph.io.os.replace", interrupt)
        refuse(130, "interrupted")
    with monkeypatch.context() as patch:
        patch.setattr("onnx_compress.compiler.pipeline.manager.PassManager.run", interrupt)
        refuse(130, "interrupted", options=("--report", refuse.folder / "r.json"))


def test_a_pass_that_fails_is_named(
    refuse: Refusal, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
):
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))
    plugin = refuse.file("broken.py", BROKEN.encode())
    refuse(1, "pass 4 'broken' failed", "ZeroDivisionError", options=("-p", "broken", "--plugin", plugin))


@pytest.mark.parametrize("call_of_exit", ["raise SystemExit(0)", "import sys; sys.exit(0)"])
def test_a_pass_that_ends_the_program_is_an_error(
    refuse: Refusal, monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory, call_of_exit: str
):
    monkeypatch.chdir(tmp_path_factory.mktemp("work"))
    plugin = refuse.file("broken.py", BROKEN.replace("1 / 0", call_of_exit).encode())
    refuse(1, "broken.py, line 11", "sys.exit(0)", options=("-p", "broken", "--plugin", plugin))


def test_whatever_ends_the_program_is_an_error(refuse: Refusal, monkeypatch: pytest.MonkeyPatch):
    def ends(*_: object) -> None:
        raise SystemExit(0)

    monkeypatch.setattr("onnx_compress.drivers.setup.load_samples", ends)
    refuse(1, "sys.exit(0)", options=("--data", refuse.data(x=front.images(2))))


BROKEN = """
from dataclasses import dataclass
from typing import ClassVar
from onnx_compress import Pass, register

@register
@dataclass(frozen=True)
class Broken(Pass):
    name: ClassVar[str] = "broken"
    def run(self, graph, ctx):
        1 / 0
"""
