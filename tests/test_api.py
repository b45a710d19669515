from __future__ import annotations

import dataclasses
import re
import runpy
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import builders
import front
import numpy as np
import onnx
import pytest
from onnx_compress import CompressError, Context, RunOptions, UsageError, bisect, compress, frontier, parse_pipeline
from onnx_compress.compiler.pipeline.options import UNUSED
from onnx_compress.compiler.pipeline.progress import silent
from onnx_compress.compiler.report import SCHEMA
from onnx_compress.drivers import progress
from onnx_compress.drivers.progress import chosen_progress
from onnx_compress.drivers.reporting import WITHOUT_DATA

BATCHNORM = """g (float[N,3,8,8] x) => (float[N,4,8,8] y) {
    t = Conv<pads=[1,1,1,1]>(x, w)
    y = BatchNormalization(t, s, b, m, v)
}"""


def batchnorm() -> onnx.ModelProto:
    vectors = {name: np.abs(builders.normal(4, seed=index)) + 0.5 for index, name in enumerate("sbmv")}
    return builders.proto(BATCHNORM, w=builders.normal(4, 3, 3, 3), **vectors)


def test_a_loaded_model_goes_in_and_out():
    result = compress(front.classifier(), "cleanup")
    onnx.checker.check_model(result.proto)
    assert result.report["schema"] == SCHEMA and result.report["model"] is None
    assert result.report["notes"][-1].startswith(WITHOUT_DATA.split("{}")[0]) and result.report["quality"] is None
    assert "ms instead of" in result.report["notes"][-1]
    assert [record.name for record in result.records] == ["cleanup", "fold-batchnorm", "cleanup", "cleanup", "legalize"]


def test_the_model_given_stays_as_it_is():
    proto = batchnorm()
    before = proto.SerializeToString()
    compress(proto, "cleanup")
    assert proto.SerializeToString() == before


def test_preparation_folds_and_can_be_turned_off():
    folded, plain = (compress(batchnorm(), "cleanup", prepare=prepare) for prepare in (True, False))
    assert [node.op for node in folded.graph.nodes] == ["Conv"]
    assert [node.op for node in plain.graph.nodes] == ["Conv", "BatchNormalization"]
    x = builders.normal(2, 3, 8, 8)
    a, b = (builders.run(result.proto, x=x)["y"] for result in (folded, plain))
    np.testing.assert_allclose(a, b, atol=1e-5)


def test_budgets_refer_to_the_prepared_model(monkeypatch: pytest.MonkeyPatch):
    seen: list[list[str]] = []

    def look(self: object, graph: object, ctx: Context) -> object:
        assert ctx.original is not None
        seen.append([node.op for node in ctx.original.nodes])
        return result(changed=False)

    from onnx_compress.compiler.pipeline.base import PassResult as result

    compress(front.classifier(), "zero-small", plugins=[front.ZERO_SMALL])
    cls = type(parse_pipeline("zero-small")[0])
    monkeypatch.setattr(cls, "run", look)
    compress(batchnorm(), "zero-small")
    assert seen == [["Conv"]]


def test_passes_may_be_given_as_objects():
    result = compress(front.classifier(), parse_pipeline("cleanup"))
    assert result.report["pipeline"] == "cleanup"


def test_arrays_are_data():
    result = compress(front.classifier(), "cleanup", data=front.images(6), labels=np.zeros(6, int), preprocess="unit")
    quality = result.report["quality"]
    assert quality is not None and quality["agreement"] == 1.0
    assert quality["top1_before"] == quality["top1_after"]
    assert result.report["data"] is not None and result.report["data"]["preprocess"] == "mean=0.0:std=1.0"


def test_the_report_names_the_call():
    images = front.images(6)
    plugins = [front.ZERO_SMALL]
    report = compress(front.classifier(), "cleanup", data=images, preprocess="unit", plugins=plugins, seed=0).report
    assert report["command"] == f"compress(..., 'cleanup', data=..., preprocess='unit', plugins={plugins})"


def test_notebooks_show_the_sizes():
    shown = compress(front.classifier(), parse_pipeline("cleanup"))._repr_html_()
    assert shown.startswith("<table>") and "MACs of the Convs" in shown


def test_save_refuses_to_overwrite(tmp_path: Path):
    result = compress(front.classifier(), "cleanup")
    assert result.save(tmp_path / "a.onnx") == (tmp_path / "a.onnx").stat().st_size
    with pytest.raises(UsageError, match="--overwrite"):
        result.save(tmp_path / "a.onnx")
    result.save(tmp_path / "a.onnx", overwrite=True)


def test_sizes_count_external_data(tmp_path: Path):
    onnx.save(front.classifier(), tmp_path / "e.onnx", save_as_external_data=True, location="e.data", size_threshold=0)
    held = (tmp_path / "e.onnx").stat().st_size + (tmp_path / "e.data").stat().st_size
    assert compress(tmp_path / "e.onnx", "cleanup").report["before"]["bytes"] == held


def test_fixed_batch_models(tmp_path: Path):
    result = compress(front.classifier(batch="4"), "cleanup", data=front.images(10), preprocess="unit")
    assert result.report["quality"] is not None and result.report["quality"]["samples"] == 8


def test_no_conv():
    with pytest.raises(CompressError, match="no Conv"):
        compress(builders.proto("g (float[N,3] x) => (float[N,3] y) { y = Relu(x) }"), "cleanup")


def test_the_python_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    model = front.write_model(tmp_path / "net.onnx")
    np.save(tmp_path / "d.npy", front.images(32))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["from_python.py", str(model), "d.npy"])
    runpy.run_path(str(Path(front.ZERO_SMALL).with_name("from_python.py")), run_name="__main__")
    assert (tmp_path / "compressed.onnx").is_file() and capsys.readouterr().out.startswith("MACs")


def test_the_python_example_needs_no_arguments(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["from_python.py"])
    runpy.run_path(str(Path(front.ZERO_SMALL).with_name("from_python.py")), run_name="__main__")
    assert (tmp_path / "compressed.onnx").is_file()


@pytest.mark.parametrize(
    "function, unused", [(compress, ()), (frontier, UNUSED["frontier"]), (bisect, UNUSED["bisect"])]
)
def test_docstrings_list_the_options(function: Callable[..., object], unused: Sequence[str]):
    """A line for each that the function takes, and none for others."""
    names = re.findall(r"^        ([a-z_, ]+):", function.__doc__ or "", flags=re.MULTILINE)
    listed = {name for line in names for name in line.split(", ")}
    options = {entry.name for entry in dataclasses.fields(RunOptions)}
    assert options - listed <= set(unused) and "see `RunOptions`" not in (function.__doc__ or "")


@pytest.mark.parametrize(
    "options, said",
    [
        ({"pipeline": "quantize", "labels": "y"}, "labels: nothing to apply it to (give data, or leave it out)"),
        ({"output": "net.onnx"}, "overwrite=True"),
        ({"preprocess": "unit"}, "preprocess: nothing to apply it to (give data, or leave it out)"),
    ],
)
def test_errors_name_keywords(options: dict[str, Any], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    front.write_model(tmp_path / "net.onnx")
    front.write_model(tmp_path / "there.onnx")
    with pytest.raises(CompressError) as found:
        compress("there.onnx", **options)
    assert said in str(found.value)


def test_a_result_shows_in_a_line(tmp_path: Path):
    shown = repr(compress(front.classifier(), "cleanup"))
    assert shown.startswith("Compressed(MACs of the Convs ") and "\n" not in shown and len(shown) < 200


def test_progress_from_python(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(UsageError, match="give True, False or a function"):
        compress(front.classifier(), "cleanup", progress=3)
    assert chosen_progress(None) is silent and chosen_progress(False) is silent
    monkeypatch.setattr(progress, "WORTH_A_LINE", -1.0)
    with chosen_progress(True)("fitting", 1) as advance:
        advance()
    assert capsys.readouterr().err.startswith("fitting: 1 of 1")


def test_a_notebook_shows_progress_unasked(monkeypatch: pytest.MonkeyPatch):
    class ZMQInteractiveShell:
        """As the kernel's."""

    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=ZMQInteractiveShell))
    assert chosen_progress(None) is not silent and chosen_progress(False) is silent
