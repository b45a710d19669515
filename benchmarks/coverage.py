"""Every pass over models that others made: a JSON line per model, and a page about them.

    python benchmarks/coverage.py --log benchmarks/results/coverage.jsonl --page docs/coverage.md
    python benchmarks/coverage.py --log benchmarks/results/coverage.jsonl --sources "" --folder MODELS

Sources: `light`, `node` and `pytorch` are the models that the onnx package ships or makes for backend tests; `packages`
is every ONNX file of an installed package; --folder is a folder of files, such as `export_timm.py` writes. Models of
`node` have their weights as inputs, those of `light` compute them; where there is a Conv they come once more, as
`NAME+weights`, with stored ones.

`outcome` is what a pipeline did: `rewritten` (so many nodes), `unchanged` (with the reasons), `refused` (a clear
error); or what must not be: `failed` (an exception that is a bug), `invalid` (a question of `examined` has a wrong
answer: checker, interface, the report beside the file, a default session, `check` beside onnxruntime), `wrong` (a
pipeline at full size whose outputs differ by more than 1e-4), `crash`, `timeout`. Models run in a process of their
own. In a line, pipelines of one result stand together. A model that is in --log is not done again: all of them take a
day.
"""

from __future__ import annotations

import argparse
import json
import re
import traceback
from collections import Counter, defaultdict
from collections.abc import Iterator
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from examined import Feeds, Loaded, contradicted, engine_gap, error, inputs, invalid, random_values, unlike_file
from isolated import Isolated
from onnx import numpy_helper
from tables import table

FULL = (
    "cleanup",
    "basis:rank=1.0",
    "sbf:rank=1.0",
    "sparse-lowrank:rank=1.0",
    "filter-summary:ratio=1",
    "prune:macs=1.0",
)
LOSSY = (
    "basis:energy=0.9",
    "sbf:energy=0.9",
    "sparse-lowrank:energy=0.9",
    "filter-summary:ratio=2",
    "codebook",
    "prune:macs=0.8",
    "quantize",
    "basis:energy=0.9,quantize",
)
CALIBRATED = "+data"
PIPELINES = (*FULL, *LOSSY, f"basis:energy=0.9,quantize{CALIBRATED}")
REST = "rest"
"""All pipelines that no other result in the line names."""
SOURCES = ("light", "packages", "pytorch", "node")
GOOD = ("rewritten", "unchanged", "refused")
BAD = ("failed", "invalid", "wrong", "crash", "timeout")
LEFT = ("skipped", "kept")
RESULT = ("outcome", "actions", "why")
MANY = ("node", "pytorch")
REASONS = 30
TOLERANCE = 1e-4
OPEN = (1, 32, 64, 224, 8, 16000)
"""Sizes tried for open dimensions, the same for all of a model; the batch is 1."""
SAMPLES = 4
CONVS = ("Conv", "ConvTranspose", "ConvInteger", "QLinearConv", "DeformConv")


def models(sources: list[str], folder: Path | None) -> Iterator[tuple[str, str, Any]]:
    """(source, name, path or bytes)."""
    from onnx.backend.test import loader

    if folder is not None:
        yield from ((folder.name, path.stem, str(path)) for path in sorted(folder.glob("*.onnx")))
    for source in sources:
        if source == "packages":
            yield from ((source, *entry) for entry in _packaged())
        elif source == "light":
            place = Path(onnx.__file__).parent / "backend/test/data/light"
            for path in sorted(place.glob("*.onnx")):
                yield source, path.stem, str(path)
                yield source, f"{path.stem}+weights", _with_weights(onnx.load(path))
        elif source == "node":
            cases = (case for case in loader.load_node_model_tests() if case.model is not None)
            yield from ((source, *entry) for case in cases for entry in _variants(case))
        else:
            kinds = ("simple", "pytorch-operator", "pytorch-converted")
            found = [case for kind in kinds for case in loader.load_model_tests(kind=kind)]
            yield from ((source, case.name, str(Path(case.model_dir) / "model.onnx")) for case in found)


def _variants(case: Any) -> Iterator[tuple[str, bytes]]:
    """A model of a backend test, and where it has a Conv, the same with its weights stored."""
    model = case.model
    yield case.name, model.SerializeToString()
    if not any(node.op_type in CONVS for node in model.graph.node) or len(model.graph.input) == 1:
        return
    values = zip(model.graph.input, case.data_sets[0][0], strict=True)
    stored = [numpy_helper.from_array(value, entry.name) for entry, value in values][1:]
    model.graph.initializer.extend(stored)
    del model.graph.input[1:]
    yield f"{case.name}+weights", model.SerializeToString()


def _with_weights(model: onnx.ModelProto) -> bytes:
    """What a ConstantOfShape makes becomes a random initializer, positive where it has one axis (variances)."""
    graph, rng = model.graph, np.random.default_rng(0)
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in [node for node in graph.node if node.op_type == "ConstantOfShape" and node.input[0] in shapes]:
        dims = tuple(shapes[node.input[0]])
        values = rng.standard_normal(dims, np.float32) if len(dims) > 1 else rng.uniform(0.5, 1, dims)
        scale = np.sqrt(2 / max(1, np.prod(dims[1:])))
        graph.initializer.append(numpy_helper.from_array((values * scale).astype(np.float32), node.output[0]))
        graph.node.remove(node)
    return model.SerializeToString()


def _packaged() -> Iterator[tuple[str, str]]:
    for package in sorted(distributions(), key=lambda entry: entry.name):
        if package.name not in ("onnx", "onnxruntime", "skl2onnx"):
            for entry in package.files or []:
                if entry.suffix == ".onnx":
                    yield f"{package.name}/{entry.stem}", str(entry.locate())


def random_feeds(model: onnx.ModelProto, loaded: Loaded) -> Feeds | None:
    """Inputs that onnxruntime runs the model on; None where none of the sizes does."""
    asked = inputs(model)
    if not all(entry.type.HasField("tensor_type") for entry in asked):
        return None
    for size in OPEN:
        feeds = {entry.name: random_values(entry, {}, size, first=1) for entry in asked}
        if loaded.run(feeds) is not None:
            return feeds
    return None


class Examiner:
    """One model: loaded and run once, then compressed by every pipeline."""

    def __init__(self, given: str | bytes):
        self.given = given
        self.model = onnx.load(given) if isinstance(given, str) else onnx.load_model_from_string(given)
        loaded = Loaded(self.model)
        self.refused = loaded.refused
        self.feeds = random_feeds(self.model, loaded)
        self.outputs = None if self.feeds is None else loaded.run(self.feeds)

    def __call__(self, pipeline: str) -> dict[str, Any]:
        from onnx_compress.api import compress
        from onnx_compress.compiler.errors import CompressError

        data = self._samples() if pipeline.endswith(CALIBRATED) else None
        if data is None and pipeline.endswith(CALIBRATED):
            return {"outcome": "unchanged", "why": "onnxruntime does not run the model on random inputs"}
        try:
            source = self.given if isinstance(self.given, str) else self.model
            found = compress(source, pipeline.removesuffix(CALIBRATED), data=data, target="ort")
        except CompressError as error:
            bug = "please report it" in str(error)
            return {"outcome": "failed" if bug else "refused", "why": str(error) if bug else error.what}
        except Exception as error:
            return {"outcome": "failed", "why": f"{error!r}: {traceback.format_exc()[-600:]}"}
        return self._judged(pipeline, found)

    def _samples(self) -> Feeds | None:
        """So many random samples, as rows."""
        if self.feeds is None or not self.feeds or any(value.ndim == 0 for value in self.feeds.values()):
            return None
        return {name: np.concatenate([value] * SAMPLES) for name, value in self.feeds.items()}

    def _judged(self, pipeline: str, found: Any) -> dict[str, Any]:
        decisions = [one for record in found.records for one in record.result.decisions if record.name in pipeline]
        actions = Counter(one.action for one in decisions)
        reasons = Counter(one.reason for one in decisions if one.action == "skipped")
        line: dict[str, Any] = {"actions": dict(actions), "why": "; ".join(text for text, _ in reasons.most_common(3))}
        outcome, problem = self._problem(pipeline, found.proto, found.report)
        if outcome:
            return {**line, "outcome": outcome, "why": problem}
        done = sum(count for action, count in actions.items() if action not in LEFT)
        return {**line, "outcome": "rewritten" if done else "unchanged"}

    def _problem(self, pipeline: str, proto: onnx.ModelProto, report: Any) -> tuple[str, str]:
        """The outcome that must not be, and why; two empty texts where all is well."""
        written = Loaded(proto)
        outputs = None if self.feeds is None else written.run(self.feeds)
        problem = invalid(proto, self.model) or unlike_file(proto, proto.ByteSize(), report["after"])
        if self.feeds is not None and self.outputs is not None:
            if outputs is None:
                return "invalid", "onnxruntime ran the original and does not run this"
            problem = problem or engine_gap(outputs, Loaded(proto, optimized=True).run(self.feeds), self.outputs)
            gap = error(self.outputs, outputs) if pipeline in FULL else 0.0
            if not problem and not gap <= TOLERANCE:
                return "wrong", f"outputs differ by {gap}"
        if not self.refused:
            problem = problem or contradicted(proto, written)
        return ("invalid", problem) if problem else ("", "")


class Examiners:
    """The examiner of the last model is kept: a model is loaded and run once."""

    def __init__(self) -> None:
        self._given: str | bytes = b""
        self._examiner: Examiner | None = None

    def __call__(self, given: str | bytes, pipeline: str) -> dict[str, Any]:
        try:
            if self._examiner is None or given != self._given:
                self._given, self._examiner = given, Examiner(given)
            return self._examiner(pipeline)
        except Exception as error:
            return {"outcome": "failed", "why": f"{error!r}: {traceback.format_exc()[-600:]}"}


def condensed(runs: dict[str, dict[str, Any]]) -> list[dict[str, Any]]:
    """Results by pipeline, those that are equal once: {"pipelines": [...], "outcome": ..., ...}."""
    found: dict[str, list[str]] = defaultdict(list)
    for pipeline, result in runs.items():
        found[json.dumps({key: result[key] for key in RESULT if result.get(key)})].append(pipeline)
    most = max(found.values(), key=len) if tuple(runs) == PIPELINES else None
    return [{"pipelines": REST if it is most else it, **json.loads(result)} for result, it in found.items()]


def read(log: Path) -> Iterator[dict[str, Any]]:
    """A line per model and pipeline."""
    for line in log.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        named = {pipeline for run in entry["runs"] if run["pipelines"] != REST for pipeline in run["pipelines"]}
        rest = [pipeline for pipeline in PIPELINES if pipeline not in named]
        for run in entry["runs"]:
            result = {key: run.get(key) for key in RESULT}
            for pipeline in rest if run["pipelines"] == REST else run["pipelines"]:
                yield {"source": entry["source"], "model": entry["model"], "pipeline": pipeline, **result}


def page(lines: list[dict[str, Any]]) -> str:
    """What was found, as Markdown."""
    bad = sum(line["outcome"] in BAD for line in lines)
    models = {(line["source"], line["model"]) for line in lines}
    packages = ("onnx-compress", "onnx", "onnxruntime")
    tools = ", ".join(f"{name} {version(name)}" for name in packages)
    parts = [
        "# Models of others",
        f"Every pass over {len(models):,} models that others made: {len(lines):,} runs, of which {bad:,} failed, were "
        f"invalid, wrong, too slow or a crash. Made by `benchmarks/coverage.py` with {tools}.",
        "## By origin",
        "`rewritten`: nodes were changed. `unchanged`: no node of the model can be; the report has the reasons. "
        "`refused`: one clear error, nothing written. Outputs of a rewrite at full size are within 1e-4 of the "
        "original's; inputs and outputs keep names, types and shapes; onnxruntime runs what it ran before.",
        _by_origin(lines),
        "## By model",
        "How many nodes a pass rewrote; `·` none, `r` refused.",
        _by_model([line for line in lines if line["source"] not in MANY]),
        "## Reasons",
        "The most common ones, without names and numbers.",
        _reasons(lines),
    ]
    return "\n\n".join(parts) + "\n"


def _by_origin(lines: list[dict[str, Any]]) -> str:
    counts: dict[str, Counter[str]] = defaultdict(Counter)
    for line in lines:
        counts[line["source"]][line["outcome"]] += 1
    models = Counter(source for source, _ in {(line["source"], line["model"]) for line in lines})
    shown = (*GOOD, *BAD)
    rows = [[source, models[source], *(found[name] for name in shown)] for source, found in counts.items()]
    return table(["origin", "models", *shown], rows)


def _by_model(lines: list[dict[str, Any]]) -> str:
    pipelines = list(dict.fromkeys(line["pipeline"] for line in lines if line["pipeline"] in LOSSY))
    cells = {(line["source"], line["model"], line["pipeline"]): _cell(line) for line in lines}
    names = dict.fromkeys((line["source"], line["model"]) for line in lines)
    rows = [[name, *(cells.get((source, name, each), "") for each in pipelines)] for source, name in names]
    return table(["model", *(f"`{each}`" for each in pipelines)], rows)


def _cell(line: dict[str, Any]) -> str:
    if line["outcome"] != "rewritten":
        return {"unchanged": "·", "refused": "r"}.get(line["outcome"], line["outcome"])
    return str(sum(count for action, count in line["actions"].items() if action not in LEFT))


def _reasons(lines: list[dict[str, Any]]) -> str:
    found = Counter[tuple[str, str]]()
    for line in lines:
        if line["outcome"] in GOOD[1:]:
            reason = re.sub(r"'[^']*'|\"[^\"]*\"|\d+(\.\d+)?", "…", (line["why"] or "").split("; ")[0])
            found[line["outcome"], reason] += 1
    rows = [[outcome, count, reason.replace("|", "/")] for (outcome, reason), count in found.most_common(REASONS)]
    return table(["outcome", "runs", "reason"], rows)


def main() -> None:
    parser = argparse.ArgumentParser(description="Every pass over models that others made.")
    parser.add_argument("--sources", default=",".join(SOURCES))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--pipelines", default=None, help="separated by spaces")
    parser.add_argument("--limit", type=float, default=120, help="seconds for one pipeline")
    parser.add_argument("--log", type=Path)
    parser.add_argument("--page", type=Path, help="write a page about the whole log")
    args = parser.parse_args()
    pipelines = args.pipelines.split() if args.pipelines else PIPELINES
    logged = read(args.log) if args.log is not None and args.log.is_file() else []
    done = {(line["source"], line["model"]) for line in logged}
    ask = Isolated(Examiners, args.limit)
    for source, name, given in models([entry for entry in args.sources.split(",") if entry], args.folder):
        if (source, name) in done:
            continue
        runs = {pipeline: examine(ask, given, pipeline) for pipeline in pipelines}
        line = json.dumps({"source": source, "model": name, "runs": condensed(runs)})
        if args.log is None or any(result["outcome"] in BAD for result in runs.values()):
            print(line, flush=True)
        if args.log is not None:
            with args.log.open("a", encoding="utf-8") as log:
                log.write(line + "\n")
    if args.page is not None and args.log is not None:
        args.page.write_text(page(list(read(args.log))), encoding="utf-8")


def examine(ask: Isolated, given: str | bytes, pipeline: str) -> dict[str, Any]:
    """What a pipeline did to a model; a process that died or took too long is an outcome, too."""
    found, problem = ask(given, pipeline)
    return found or {"outcome": (problem or "").split(" ")[0], "why": problem}


if __name__ == "__main__":
    main()
