"""`onnx-compress check`: what it prints, its JSON, its exit codes."""

from __future__ import annotations

import dataclasses
import json
import re
from pathlib import Path

import front
import pytest
from front import call
from lint_cases import net
from onnx_compress.runtime.tensorrt import rtx

KEYS = {"model", "target", "passed", "findings", "errors_after_legalize", "dla", "engine"}


@pytest.fixture
def good(tmp_path: Path) -> Path:
    return front.write_model(tmp_path / "good.onnx")


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    model = net("t = my.Thing(x) y = RandomUniform<shape=[2], seed=1.0>()", domains=', "my" : 1')
    return front.write_model(tmp_path / "bad.onnx", model)


def test_a_model_that_passes(good: Path, capsys: pytest.CaptureFixture[str]):
    assert call("check", good) == 0
    assert capsys.readouterr() == (f"{good} passes for xavier: 0 errors, 0 warnings\n", "")


def test_a_model_that_does_not(bad: Path, capsys: pytest.CaptureFixture[str]):
    assert call("check", bad) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("error: node_of_t: TensorRT 8.5 has no Thing (") and lines[0].endswith(
        "[operator-missing]"
    )
    assert lines[1].startswith("warning: node_of_y: the seed is ignored")
    assert lines[2] == f"{bad} does not pass for xavier: 1 error, 1 warning"


@pytest.mark.parametrize(
    "nodes, mended",
    [
        ("c = Conv(x, w) y = Mish(c)", "all of them"),
        ("c = Conv(x, w) t = Mish(c) y = my.Thing(t)", "2 of them"),
        ("c = Conv(x, w) y = my.Thing(c)", "1 of them"),
        ("y = my.Thing(x)", None),
    ],
)
def test_what_legalize_would_mend(nodes: str, mended: str | None, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = front.write_model(tmp_path / "m.onnx", net(nodes, opset=18, domains=', "my" : 1'))
    assert call("check", path) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    said = f"`onnx-compress {path} -p legalize` mends {mended}"
    assert last == said if mended else "does not pass" in last


def test_warnings_alone_pass(bad: Path, capsys: pytest.CaptureFixture[str]):
    assert call("check", bad, "--plugin-op", "Thing") == 0
    assert "passes for xavier: 0 errors, 1 warning" in capsys.readouterr().out


def test_json_has_one_shape(good: Path, bad: Path, capsys: pytest.CaptureFixture[str]):
    for path, code in ((good, 0), (bad, 1)):
        assert call("check", path, "--json") == code
        figures = json.loads(capsys.readouterr().out)
        assert set(figures) == KEYS and figures["passed"] is (code == 0)
        assert figures["dla"] is None and figures["engine"] is None
    assert [set(finding) for finding in figures["findings"]] == [{"rule", "node", "problem", "fix", "severity"}] * 2


def test_many_findings_of_a_rule_are_cut(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = front.write_model(
        tmp_path / "m.onnx", net(" ".join(f"y{i} = NonZero(x)" for i in range(8)) + " y = Relu(x)")
    )
    call("check", path)
    out = capsys.readouterr().out
    assert out.count("[data-dependent]") == 6 and "and 3 more of [data-dependent]: --json lists all" in out
    call("check", path, "--json")
    assert len(json.loads(capsys.readouterr().out)["findings"]) == 8


def test_the_target_decides(good: Path, capsys: pytest.CaptureFixture[str]):
    assert call("check", good, "--target", "xavier-8.2") == 1
    assert "opset 17" in capsys.readouterr().out
    assert call("check", good, "--target", "nonsense") == 2


def test_wrong_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "text.onnx").write_text("no model")
    assert call("check", tmp_path / "text.onnx") == 1
    assert call("check", tmp_path / "missing.onnx") == 1
    assert capsys.readouterr().err.count("error: ") == 2


@pytest.mark.parametrize(
    ("parsed", "built", "code", "word"),
    [(True, True, 0, "parsed and built"), (True, False, 1, "not built"), (False, False, 1, "not parsed")],
)
def test_what_the_engine_says_counts(
    parsed: bool,
    built: bool,
    code: int,
    word: str,
    good: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    answer = rtx.EngineCheck(parsed, built, ["node Conv_0: no"], 12 if built else None, 0.5, "1.7")
    monkeypatch.setattr(rtx, "check_engine", lambda path, shapes: answer)
    assert call("check", good, "--engine", "rtx") == code
    out = capsys.readouterr().out
    assert word in out and "node Conv_0: no" in out and ("does not pass" in out) == (code == 1)
    assert call("check", good, "--engine", "rtx", "--json") == code
    assert json.loads(capsys.readouterr().out)["engine"]["parsed"] is parsed


@pytest.mark.skipif(not rtx.available(), reason="TensorRT for RTX is not installed")
def test_a_real_parser_agrees(good: Path, capsys: pytest.CaptureFixture[str]):
    assert call("check", good, "--engine", "rtx", "--target", "trt10", "--json") == 0
    assert json.loads(capsys.readouterr().out)["engine"]["built"]


def test_the_dla_says_what_it_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    dla = pytest.importorskip("onnx_compress.compiler.dla")
    path = front.write_model(tmp_path / "m.onnx", net("t = Conv<kernel_shape=[3,3]>(x, w) y = Softmax(t)"))
    assert call("check", path, "--target", "xavier-dla") == 0
    out = capsys.readouterr().out
    assert re.search(r"^Conv \S+: DLA$", out, re.MULTILINE) and re.search(r"^Softmax \S+: GPU: \w", out, re.MULTILINE)
    assert "the DLA runs 100.00 % of the MACs" in out
    assert call("check", path, "--target", "xavier-dla", "--json") == 0
    figures = json.loads(capsys.readouterr().out)["dla"]
    assert figures["share"] == 1
    names = {field.name for field in dataclasses.fields(dla.DlaLayer)}
    assert [set(layer) for layer in figures["layers"]] == [names] * 2


@pytest.mark.parametrize("target", ["xavier", "trt10", "ort"])
@pytest.mark.parametrize(
    ("body", "words"),
    [
        ("[one] y = Conv<strides=[0,0]>(x, w)", "node 'one': the model is broken: strides=[0, 0]"),
        ('[one] y = Conv<auto_pad="BAD">(x, w)', "node 'one': the model is broken: auto_pad=BAD"),
        ("[one] y = Concat<axis=9>(x, x)", "node 'one': onnxruntime cannot load the model"),
    ],
)
def test_what_is_invalid_anywhere_does_not_pass(
    target: str, body: str, words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = front.write_model(tmp_path / "m.onnx", net(body))
    assert call("check", path, "--target", target) == 1
    assert words in capsys.readouterr().out
    assert call(path, "-p", "cleanup", "-o", tmp_path / "out.onnx") == 1
    assert not (tmp_path / "out.onnx").exists()


def test_an_operator_that_no_node_has(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    model = front.write_model(tmp_path / "net.onnx")
    assert front.call("check", model, "--plugin-op", "Con") == 2
    assert "no node has the operator 'Con' (did you mean 'Conv'?" in capsys.readouterr().err
    assert front.call(model, "-p", "cleanup", "--plugin-op", "Con") == 0
    assert "note: --plugin-op Con: no node has this operator" in capsys.readouterr().out
