"""`onnx-compress frontier`: points on held-out samples, kept one by one, the same from any number of workers."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import builders
import front
import numpy as np
import onnx
import pytest
from front import call
from onnx_compress.drivers import sweep
from onnx_compress.runtime.session import Session

NETWORK = f"""g (float[N,3,8,8] x) => (float[N,{front.CLASSES}] y) {{
    t = Conv<pads=[1,1,1,1]>(x, w1)
    r = Relu(t)
    u = Conv<pads=[1,1,1,1]>(r, w2)
    s = Relu(u)
    p = GlobalAveragePool(s)
    f = Flatten(p)
    y = Gemm<transB=1>(f, v)
}}"""

RESIDUAL = f"""g (float[N,3,8,8] x) => (float[N,{front.CLASSES}] y) {{
    s = Conv<pads=[1,1,1,1]>(x, w0)
    a = Conv<pads=[1,1,1,1]>(s, w1)
    b = Relu(a)
    c = Conv<pads=[1,1,1,1]>(b, w2)
    d = Add(c, s)
    e = Relu(d)
    p = GlobalAveragePool(e)
    f = Flatten(p)
    y = Gemm<transB=1>(f, v)
}}"""


@pytest.fixture
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights = {"w1": (16, 3, 3, 3), "w2": (16, 16, 3, 3), "v": (front.CLASSES, 16)}
    onnx.save(builders.proto(NETWORK, **{key: builders.normal(*s) for key, s in weights.items()}), tmp_path / "n.onnx")
    return tmp_path / "n.onnx"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.savez(tmp_path / "d.npz", images=front.images(96), labels=np.arange(96) % front.CLASSES)
    return tmp_path / "d.npz"


def points(model: Path, data: object, *arguments: object, count: int = 3, jobs: int = 1) -> dict[str, Any]:
    """The JSON of a run without labels, written to a new file."""
    output = model.parent / f"f{len(list(model.parent.glob('f*.json')))}.json"
    options = ("--preprocess", "unit", "--points", count, "--low", 0.4, "--jobs", jobs, "-q", "-o", output)
    assert call("frontier", model, "--data", data, *options, *arguments) == 0
    return json.loads(output.read_text())


def test_points_are_within_budget_and_judged_on_other_samples(model: Path, data: Path) -> None:
    found = points(model, f"{data}#images")
    assert [point["share"] for point in found["points"]] == [0.4, 0.65, 0.9]
    assert all(point["macs_kept"] <= point["share"] for point in found["points"])
    assert all(0 <= point["agreement"] <= 1 and point["top1"] is None for point in found["points"])
    assert all(point["value"] == point["agreement"] and point["deviation"] > 0 for point in found["points"])
    assert (found["fitted_on"], found["judged_on"]) == (48, 48)
    assert (found["metric"], found["original"]["value"], found["schema"]) == ("agreement", 1.0, 3)
    assert found["points"][0]["pipeline"] == "basis:macs=0.4" and found["original"]["latency_ms"] > 0


def test_shares_of_time_are_of_what_the_network_takes_in_int8(model: Path, data: Path) -> None:
    alone, quantized = (
        points(model, f"{data}#images", "--method", method, "--high", 0.4, count=1)
        for method in ("basis", "basis,quantize")
    )
    assert quantized["original"]["latency_ms"] != alone["original"]["latency_ms"]
    (point,) = quantized["points"]
    assert point["latency_kept"] == pytest.approx(point["latency_ms"] / quantized["original"]["latency_ms"])
    assert any("of what the network takes in INT8" in note for note in quantized["notes"])
    assert not any("INT8" in note for note in alone["notes"])


@pytest.mark.parametrize(("method", "budget"), [("prune", "macs"), ("depth", "latency"), ("fast", "latency")])
def test_any_pass_with_a_budget_may_be_the_method(model: Path, data: Path, method: str, budget: str) -> None:
    weights = {"w0": (16, 3, 3, 3), "w1": (16, 16, 3, 3), "w2": (16, 16, 3, 3), "v": (front.CLASSES, 16)}
    onnx.save(builders.proto(RESIDUAL, **{key: builders.normal(*s) for key, s in weights.items()}), model)
    options = ("--method", f"{method},quantize", "--budget", budget, "--high", 0.9)
    _, point = points(model, f"{data}#images", *options, count=2)["points"]
    assert point["pipeline"] == f"{method}:{budget}=0.9,quantize" and point[f"{budget}_kept"] <= 0.9


def test_what_has_no_budget_is_no_method(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("frontier", model, "--data", f"{data}#images", "--method", "quantize", "--budget", "latency") == 2
    assert "'quantize' has no budget latency= (begin with a pass that has one" in capsys.readouterr().err


def test_outputs_that_are_no_class_scores_are_judged_by_their_error(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (
        "g (float[N,3,8,8] x) => (float[N,4,8,8] y) { t = Conv<pads=[1,1,1,1]>(x, w) y = Conv<pads=[1,1,1,1]>(t, v) }"
    )
    onnx.save(builders.proto(text, w=builders.normal(16, 3, 3, 3), v=builders.normal(4, 16, 3, 3)), model)
    options = ("--preprocess", "unit", "--points", 1, "--low", 0.5, "--jobs", 1)
    assert call("frontier", model, "--data", f"{data}#images", *options) == 0
    head, line = capsys.readouterr().out.splitlines()[:2]
    assert head.split() == ["macs", "MACs", "latency", "error"]
    value, deviation = line.split()[-3::2]
    assert 0 < float(value) < 1 and 0 < float(deviation) < 0.1


def test_a_metric_may_be_named(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = points(model, f"{data}#images", "--metric", "error")
    assert found["metric"] == "error" and found["original"]["value"] == 0.0
    assert all(point["agreement"] is None and 0 < point["value"] < 1 for point in found["points"])
    assert found["points"][0]["value"] > found["points"][-1]["value"]


@pytest.mark.parametrize("jobs", [1, 2])
def test_the_users_own_metric_measures_each_network_once(model: Path, data: Path, jobs: int) -> None:
    calls, own = model.parent / "calls", model.parent / "own.py"
    own.write_text(
        "import numpy as np\n\n"
        "def most(predict):\n"
        f"    open({str(calls)!r}, 'a').write('x')\n"
        "    return float(predict({'x': np.ones((1, 3, 8, 8), np.float32)})['y'].max())\n"
    )
    found = points(model, f"{data}#images", "--metric", f"{own}:most", jobs=jobs)
    assert calls.read_text() == "xxxx", "the original and three points"
    session = Session(onnx.load(model))
    whole = session.run({"x": np.ones((1, 3, 8, 8), np.float32)})["y"].max()
    assert (found["metric"], found["original"]["value"]) == ("own.py:most", pytest.approx(whole))
    assert all(point["value"] != found["original"]["value"] for point in found["points"])
    rows = list(csv.DictReader((model.parent / "f0.csv").open()))
    assert [(row["metric"], float(row["value"])) for row in rows] == [
        (point["metric"], point["value"]) for point in found["points"]
    ]
    assert "own.py:most" in (model.parent / "f0.svg").read_text()
    own.write_text(own.read_text().replace("max()", "min()"))
    assert points(model, f"{data}#images", "--metric", f"{own}:most", jobs=jobs)["points"] != found["points"]


def test_points_without_labels_are_not_those_with_them(model: Path, data: Path) -> None:
    assert points(model, f"{data}#images")["original"]["top1"] is None
    found = points(model, data)
    assert found["original"]["top1"] is not None and all(point["top1"] is not None for point in found["points"])


def test_what_was_assumed_is_said(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = model.parent / "out.json"
    assert call("frontier", model, "--data", data, "--points", 1, "--low", 0.5, "--jobs", 1, "-o", output) == 0
    assert "note: no --preprocess given" in capsys.readouterr().out
    assert any("no --preprocess given" in note for note in json.loads(output.read_text())["notes"])


def test_options_of_single_nodes_hold_at_every_point(model: Path, data: Path) -> None:
    free = points(model, f"{data}#images")
    held = points(model, f"{data}#images", "--set", "Conv_2:basis.skip=true")
    assert all("unreachable" not in point for point in free["points"])
    assert "unreachable" in held["points"][0]


def test_the_order_of_single_nodes_options_counts(model: Path, data: Path) -> None:
    skip, take = ("--set", "Conv:basis.skip=true"), ("--set", "Conv:basis.skip=false")
    taken = points(model, f"{data}#images", *skip, *take)
    skipped = points(model, f"{data}#images", *take, *skip)
    assert "unreachable" not in taken["points"][0] and "unreachable" in skipped["points"][0]


def test_a_table_and_a_drawing_lie_beside_it(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = model.parent / "out.json"
    options = ("--preprocess", "unit", "--points", 2, "--low", 0.5, "--jobs", 1, "-o", out)
    assert call("frontier", model, "--data", data, *options) == 0
    shown = capsys.readouterr().out
    assert "top-1" in shown and "50.00 %" in shown and "the original: top-1" in shown
    rows = list(csv.DictReader(out.with_suffix(".csv").open()))
    found = json.loads(out.read_text())
    assert [float(row["macs_kept"]) for row in rows] == [point["macs_kept"] for point in found["points"]]
    drawing = ElementTree.parse(out.with_suffix(".svg")).getroot()
    assert len(list(drawing.iter("{http://www.w3.org/2000/svg}circle"))) == 4


def test_an_interrupted_run_goes_on_where_it_stopped(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    done: list[float] = []
    original = sweep._point

    def interrupted(plan: Any, found: Any, whole: Any, share: float) -> Any:
        if len(done) == 2:
            raise KeyboardInterrupt
        done.append(share)
        return original(plan, found, whole, share)

    monkeypatch.setattr(sweep, "_point", interrupted)
    output = model.parent / "f.json"
    arguments = ("--data", data, "--preprocess", "unit", "--points", 3, "--low", 0.4, "--jobs", 1, "-o", output)
    assert call("frontier", model, *arguments) == 130
    assert not output.exists()
    monkeypatch.setattr(sweep, "_point", lambda *rest: (done.append(rest[-1]), original(*rest))[1])
    assert call("frontier", model, *arguments) == 0
    assert done == [0.4, 0.65, 0.9]
    assert call("frontier", model, *arguments, "--overwrite", "--seed", 1) == 0
    assert len(done) == 6, "another seed is another frontier"


def test_workers_change_nothing(model: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one = points(model, data)
    monkeypatch.setenv("XDG_CACHE_HOME", str(model.parent / "empty"))
    two = points(model, data, jobs=2)
    for found in (one, two):
        for point in found["points"]:
            del point["seconds"]
    assert one == two


def test_other_samples_may_judge(model: Path, data: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "other.npz", images=front.images(40, seed=5))
    found = points(model, data, "--eval-data", tmp_path / "other.npz")
    assert (found["fitted_on"], found["judged_on"], found["original"]["top1"]) == (96, 40, None)


def test_latency_is_varied_and_passes_follow(model: Path, data: Path) -> None:
    found = points(model, data, "--budget", "macs", "--method", "basis:form=channel,quantize", count=1)
    assert found["points"][0]["pipeline"].startswith("basis:macs=0.4:form=channel,quantize")


def test_what_cannot_be_reached_is_said(model: Path, data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--preprocess", "unit", "--points", 2, "--low", 0.01, "--high", 0.5, "--jobs", 1)
    assert call("frontier", model, "--data", data, *options) == 0
    assert "macs=0.01 cannot be reached" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--method", "basis:macs=0.5"), "the method has the budget macs="),
        (("--method", "cleanup"), "'cleanup' has no budget macs="),
        (("--low", 0.9, "--high", 0.3), "points from 0.9 to 0.3"),
        (("--jobs", 0), "--jobs"),
        (("--samples", 1), "1 samples cannot be split"),
    ],
)
def test_wrong_usage(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str], arguments: tuple[object, ...], words: str
) -> None:
    assert call("frontier", model, "--data", data, "--preprocess", "unit", *arguments) in (1, 2)
    line = capsys.readouterr().err
    assert words in line and line.count("\n") == 1
