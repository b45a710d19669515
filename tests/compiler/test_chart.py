"""Drawings: valid XML, every point inside of the axes, round numbers beside them."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx_compress.compiler.report.chart import Axis, Panel, Series, draw

SVG = "{http://www.w3.org/2000/svg}"
PERCENT = st.floats(0, 200)


@given(st.lists(st.tuples(PERCENT, PERCENT, st.text("a<&>'\"", max_size=3)), min_size=1), st.none() | PERCENT)
def test_every_point_is_inside(points: list[tuple[float, float, str]], whole: float | None) -> None:
    root = ElementTree.fromstring(draw("t <&>", [Panel("x", "y", Series(sorted(points), whole))] * 2))
    circles = list(root.iter(f"{SVG}circle"))
    assert len(circles) == 2 * len(points)
    assert all(64 <= float(c.get("cx", "")) <= 440 and 48 <= float(c.get("cy", "")) <= 268 for c in circles)


def test_no_panel_is_a_title() -> None:
    texts = [text.text for text in ElementTree.fromstring(draw("alone", [])).iter(f"{SVG}text")]
    assert texts == ["alone"]


@pytest.mark.parametrize(
    ("low", "high", "ticks"), [(30, 90, [40, 60, 80]), (86, 92, [86, 88, 90, 92]), (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1])]
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert Axis(low, high, 0, 1).ticks() == pytest.approx(ticks)
