"""`--report out.html` and `onnx-compress report`; the page in a browser."""

from __future__ import annotations

import html
import json
import shlex
import shutil
import subprocess
from pathlib import Path

import front
import numpy as np
import pytest
import reports
from front import call
from onnx_compress.compiler.report.page import to_html

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return front.write_model(tmp_path / "net.onnx")


def test_a_run_writes_the_page_that_its_suffix_asks_for(model: Path, tmp_path: Path):
    assert call(model, "-p", "basis:rank=0.5", "-q", "--report", tmp_path / "r.html") == 0
    text = (tmp_path / "r.html").read_text()
    assert text.startswith("<!doctype html>") and "Conv_0" in text


def test_the_page_of_a_json_report(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert call(model, "-p", "basis:rank=0.5", "-q", "--report", tmp_path / "r.json") == 0
    assert call("report", tmp_path / "r.json") == 0
    assert f"wrote {tmp_path / 'r.html'}" in capsys.readouterr().out
    assert call("report", tmp_path / "r.json") == 2
    assert "--overwrite" in capsys.readouterr().err
    assert call("report", tmp_path / "r.json", "-o", tmp_path / "x.html", "-q") == 0
    assert (tmp_path / "x.html").read_text() == (tmp_path / "r.html").read_text()


def test_what_is_no_report_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "r.json").write_text("{}")
    assert call("report", tmp_path / "r.json") == 1
    assert capsys.readouterr().err.count("\n") == 1 and not (tmp_path / "r.html").exists()


def test_the_command_in_the_report_repeats_the_run(model: Path, tmp_path: Path):
    np.savez(tmp_path / "d.npz", images=front.images(40))
    (tmp_path / "c.toml").write_text("pipeline = 'basis:rank=0.5'\nplugin = ['" + front.ZERO_SMALL + "']\nseed = 3\n")
    arguments = ("--config", tmp_path / "c.toml", "--data", f"{tmp_path / 'd.npz'}#images", "--exclude", "Relu|a b")
    assert (
        call(model, *arguments, "--no-legalize", "-q", "-o", tmp_path / "a.onnx", "--report", tmp_path / "r.json") == 0
    )
    words = shlex.split(json.loads((tmp_path / "r.json").read_text())["command"])
    assert words[:2] == ["onnx-compress", str(model)]
    assert "--config" not in words and "--report" not in words and "--no-prepare" not in words
    assert {"--seed", "--plugin", "--exclude", "Relu|a b", "--no-legalize"} <= set(words)
    before = (tmp_path / "a.onnx").read_bytes()
    (tmp_path / "a.onnx").unlink()
    assert call(*words[1:], "-q") == 0
    assert (tmp_path / "a.onnx").read_bytes() == before


FRAME = """<body style="margin:0">
<iframe id="frame" src="report.html" width="{width}" height="900" frameborder="0"></iframe>
<script>
document.getElementById("frame").onload = (event) => {{
  const page = event.target.contentDocument, found = (name) => page.getElementById(name);
  const rows = () => [...found("table").tBodies[0].rows].filter((row) => !row.hidden);
  const shown = () => rows().map((row) => row.cells[0].innerText);
  const {{ scrollWidth: width, clientWidth: given }} = page.documentElement;
  const result = {{ width, given, rows: shown() }};
  found("find").value = "PLAIN";
  found("find").dispatchEvent(new Event("input"));
  result.found = shown();
  found("find").value = "";
  found("action").value = "quantized";
  found("action").dispatchEvent(new Event("change"));
  result.quantized = shown().length;
  const head = [...page.querySelectorAll("#table thead th")].find((cell) => cell.innerText === "MACs before");
  head.click();
  result.sorted = shown();
  head.click();
  result.turned = shown();
  result.order = head.getAttribute("aria-sort");
  const out = document.createElement("pre");
  out.id = "result";
  out.textContent = JSON.stringify(result);
  document.body.append(out);
}};
</script>"""


@pytest.mark.slow
@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
@pytest.mark.parametrize("width", [400, 1280])
def test_in_a_browser_it_fits_sorts_and_filters(tmp_path: Path, width: int):
    assert BROWSER is not None
    (tmp_path / "report.html").write_text(to_html(reports.report()))
    (tmp_path / "frame.html").write_text(FRAME.format(width=width))
    options = ["--headless=new", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files", "--dump-dom"]
    options += ["--enable-logging=stderr", f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000"]
    page = (tmp_path / "frame.html").as_uri()
    done = subprocess.run([BROWSER, *options, page], capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr
    found = json.loads(html.unescape(done.stdout.split('<pre id="result">')[1].split("</pre>")[0]))
    assert found["width"] <= found["given"] <= width
    assert len(found["rows"]) == 3 and len(found["found"]) == 1 and found["quantized"] == 3
    assert found["sorted"][:2] == found["turned"][:2][::-1] and found["order"] == "descending"
