from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import jsonschema
import numpy as np
import pytest
import reports
from onnx_compress.compiler import report as package
from onnx_compress.compiler.errors import CompressError
from onnx_compress.compiler.pipeline.base import Decision, PassRecord, PassResult
from onnx_compress.compiler.pipeline.traces import ErrorCurve, Traces
from onnx_compress.compiler.report import SCHEMA, Report, count_actions, pass_report, to_json
from onnx_compress.compiler.report.formatting import first_few
from onnx_compress.compiler.report.loading import checked, load_frontier, load_report
from onnx_compress.compiler.report.schema import json_schema, problems
from onnx_compress.compiler.report.sizes import checked as said

SHIPPED = json.loads((Path(package.__file__).parent / "schema.json").read_text())


def test_decisions_and_curves_name_the_node_of_the_input_model():
    curve = ErrorCurve("conv.basis", "channel", (1,), (10,), (0.5,), 20)
    decision = Decision("conv.basis", "rewritten", figures={"size": np.int64(3)})
    result = PassResult(True, [decision], traces=Traces(curves=[curve]))
    entry = pass_report(PassRecord(1, "basis", "basis:macs=0.5", result), {"conv.basis": "conv"})
    assert entry["decisions"][0]["origin"] == "conv" == entry["traces"]["curves"][0]["origin"]


def test_json_holds_what_json_can_hold():
    values: dict[str, Any] = {"a": np.float32(0.5), "b": float("nan"), "c": np.inf, "d": (np.int64(1), True, None)}
    assert json.loads(to_json(cast("Report", values))) == {"a": 0.5, "b": None, "c": None, "d": [1, True, None]}


def test_numbers_stand_on_one_line_and_words_stay_as_they_are():
    values: dict[str, Any] = {"counts": [1, 2.5, None], "words": ["[\n 1,\n 2\n]"], "none": []}
    written = to_json(cast("Report", values))
    assert '"counts": [1, 2.5, null]' in written and json.loads(written) == values


def test_the_shipped_schema_is_that_of_the_types():
    assert json_schema() == SHIPPED
    jsonschema.Draft202012Validator.check_schema(SHIPPED)


def test_the_report_of_a_run_is_valid():
    value = json.loads(reports.text())
    jsonschema.validate(value, SHIPPED)
    assert list(problems(value)) == []
    assert value["passes"][3]["traces"]["curves"] and value["passes"][4]["traces"]["spreads"]


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("seed",), "0", "report.seed: expected integer"),
        (("seed",), True, "report.seed: expected integer"),
        (("layers", 0, "before", "params"), None, "report.layers[0].before.params: expected integer"),
        (("layers", 0, "weight"), ["a"], "report.layers[0].weight[0]: expected integer"),
        (("data",), 3, "report.data: expected object or null"),
        (("origins",), [], "report.origins: expected object"),
        (("notes",), {}, "report.notes: expected array"),
        (("passes", 0, "traces", "curves"), [{}], "report.passes[0].traces.curves[0].origin: missing"),
    ],
)
def test_both_checks_find_the_same_wrong_values(path: tuple[Any, ...], value: object, said: str):
    report: Any = reports.report()
    held = report
    for key in path[:-1]:
        held = held[key]
    held[path[-1]] = value
    assert next(problems(report)) == said
    assert not jsonschema.Draft202012Validator(SHIPPED).is_valid(report)
    with pytest.raises(CompressError, match="is not the report of a run"):
        checked(report, "r.json")


def second_schema() -> dict[str, Any]:
    value = json.loads(reports.text())
    del value["options"]
    value["passes"][-1]["decisions"] = [{"node": "n", "origin": "n", "action": "mended", "reason": "", "figures": {}}]
    return {**value, "schema": 2}


def first_schema() -> dict[str, Any]:
    value = second_schema()
    for key in ("created", "command", "environment", "layers"):
        del value[key]
    for entry in value["passes"]:
        del entry["traces"]
    return {**value, "schema": 1}


def test_what_legalize_did_has_another_word_since_the_second_schema(tmp_path: Path) -> None:
    (tmp_path / "r.json").write_text(json.dumps(second_schema()))
    report = load_report(tmp_path / "r.json")
    assert count_actions(report["passes"], "legalized") == 1
    assert report["options"] == {} and report["layers"] and list(problems(report)) == []


def test_reports_of_the_first_version_are_read(tmp_path: Path):
    (tmp_path / "r.json").write_text(json.dumps(first_schema()))
    report = load_report(tmp_path / "r.json")
    assert report["schema"] == SCHEMA and report["layers"] == [] and report["environment"] is None
    assert list(problems(report)) == []


def test_reports_of_the_fifth_version_are_read(tmp_path: Path):
    report: Any = json.loads(to_json(reports.report()))
    report["schema"] = 5
    for key in ("original", "outputs"):
        del report["quality"][key]
    (tmp_path / "r.json").write_text(json.dumps(report))
    found = load_report(tmp_path / "r.json")
    assert found["quality"] is not None
    assert (found["schema"], found["quality"]["original"], found["quality"]["outputs"]) == (SCHEMA, None, {})
    assert list(problems(found)) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "cannot be read"),
        ("[]", "is not the report of a run"),
        ('{"schema": "2"}', "is not the report of a run"),
        (f'{{"schema": {SCHEMA + 1}}}', f"is a report of schema {SCHEMA + 1}; this version reads 1 to {SCHEMA}"),
        ('{"schema": 1, "passes": 3}', "is not the report of a run: report.tool: missing"),
    ],
)
def test_what_is_no_report(tmp_path: Path, text: str, said: str):
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(CompressError, match=said):
        load_report(tmp_path / "r.json")


def test_after_a_pass_the_metric_is_said_or_else_how_far_the_outputs_moved():
    report = reports.report()
    entry, quality = report["passes"][3], report["quality"]
    assert quality is not None
    entry["figures"] = {"relative_error": 0.25, "relative_error:y": 0.125, "agreement": 0.975, "engine_error": 1e-6}
    assert said(report, entry) == "agreement 97.50 %, engine error 1e-06"
    del entry["figures"]["agreement"]
    assert said(report, entry) == "relative error 0.25, engine error 1e-06"
    quality["metric"], entry["figures"]["map.py:map50"] = "map.py:map50", 47.25
    assert said(report, entry) == "map.py:map50 47.25, engine error 1e-06"


def test_of_long_lists_the_first_few_are_named():
    assert first_few(["a", "b", "c"]) == "a, b, c"
    assert first_few(["a", "b", "c", "d", "e"]) == "a, b, c and 2 more"


def test_a_frontier_of_the_first_schema(tmp_path: Path):
    first = {"schema": 1, "model": None, "method": "basis", "budget": "macs", "target": "xavier", "fitted_on": 8}
    first |= {"latency": "estimated", "judged_on": 8, "original": {"macs": 9, "latency_ms": None, "top1": None}}
    points = [{"share": 0.5, "agreement": 0.75, "output_error": 0.1}, {"share": 0.1, "unreachable": "too small"}]
    (tmp_path / "f.json").write_text(json.dumps({**first, "points": points}))
    found = load_frontier(tmp_path / "f.json")
    assert (found["metric"], found["original"]["value"], found["notes"]) == ("agreement", 1.0, [])
    assert (found["points"][0].get("value"), found["points"][1].get("value")) == (0.75, None)


def test_what_is_no_frontier(tmp_path: Path):
    (tmp_path / "f.json").write_text('{"schema": 1}')
    with pytest.raises(CompressError, match=r"is not a frontier: frontier\.model: missing"):
        load_frontier(tmp_path / "f.json")
