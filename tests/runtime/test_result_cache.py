"""What is stored once is known to the next run, whatever happened in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from onnx_compress.compiler.errors import CompressError
from onnx_compress.runtime.result_cache import ResultCache, cache_folder


def test_values_are_computed_once_and_kept(tmp_path: Path) -> None:
    made: list[int] = []

    def compute() -> dict[str, list[float]]:
        made.append(1)
        return {"ms": [0.1]}

    for store in (ResultCache(tmp_path / "new"), ResultCache(tmp_path / "new")):
        assert store.get("a", "x", compute) == store.get("a", "x", compute) == {"ms": [0.1]}
    assert len(made) == 1
    assert ResultCache(tmp_path / "new").known("b") == {}


def test_a_line_cut_short_is_forgotten(tmp_path: Path) -> None:
    store = ResultCache(tmp_path)
    store.add("a", "x", 1)
    store.add("a", "y", 2)
    file = tmp_path / "a.jsonl"
    file.write_text(file.read_text()[:-5])
    assert ResultCache(tmp_path).known("a") == {"x": 1}


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(CompressError, match="cannot be written"):
        ResultCache(tmp_path / "file").add("a", "x", 1)


def test_the_cache_lies_where_the_system_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/somewhere")
    assert cache_folder() == Path("/somewhere/onnx-compress")
