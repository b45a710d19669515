from __future__ import annotations

import io
import threading
from functools import partial

import pytest
from onnx_compress.cli import console
from onnx_compress.compiler.pipeline.progress import silent
from onnx_compress.drivers import progress as lines_of
from onnx_compress.drivers.progress import plain_lines
from rich.console import Console


def test_bars_are_drawn_on_terminals_only(monkeypatch: pytest.MonkeyPatch):
    stream = io.StringIO()
    monkeypatch.setattr(console, "errors", lambda: Console(file=stream, force_terminal=True))
    with console.progress_bars(quiet=True) as progress:
        assert progress is silent
    with console.progress_bars(quiet=False) as progress, progress("fitting", 3) as advance:
        advance()
    assert "fitting" in stream.getvalue()


def test_no_colour_where_it_is_not_wanted(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    Console(file=stream, force_terminal=True).print("error: x", style="red")
    assert "\x1b[31m" not in stream.getvalue()


class Clock:
    """A second later at every look."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def lines(verbose: bool, stages: dict[str, list[str]]) -> list[str]:
    stream = io.StringIO()
    progress = plain_lines(partial(Console(file=stream, width=20).print, soft_wrap=True), verbose, Clock(), pulse=0)
    for name, notes in stages.items():
        with progress(name, len(notes)) as advance:
            for note in notes:
                advance(note)
    return stream.getvalue().splitlines()


def test_elsewhere_a_line_says_what_took_more_than_two_seconds():
    assert lines(False, {"costs": ["a"]}) == [], "two seconds"
    assert lines(True, {"costs": [""], "fits": ["conv1", "conv2"]}) == [
        "fits: 1 of 2, 1.0 s, conv1",
        "fits: 2 of 2, 2.0 s, conv2",
        "fits: 2 of 2, 3.0 s, conv2",
    ]


def test_of_long_stages_not_every_step_has_a_line():
    assert len(lines(True, {"steps": ["loss"] * 999})) == 1 + 199 + 1


def test_long_stages_have_lines_in_between_which_become_rarer():
    found = [int(line.split()[1]) for line in lines(False, {"moments": [""] * 200})]
    assert found[:3] == [2, 5, 8], "every two seconds, or more"
    assert found[-1] == 200
    assert len(found) < 45


def test_quiet_says_nothing_and_a_slow_stage_that_fails_has_its_line(monkeypatch: pytest.MonkeyPatch):
    stream = io.StringIO()
    monkeypatch.setattr(console, "errors", lambda: Console(file=stream))
    monkeypatch.setattr(lines_of, "WORTH_A_LINE", -1.0)
    with console.progress_bars(quiet=True) as progress, progress("fits", 1) as advance:
        advance()
    assert stream.getvalue() == ""
    with pytest.raises(KeyError), console.progress_bars(quiet=False) as progress, progress("fits", 2) as advance:
        advance()
        raise KeyError
    assert stream.getvalue() == 2 * "fits: 1 of 2, 0.0 s\n"


def test_a_stage_that_does_not_go_on_has_lines_too():
    said = threading.Event()
    told: list[str] = []

    def write(line: str) -> None:
        told.append(line)
        said.set()

    progress = plain_lines(write, clock=Clock(), pulse=0.001)
    with progress("passes", 2), progress("checks", 1):
        assert said.wait(60)
    assert told[0].startswith("checks: 0 of 1, "), "of the innermost stage"
    assert told[-2].startswith("checks: ") and told[-1].startswith("passes: ")
