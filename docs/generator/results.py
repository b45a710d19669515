"""Tables of measured figures, from the lines of `benchmarks/results`: a figure stands there once, and nowhere else."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .markdown import code, table
from .recipes import ORIGINAL, Line, measurements, shares

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
NETWORKS = {"resnet20": "ResNet-20", "resnet32": "ResNet-32", "resnet56": "ResNet-56"}
ORIGINALS = {"resnet20": 91.73, "resnet32": 92.63, "resnet56": 93.39}
PEERS = {
    "ResNet-20, CIFAR-10": "resnet20",
    "ResNet-56, CIFAR-10": "resnet56",
    "SqueezeNet 1.1": "squeezenet",
    "EfficientNet-Lite0": "efficientnet",
    "MobileNetV2": "mobilenetv2",
    "YOLOX-nano": "yolox",
    "FastestDet": "fastestdet",
    "DeepLab v3, MobileNetV2 0.5": "deeplab",
}
"""What a network is called in the lines of `benchmarks/peers.py`."""
TASKS = "top1", "map50", "miou"
WORTH = 1.0
"""Points of its metric that a network may lose for the time that a recipe saves."""


def stored(name: str) -> list[dict[str, Any]]:
    """The lines of a file."""
    text = (RESULTS / f"{name}.jsonl").read_text(encoding="utf-8")
    return [json.loads(line) for line in text.splitlines()]


def networks() -> str:
    """A network in a row: its metric and its time before and after the best recipe."""
    ratios = _measured_ratios()
    head = ("network", "metric", "recipe", "before", "after", "FP16, ms", "after, ms", "here, `--target ort`")
    rows = [_network(network, lines, ratios) for network, lines in measurements().items()]
    return table(head, rows)


def best(lines: Mapping[str, Line]) -> Line:
    """Of the recipes that cost at most `WORTH`, the one that leaves the least time."""
    original = lines[ORIGINAL]
    tried = [line for line in lines.values() if "figure" in line and line["recipe"] != ORIGINAL]
    kept = [line for line in tried if line["figure"] >= original["figure"] - WORTH] or tried
    return min(kept, key=lambda line: shares(line, original)[0])


def after_ms(line: Line, original: Line) -> float:
    return line["ms"] if "ms" in line else shares(line, original)[0] * original["ms_fp16"]


def _network(network: str, lines: Mapping[str, Line], ratios: Mapping[str, float]) -> list[str]:
    original, chosen = lines[ORIGINAL], best(lines)
    figures = [f"{line['figure']:.1f}" for line in (original, chosen)]
    times = [f"{ms:.2f}" for ms in (original["ms_fp16"], after_ms(chosen, original))]
    ratio = ratios.get(PEERS.get(network, ""))
    here = "" if ratio is None else f"{ratio:.2f}"
    return [network, original["metric"], code(f"-p {chosen['recipe']}"), *figures, *times, here]


def _measured_ratios() -> dict[str, float]:
    """Network -> the time of `quantize` for onnxruntime as a share of the original's, the two timed in turns."""
    ours = {"quantize", "quantize ort"}
    lines = [line for name in ("peers", "peers_real") for line in stored(name)]
    found = [line for line in lines if line["tool"] == "onnx-compress" and line["setting"] in ours]
    return {line["network"]: line["latency_ratio"] for line in found if line.get("latency_ratio")}


def sessions() -> str:
    """What files for the Xavier are worth with the pairs as written, and in a default session of onnxruntime."""
    ours = [line for line in stored("peers_real") if line["setting"] == "quantize xavier"]
    names = {name: network for network, name in PEERS.items()}
    rows = [[names[line["network"]], *(_figure(line, end) for end in ("", "_fused"))] for line in ours]
    return table(("network", "as written", "default session"), rows)


def _figure(line: Line, ending: str) -> str:
    return next(f"{line[task + ending]:.2f}" for task in TASKS if task + ending in line)


def cifar() -> str:
    """Pipelines on CIFAR-10 networks: what they keep, and with `finetune` what training brings."""
    head = ("network", "pipeline", "MACs kept", "before", "after", "fused INT8", "untrained", "training")
    lines = [*stored("accuracy"), *_pruned(), *_tuned()]
    order = {name: index for index, name in enumerate(NETWORKS)}
    return table(head, [_pipeline(line) for line in sorted(lines, key=lambda line: order[line["network"]])])


def _pruned() -> Iterator[Line]:
    """Without what others do, and without pruning as the peers do it."""
    for line in stored("prune"):
        if "Pruning" not in line["pipeline"] and "repair=none" not in line["pipeline"]:
            yield line


def _tuned() -> Iterator[Line]:
    """One round of training each."""
    return (line for line in stored("finetune") if line["pipeline"].count("finetune") == 1)


def _pipeline(line: Line) -> list[str]:
    network, trained = line["network"], "plain" in line
    fused = line.get("top1_fused") if "quantize" in line["pipeline"] else None
    return [
        NETWORKS[network],
        code(_spelled(line)),
        f"{100 * line['macs']:.1f} %",
        f"{ORIGINALS[network]:.2f}",
        f"{line['top1']:.2f}",
        "" if fused is None else f"{fused:.2f}",
        f"{line['plain']:.2f}" if trained else "",
        f"{line['steps'] * line['seconds_per_step'] / 60:.0f} min" if trained else "",
    ]


def _spelled(line: Line) -> str:
    """The pipeline without what does not decide the result, and with what was the default when it was measured."""
    passes = [
        ":".join(part for part in entry.split(":") if not part.startswith(("threads=", "engine=")))
        for entry in line["pipeline"].split(",")
    ]
    if line.get("curve") and len(line["curve"][0]) == 2:
        passes = [f"{entry}:optimizer=adamw" if entry.startswith("finetune") else entry for entry in passes]
    return ",".join(passes)
