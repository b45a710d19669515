"""The page: well-formed, complete, on its own, and unimpressed by hostile names."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import reports
from onnx_compress.compiler.report.frontier import Frontier, FrontierPoint, FrontierSize
from onnx_compress.compiler.report.page import overview, to_html, written_as

VOID = {"meta", "input", "br"}


class Page(HTMLParser):
    """Tags that do not nest, the text by tag, and the attributes."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.wrong: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))

    def of(self, tag: str) -> list[str]:
        return [text.strip() for where, text in self.texts if where == tag and text.strip()]


def test_it_is_well_formed_and_so_is_every_drawing():
    text = to_html(reports.report())
    page = Page(text)
    assert page.wrong == [] and page.open == []
    drawings = re.findall(r"<svg.*?</svg>", text, re.DOTALL)
    assert len(drawings) > 10
    for drawing in drawings:
        ElementTree.fromstring(drawing)


def test_every_conv_has_a_row_and_every_section_is_there():
    page = Page(to_html(reports.report()))
    assert {"plain", reports.HOSTILE} <= set(page.of("bdi"))
    headings = ["Result", "Layer by layer", "Size and quality", "Every layer", "Error curves"]
    headings += ["Activation ranges", "Weight ranges", "Passes", "To repeat it"]
    assert [heading for heading in page.of("h2") if heading != "Notes"] == headings
    captions = page.of("figcaption")
    wanted = [
        "Multiply-accumulates, million",
        "Latency, ms",
        "Error, %",
        "Sensitivity, times the average",
        "Lost in INT8, %",
    ]
    assert captions[:5] == wanted
    assert captions[5:8] == ["Search: agreement, %", "Training loss, basis", "Divergence on held-out samples, basis"]


def test_names_are_text_wherever_they_stand():
    text = to_html(reports.report())
    assert "<script>alert" not in text and "<b>" not in text
    page = Page(text)
    assert sum(tag == "script" for tag, _, _ in page.attributes) == 0
    assert not any(name.startswith("on") for _, name, _ in page.attributes)
    assert any(reports.HOSTILE in title for title in page.of("title"))


def test_it_needs_nothing_else():
    text = to_html(reports.report())
    page = Page(text)
    links = [(name, value) for _, name, value in page.attributes if name in ("src", "href", "srcset", "action")]
    assert all(name == "href" and value == "#axes" for name, value in links)
    assert not re.search(r"https?:|url\(|@import", text)
    assert not {"link", "img", "iframe"} & {tag for tag, _, _ in page.attributes}


def test_training_goes_by_the_number_of_the_round():
    titles = [title for title in Page(to_html(reports.report())).of("title") if title.startswith("round")]
    assert titles == ["round 1: 0.5", "round 2: 0.25", "round 10: 0.2", "round 1: 0.9", "round 2: 0.95"]


def test_a_frontier_is_drawn():
    points = [
        FrontierPoint(macs_kept=0.5, top1=0.9, pipeline="basis:macs=0.5"),
        FrontierPoint(share=0.3, unreachable="too small"),
    ]
    found = Frontier(
        schema=2, model="net", method="basis", budget="macs", target="xavier", latency="estimated", fitted_on=64,
        judged_on=64, metric="agreement", original=FrontierSize(macs=10, latency_ms=None, top1=0.92, value=1.0),
        points=points, notes=[],
    )  # fmt: skip
    page = Page(to_html(reports.report(), found))
    assert "Frontier of basis: top-1 accuracy, %" in page.of("figcaption")
    assert "basis:macs=0.5: 90.00 % with 50.0 % of the MACs" in page.of("title")


def test_a_report_without_anything_to_draw_is_a_page():
    report = reports.report()
    report["layers"], report["quality"], report["data"], report["environment"] = [], None, None, None
    report["command"] = report["created"] = report["model"] = report["output"] = None
    report["before"]["latency"] = report["after"]["latency"] = None
    for entry in report["passes"]:
        entry["decisions"], entry["metrics"] = [], {}
        entry["traces"] = {"curves": [], "searches": [], "spreads": []}
    page = Page(to_html(report))
    assert page.wrong == [] and "figure" not in {tag for tag, _, _ in page.attributes}
    assert [heading for heading in page.of("h2") if heading != "Notes"] == [
        "Result",
        "Every layer",
        "Passes",
        "To repeat it",
    ]


def test_a_network_of_150_convs_stays_under_two_megabytes():
    report = reports.report()
    layers, (basis, quantize) = report["layers"], report["passes"][3:5]
    curves, spreads = basis["traces"]["curves"], quantize["traces"]["spreads"]
    report["layers"] = layers * 75
    basis["decisions"], quantize["decisions"] = basis["decisions"] * 75, quantize["decisions"] * 75
    basis["traces"]["curves"] = [{**each, "origin": f"{each['origin']}{n}"} for n in range(75) for each in curves]
    quantize["traces"]["spreads"] = spreads * 75
    assert len(report["layers"]) == 150
    assert len(to_html(report).encode()) < 2_000_000


def test_the_suffix_decides():
    report = reports.report()
    assert written_as(Path("a.HTML"), report).startswith("<!doctype html>")
    assert written_as(Path("a.json"), report).startswith("{")


def test_notebooks_get_a_table():
    report = reports.report()
    report["model"] = "a&b.onnx"
    root = ElementTree.fromstring(overview(report))
    cells = [["".join(cell.itertext()) for cell in row] for row in root.iter("tr")]
    assert cells[0] == ["", "before", "after", "kept"]
    assert [row[0] for row in cells[1:4]] == ["MACs of the Convs", "Parameters of the Convs", "File, bytes"]
    assert "a&b.onnx" in "".join(root.itertext())
