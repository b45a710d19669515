"""Results that took long to get, kept on disk: a JSON line each, written at once, read again by the next run."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from ..compiler.files import writing


class ResultCache:
    """Values by name in the files of a folder, `FILE.jsonl`; values are what JSON can hold."""

    def __init__(self, folder: Path):
        self._folder = folder
        self._known: dict[str, dict[str, Any]] = {}

    def known(self, file: str) -> dict[str, Any]:
        """All that a file holds. A line cut short is left out, so that its value is computed again."""
        if file not in self._known:
            self._known[file] = dict(_lines(self._path(file)))
        return self._known[file]

    def add(self, file: str, name: str, value: Any) -> None:
        """`CompressError` where the file cannot be written."""
        self.known(file)[name] = value
        path = self._path(file)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("a", encoding="utf-8") as out:
                out.write(json.dumps({"name": name, "value": value}) + "\n")

    def get(self, file: str, name: str, compute: Callable[[], Any]) -> Any:
        """What is known, or else computed and stored."""
        if name not in self.known(file):
            self.add(file, name, compute())
        return self.known(file)[name]

    def _path(self, file: str) -> Path:
        return self._folder / f"{file}.jsonl"


def cache_folder() -> Path:
    """Below $XDG_CACHE_HOME, or ~/.cache."""
    folder = os.environ.get("XDG_CACHE_HOME")
    return Path(folder or Path.home() / ".cache") / "onnx-compress"


def _lines(path: Path) -> Iterator[tuple[str, Any]]:
    if not path.exists():
        return
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            entry = json.loads(line)
            yield entry["name"], entry["value"]
        except (ValueError, KeyError, TypeError, RecursionError):
            continue
