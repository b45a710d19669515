from __future__ import annotations

import io

import pytest
from onnx_compress.cli import console
from onnx_compress.compiler.context import silent
from rich.console import Console


def test_bars_are_drawn_on_terminals_only(monkeypatch: pytest.MonkeyPatch):
    with console.progress_bars(quiet=False) as progress:
        assert progress is silent
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
