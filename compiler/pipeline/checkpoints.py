"""Finished passes, kept in a folder: the same run goes on behind the last of them.

    NNN-pass.onnx   the model after pass NNN
    NNN-pass.json   the key of the step, the digest of that model, the state of the run, and what the pass reported

A key is the hash of the step before it (of the model, the data and the options of the run for the first), of the pass's
spelling and of its source. A step counts where its key is the expected one and its model file has the stored digest;
the state is written after the model, so that a step cut short does not count. Before a pass runs, the steps from its
place on are no longer valid and go away. Another pipeline with the same first passes shares these.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from ..files import read_json, staged, writing
from ..graph.copies import copy_graph
from ..graph.io import Model, data_file, load
from .base import Pass, PassRecord
from .context import Context, RunState, Snapshot
from .instruments import Dump
from .serialization import from_plain, to_plain

CHUNK = 2**24
PARTS = frozenset(("key", "sha256", "state", "record"))
STEP_FILES = re.compile(r"\d{3}-[^/]*\.(onnx|onnx\.data|json)")


class Checkpoints(Dump):
    """Dumps the model after each pass with what is needed to go on behind it.

    Args:
        keys: of the steps, in order; see `step_keys`.
        prepared: how many passes there are before the model that budgets refer to.
    """

    def __init__(self, folder: Path, keys: Sequence[str], prepared: int = 0):
        super().__init__(folder)
        self._folder, self._keys, self._prepared = folder, list(keys), prepared

    def restore(self, model: Model, ctx: Context) -> list[PassRecord]:
        """Make `model` and `ctx` what the last finished pass left; the records of the finished passes.

        Raises:
            CompressError: a model of the folder cannot be read.
        """
        steps = self._finished()
        if not steps:
            return []
        records = [from_plain(PassRecord, entry["record"]) for entry, _ in steps]
        if len(steps) > self._prepared:
            ctx.original = load(steps[self._prepared - 1][1]).graph if self._prepared else copy_graph(model.graph)
        entry, path = steps[-1]
        Snapshot(load(path).graph, from_plain(RunState, entry["state"])).put_back(model.graph, ctx)
        passes = "pass 1 was" if len(steps) == 1 else f"passes 1 to {len(steps)} were"
        records[-1].result.notes.append(f"{passes} taken from {self._folder}, where an earlier run left them")
        return records

    def before(self, position: int, entry: Pass, model: Model, ctx: Context) -> None:
        for stale in self._folder.glob("[0-9][0-9][0-9]-*.json"):
            if int(stale.name[:3]) >= position and _read(stale) is not None:
                stale.unlink()
                stale.with_suffix(".onnx").unlink(missing_ok=True)

    def after(self, record: PassRecord, model: Model, ctx: Context) -> None:
        super().after(record, model, ctx)
        path = self.path(record.position, record.name)
        content = {
            "key": self._keys[record.position - 1],
            "sha256": _digest(path),
            "state": to_plain(ctx.state),
            "record": to_plain(record),
        }
        file = path.with_suffix(".json")
        with writing(file), staged(file) as part:
            part.write_text(json.dumps(content), encoding="utf-8")

    def _finished(self) -> list[tuple[dict[str, Any], Path]]:
        """Content and model file of every step up to the first that is missing or another's."""
        found: list[tuple[dict[str, Any], Path]] = []
        for position, key in enumerate(self._keys, 1):
            files = list(self._folder.glob(f"{position:03d}-*.json"))
            step = _read(files[0]) if len(files) == 1 else None
            if step is None or step["key"] != key or step["sha256"] != _digest(files[0].with_suffix(".onnx")):
                break
            found.append((step, files[0].with_suffix(".onnx")))
        return found


def step_keys(passes: Sequence[Pass], run: Sequence[object]) -> list[str]:
    """The key of every step of a run that is described by `run`: model, data, options, versions."""
    key, keys = hashlib.sha256(repr(run).encode()).hexdigest(), list[str]()
    for entry in passes:
        key = hashlib.sha256(f"{key}{entry}".encode("utf-8", "surrogateescape") + _source(type(entry))).hexdigest()
        keys.append(key)
    return keys


def _source(cls: type[Pass]) -> bytes:
    """The file that defines the pass: a plug-in may change between two runs."""
    try:
        return Path(inspect.getfile(cls)).read_bytes()
    except (OSError, TypeError):
        return b""


def _digest(path: Path) -> str:
    """sha256 of a model file and of the data file beside it, "" where there is none."""
    if not path.is_file():
        return ""
    total = hashlib.sha256()
    for file in (path, data_file(path)):
        if file.is_file():
            with file.open("rb") as content:
                while chunk := content.read(CHUNK):
                    total.update(chunk)
    return total.hexdigest()


def _read(path: Path) -> dict[str, Any] | None:
    """What a step left; None for a file that is none of a step."""
    try:
        content = read_json(path)
    except ValueError:
        return None
    found = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    return found if set(found) >= PARTS else None
