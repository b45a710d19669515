"""Tensors inside a network can be asked for, and failures are said in one error."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import builders
import front
import numpy as np
import pytest
from onnx_compress.compiler.errors import CompressError
from onnx_compress.runtime import session
from onnx_compress.runtime.session import graph_session, model_session

TWO_BRANCHES = """g (float[N,18,4,4] x) => (float[N,16,4,4] y) {
    a = Conv(x, v, c)
    b = Conv(x, w, c)
    s = Add(b, a)
    y = Relu(s)
}"""


def test_a_conv_before_an_add_can_be_asked_for() -> None:
    weights = {"v": builders.normal(16, 18, 1, 1), "w": builders.normal(16, 18, 1, 1, seed=1)}
    graph = builders.model(TWO_BRANCHES, **weights, c=np.zeros(16, np.float32)).graph
    x = builders.normal(3, 18, 4, 4, seed=2)
    found = graph_session(graph, ["a", "y"]).run({"x": x})
    a, b = (np.einsum("nc,bchw->bnhw", weight[:, :, 0, 0], x) for weight in weights.values())
    np.testing.assert_allclose(found["a"], a, atol=1e-5)
    np.testing.assert_allclose(found["y"], np.maximum(a + b, 0), atol=1e-5)


def test_large_weights_are_read_where_they_lie(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "g (float[N,4] x) => (float[N,8] y) { y = Gemm<transB=1>(x, w, b) }"
    weights = {"w": builders.normal(8, 4), "b": builders.normal(8, seed=1)}
    x = builders.normal(3, 4, seed=2)
    monkeypatch.setattr(session, "LARGE", 1)
    model = builders.model(text, **weights)
    for found in (graph_session(model.graph), model_session(model)):
        np.testing.assert_allclose(found.run({"x": x})["y"], x @ weights["w"].T + weights["b"], atol=1e-6)


def test_a_model_can_be_run_as_it_is_written() -> None:
    text = "g (float[N,4] x) => (float[N,8] y) { h = Gemm<transB=1>(x, w, b) y = Relu(h) }"
    model = builders.model(text, w=builders.normal(8, 4), b=builders.normal(8, seed=1))
    feeds = {"x": builders.normal(3, 4, seed=2)}
    one, two = (model_session(model, optimized=optimized).run(feeds)["y"] for optimized in (True, False))
    np.testing.assert_allclose(one, two, atol=1e-6)


def test_a_model_that_cannot_be_loaded_is_one_error(capfd: pytest.CaptureFixture[str]) -> None:
    model = builders.model("g (float[1] x) => (float[1] y) { y = Neg(x) }")
    model.graph.nodes[0].op = "NoSuchOperator"
    with pytest.raises(CompressError, match="cannot load the model"):
        graph_session(model.graph)
    assert capfd.readouterr() == ("", "")


def test_nothing_is_reported_to_the_maker_of_onnxruntime(tmp_path: Path) -> None:
    """Its reports wait in files below the home folder."""
    front.write_model(tmp_path / "net.onnx")
    home = tmp_path / "home"
    home.mkdir()
    kept = {
        key: value for key, value in os.environ.items() if key not in (session.NO_TELEMETRY, "CI", "XDG_CACHE_HOME")
    }
    imports = (
        "from onnx_compress.compiler.graph.io import load; from onnx_compress.runtime.session import model_session"
    )
    code = f"import sys; {imports}; model_session(load(sys.argv[1]))"
    subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "net.onnx")], env={**kept, "HOME": str(home)}, check=True
    )
    assert not list(home.rglob("*"))


@pytest.mark.parametrize("given, left", [(None, "1"), ("0", "0")])
def test_a_users_wish_about_reports_stays(given: str | None, left: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(session.NO_TELEMETRY, raising=False)
    if given is not None:
        monkeypatch.setenv(session.NO_TELEMETRY, given)
    session.import_onnxruntime()
    assert os.environ[session.NO_TELEMETRY] == left
