"""Every pass over small networks of the structures that people build, for three targets. Prints JSON lines.

    python benchmarks/structures.py [--only WORD] [--pipelines WORD] [--from NUMBER] [--count NUMBER] [--limit 60]

The networks are those of `structure_networks`. A line for every bad case, and one with the counts:

    rewritten, unchanged    exit without an error, and nothing that `examined` asks is wrong: a valid model with the
                            same inputs and outputs that runs at several batches and sizes where these are open; at
                            full size it gives the outputs of the original, else finite ones within a bound that a right
                            result keeps; the file has the bytes and parameters that the report states, and keeps to
                            the budget; a default session gives what the model gives as written
    refused                 one clear error, and nothing is written
    bad                     anything else, a crash or a timeout
"""

from __future__ import annotations

import argparse
import json
import tempfile
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from zlib import crc32

import examined
import numpy as np
import onnx
import structure_networks
from isolated import Isolated

EXACT, WHOLE = 1e-3, 2e-2
"""Errors at full size, in FP32 and where there is a type of 16 bits."""
QUANTIZED, LOSSY, NEAR = 0.3, 1.2, 0.05
"""Largest errors of outputs in INT8, of what is cut down without training, and of what is rewritten nearly in full."""
SAMPLES = 16
OPEN = ({"N": 1, "H": 16, "W": 16}, {"N": 3, "H": 24, "W": 20})
"""Sizes of open dimensions that results are tried at; the first are those of the samples."""
SIXTEEN = (onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16)
LEFT = ("skipped", "kept")


@dataclass(frozen=True)
class Case:
    """How a network is compressed, and the largest error that is expected."""

    pipeline: str
    target: str
    data: bool
    bound: float


FULL = ("cleanup", *(f"{each}:rank=1.0" for each in ("basis", "sbf", "sparse-lowrank")), "prune:macs=1.0")
ALMOST = tuple(f"{each}:energy=0.99999" for each in ("basis", "sbf", "sparse-lowrank"))
CUT = (
    *(f"{each}:energy=0.9" for each in ("basis", "sbf", "sparse-lowrank")),
    *("codebook", "filter-summary:ratio=2", "prune:macs=0.8"),
)
BOTH = ("basis:energy=0.9,quantize", "prune:macs=0.8,quantize")
BUDGETS = (
    *(f"{each}:{unit}=0.7" for each in ("basis", "prune") for unit in ("macs", "params", "bytes")),
    *("sbf:params=0.7", "sparse-lowrank:bytes=0.7"),
)
XAVIER, TRT10, ORT = "xavier", "trt10", "ort"


def cases() -> list[Case]:
    """What a target decides goes to all that decide otherwise; the rest to one."""
    full = [Case(pipeline, ORT, True, EXACT) for pipeline in FULL]
    almost = [Case(pipeline, ORT, data, NEAR) for pipeline in ALMOST for data in (True, False)]
    rounded = [Case("quantize", target, True, QUANTIZED) for target in (XAVIER, TRT10, ORT)]
    cut = [Case(pipeline, target, True, LOSSY) for pipeline in CUT for target in (XAVIER, ORT)]
    both = [Case(pipeline, target, True, LOSSY) for pipeline in BOTH for target in (XAVIER, TRT10, ORT)]
    limited = [Case(pipeline, XAVIER, True, LOSSY) for pipeline in BUDGETS]
    blind = [Case(pipeline, TRT10, False, np.inf) for pipeline in (*CUT[:4], "prune:macs=0.8,quantize")]
    return [*full, *almost, Case("cleanup", TRT10, False, EXACT), *rounded, *cut, *both, *limited, *blind]


class Original:
    """A network before anything is done to it."""

    def __init__(self, path: Path):
        self.path, self.proto = path, onnx.load(path)
        self.bytes = _stored(path)
        self.half = any(tensor.data_type in SIXTEEN for tensor in self.proto.graph.initializer)
        asked = examined.inputs(self.proto)
        feeds = [{e.name: _random(e, sizes, seed) for e in asked} for seed, sizes in enumerate(OPEN)]
        loaded = examined.Loaded(path)
        runs = [(entry, loaded.run(entry)) for entry in feeds]
        self.runs = [(entry, outputs) for entry, outputs in runs if outputs is not None]
        self.samples = self._samples() if self.runs else None
        self.params = self._params()

    def _params(self) -> int | None:
        """With BatchNormalization folded, as which it is compressed: that adds biases."""
        from onnx_compress.api import compress
        from onnx_compress.compiler.errors import CompressError

        try:
            return examined.parameters(compress(self.path, "cleanup", legalize=False).proto)
        except CompressError:
            return None

    def _samples(self) -> dict[str, np.ndarray] | None:
        """As rows; None, and all is done without data, where an input has no axis for them."""
        asked = examined.inputs(self.proto)
        if any(not dims or dims[0].dim_value > 1 for dims in (entry.type.tensor_type.shape.dim for entry in asked)):
            return None
        draws = [{e.name: _random(e, OPEN[0], seed) for e in asked} for seed in range(SAMPLES)]
        return {entry.name: np.concatenate([draw[entry.name] for draw in draws]) for entry in asked}


class Examiner:
    """Answers for a case; the last original is kept."""

    def __init__(self) -> None:
        self._original: Original | None = None

    def __call__(self, path: str, case: Case) -> tuple[str, str]:
        if self._original is None or str(self._original.path) != path:
            self._original = Original(Path(path))
        out = Path(path).with_name("out.onnx")
        out.unlink(missing_ok=True)
        try:
            return self._answer(self._original, case, out)
        except Exception as error:
            return "bad", f"{error!r}: {traceback.format_exc()[-600:]}"

    def _answer(self, original: Original, case: Case, out: Path) -> tuple[str, str]:
        from onnx_compress.api import compress
        from onnx_compress.compiler.errors import CompressError

        data = original.samples if case.data else None
        try:
            found = compress(original.path, case.pipeline, data=data, target=case.target, output=str(out))
        except CompressError as error:
            ours = ("please report", "unexpected", "onnxruntime cannot") if original.runs else ("unexpected",)
            bug = out.exists() or any(words in str(error) for words in ours)
            return "bad" if bug else "refused", str(error)
        problem = examined.first(self._problems(original, case, out, found.report))
        if problem:
            return "bad", problem
        own = [record for record in found.records if record.name in case.pipeline]
        decisions = [one for record in own for one in record.result.decisions]
        changed = any(one.action not in LEFT for one in decisions)
        return ("rewritten" if changed else "unchanged"), "; ".join({one.reason for one in decisions})

    def _problems(self, original: Original, case: Case, out: Path, report: Any) -> Iterator[str]:
        proto, size = onnx.load(out), _stored(out)
        yield examined.invalid(proto, original.proto, out)
        written = examined.Loaded(out)
        outputs = [written.run(feeds) for feeds, _ in original.runs]
        for (_, wanted), found in zip(original.runs, outputs, strict=True):
            yield _error(original, case, wanted, found)
        yield examined.unlike_file(proto, size, report["after"])
        before = {"bytes": original.bytes, "params": original.params}
        yield examined.over_budget(
            examined.limits(case.pipeline), before, {"bytes": size, "params": examined.parameters(proto)}
        )
        if case.target == "ort" or "quantize" not in case.pipeline:
            engine = examined.Loaded(out, optimized=True)
            for (feeds, wanted), found in zip(original.runs, outputs, strict=True):
                yield examined.engine_gap(found, engine.run(feeds), wanted)
        if original.runs:
            yield examined.contradicted(proto, written, case.target, out.parent)


def _random(entry: onnx.ValueInfoProto, sizes: dict[str, int], seed: int) -> np.ndarray:
    return examined.random_values(entry, sizes, 1, seed=seed + crc32(entry.name.encode()))


def _error(original: Original, case: Case, wanted: list[np.ndarray], found: list[np.ndarray] | None) -> str:
    """Outputs that hang on values, such as boxes and classes, are only compared at full size."""
    if found is None:
        return "onnxruntime ran the original and does not run this"
    exact = case.bound == EXACT
    pairs = [
        (a, b) for a, b in zip(wanted, found, strict=True) if exact or (a.dtype.kind == "f" and a.shape == b.shape)
    ]
    bound = max(case.bound, WHOLE) if original.half else case.bound
    bound = np.inf if original.samples is None and not exact else bound
    gap = examined.error(*zip(*pairs, strict=True)) if pairs else 0.0
    return "" if gap <= bound and np.isfinite(gap) else f"outputs differ by {gap:.3g}"


def _stored(path: Path) -> int:
    """Bytes of a model and of the data beside it."""
    beside = [path.with_name(f"{path.name}.data")] if path.name == "out.onnx" else [path.with_name("weights")]
    return sum(file.stat().st_size for file in (path, *beside) if file.is_file())


def examiner() -> Callable[[str, Case], tuple[str, str]]:
    return Examiner()


def main() -> None:
    parser = argparse.ArgumentParser(description="Every pass over small networks of what people build.")
    parser.add_argument("--only", default="", help="networks whose names have this in them")
    parser.add_argument("--pipelines", default="", help="pipelines that have this in them")
    parser.add_argument("--from", dest="start", type=int, default=0)
    parser.add_argument("--count", type=int, default=None)
    parser.add_argument("--limit", type=float, default=60, help="seconds for one case")
    parser.add_argument("--reasons", action="store_true", help="also a line for every case that is not bad")
    args = parser.parse_args()
    names = [name for name in structure_networks.STRUCTURES if args.only in name][args.start :][: args.count]
    asked = [case for case in cases() if args.pipelines in case.pipeline]
    counts, ask = Counter[str](), Isolated(examiner, args.limit, 8)
    with tempfile.TemporaryDirectory() as folder:
        for name in names:
            path = Path(folder) / name / "net.onnx"
            path.parent.mkdir()
            structure_networks.save(name, path)
            for case in asked:
                found, problem = ask(str(path), case)
                kind, said = found or ("bad", problem)
                counts[kind] += 1
                if kind == "bad" or args.reasons:
                    line = {"network": name, "pipeline": case.pipeline, "target": case.target, "data": case.data}
                    print(json.dumps({**line, "kind": kind, "said": said[:800]}), flush=True)
    print(json.dumps({"benchmark": "structures", "networks": len(names), "cases": len(asked), **counts}), flush=True)


if __name__ == "__main__":
    main()
