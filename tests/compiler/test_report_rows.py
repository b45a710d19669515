"""Rows and sizes: what the tables of the page hold."""

from __future__ import annotations

import reports
from onnx_compress.compiler.report.drawings import int8_drawings, search_drawings
from onnx_compress.compiler.report.fields import DecisionReport
from onnx_compress.compiler.report.outputs import OutputTable, output_table
from onnx_compress.compiler.report.page import to_html
from onnx_compress.compiler.report.rows import rows
from onnx_compress.compiler.report.sizes import size_lines


def decision(node: str, origin: str, action: str, reason: str = "", **figures: object) -> DecisionReport:
    return DecisionReport(node=node, origin=origin, action=action, reason=reason, figures=dict(figures))


def test_what_every_pass_decided_meets_in_one_row():
    report = reports.report()
    report["passes"][3]["decisions"] = [
        decision("plain", "plain", "rewritten", form="channel", size=3, full_size=16, error=0.1, extra=7)
    ]
    report["passes"][4]["decisions"] = [
        decision("plain.basis", "plain", "quantized", weight_error=0.01),
        decision("plain.mix", "plain", "quantized", weight_error=0.02, measured_ms=3.0),
        decision("other", "other", "skipped", "too small", units=4),
    ]
    found = {row.name: row for row in rows(report)}
    row = found["plain"]
    assert list(found) == [reports.HOSTILE, "plain", "other"]
    assert row.decisions == [("basis", "rewritten"), ("quantize", "quantized")]
    assert (row.form, row.size, row.full, row.error, row.int8_error) == ("channel", 3, 16, 0.1, 0.02)
    assert row.why == ["basis: extra 7"] and found["other"].why == ["quantize: too small"]
    assert row.macs_before == 64 * 16 * 144 and row.kept is not None and row.kept < 1
    assert row.measured is None and found["other"].full == 4


def test_what_only_cleans_up_has_no_row():
    report = reports.report()
    report["passes"][0]["decisions"] = [decision("gone", "gone", "folded"), decision("bn", "bn", "removed")]
    assert not {"gone", "bn"} & {row.name for row in rows(report)}


def test_layers_that_went_with_a_block_and_the_block_have_rows():
    report = reports.report()
    report["passes"][3]["decisions"] = [
        decision("add", "add", "removed", "two layers", lost=0.1),
        decision("relu", "relu", "removed", "with the block of add"),
        decision("plain", "plain", "removed", "with the block of add"),
    ]
    found = {row.name: row.decisions for row in rows(report)}
    assert found["plain"][0] == found["add"][0] == ("basis", "removed") and "relu" not in found


def test_several_outputs_have_a_table():
    report = reports.report()
    assert output_table(report) is None
    report["passes"][3]["figures"] |= {"relative_error:a": 0.25, "relative_error:b": 0.5}
    report["passes"][4]["figures"] |= {"relative_error:a": 0.0, "relative_error:b": 0.0}
    assert output_table(report) == OutputTable(["moved by basis"], [("a", ["0.25"]), ("b", ["0.5"])])
    assert report["quality"] is not None
    report["quality"]["outputs"] = {"b": 0.125}
    found = output_table(report)
    assert found == OutputTable(
        ["Agreement with the original", "moved by basis"], [("b", ["87.50 %", "0.5"]), ("a", ["", "0.25"])]
    )
    assert "moved by basis" in to_html(report)


def test_a_search_is_drawn_by_what_it_makes_small():
    report = reports.report()
    (search,) = report["passes"][3]["traces"]["searches"]
    assert "MACs kept, %" in next(search_drawings(report)).svg, "of older reports"
    search["cost"] = "latency"
    for trial in search["tried"]:
        trial["share"], trial["macs"] = trial["macs"], 1.0
    drawn = next(search_drawings(report)).svg
    assert "time kept, %" in drawn and "93.00 with 60.0 % of the time" in drawn


def test_measured_times_are_those_of_whole_layers():
    report = reports.report()
    figures = {"measured_ms": 2.0, "measured_before_ms": 4.0}
    report["passes"][3]["decisions"] = [decision("plain", "plain", "rewritten", **figures)]
    report["passes"][4]["decisions"] = [decision("plain.basis", "plain", "quantized", measured_ms=1.5)]
    (line,) = [line for line in size_lines(report) if line.name == "Layers, measured"]
    assert (line.before, line.after, line.kept) == ("4 ms", "2 ms", 0.5)
    assert {(row.measured_before, row.measured) for row in rows(report)} == {(None, None), (4.0, 2.0)}
    assert "ms measured before" in to_html(report)


def test_a_share_without_a_whole_is_empty():
    report = reports.report()
    report["before"]["macs"] = 0
    assert size_lines(report)[0].share == ""


def test_what_int8_costs_is_shown_in_the_order_of_the_network():
    report = reports.report()
    report["passes"][4]["decisions"] = [
        decision("plain.basis", "plain", "quantized", int8_loss=0.001, int8_divergence=0.02, ms_saved=0.25),
        decision("plain.mix", "plain", "skipped", "in float", int8_loss=0.5, int8_divergence=0.01, ms_saved=0.5),
        decision("last", "last", "quantized", int8_loss=0.003),
        decision("none", "none", "skipped", "shares its weight"),
    ]
    found = {row.name: row for row in rows(report)}
    assert (found["plain"].int8_loss, found["plain"].int8_divergence, found["plain"].ms_saved) == (0.5, 0.02, 0.75)
    assert (found["last"].int8_loss, found["last"].ms_saved, found["none"].int8_loss) == (0.003, None, None)
    (drawing,) = int8_drawings(report)
    titles = [
        drawing.svg.index(f"<title>{text}") for text in ("plain:  0.1 %", "plain, stays in float:  50 %", "last:  0.3")
    ]
    assert titles == sorted(titles)
    page = to_html(report)
    assert "50.000 %" in page and "INT8 saves, ms" in page and "0.7500" in page
