"""What tests of the front door share: a small classifier, images, and a way to call the command line."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import builders
import numpy as np
import onnx
from onnx_compress.cli import main
from onnx_compress.cli.app import PROGRAM, app
from typer.main import get_command

CLASSES, SIDE = 7, 8
EXAMPLES = Path(__file__).parents[1] / "examples"
ZERO_SMALL, DEPTHWISE_SEPARABLE = (str(EXAMPLES / name) for name in ("zero_small.py", "depthwise_separable.py"))


def classifier(batch: str = "N", seed: int = 0) -> onnx.ModelProto:
    """(batch, 3, 8, 8) -> (batch, 7): Conv, Relu, mean, Gemm."""
    graph = f"""g (float[{batch},3,{SIDE},{SIDE}] x) => (float[{batch},{CLASSES}] y) {{
        t = Conv<pads=[1,1,1,1]>(x, w)
        r = Relu(t)
        p = GlobalAveragePool(r)
        f = Flatten(p)
        y = Gemm<transB=1>(f, v)
    }}"""
    w, v = builders.normal(16, 3, 3, 3, seed=seed), builders.normal(CLASSES, 16, seed=seed + 1)
    return builders.proto(graph, w=w, v=v)


def write_model(path: Path, proto: onnx.ModelProto | None = None) -> Path:
    onnx.save(classifier() if proto is None else proto, path)
    return path


def images(count: int, seed: int = 0) -> np.ndarray:
    """uint8 (count, 8, 8, 3)."""
    return np.random.default_rng(seed).integers(0, 256, (count, SIDE, SIDE, 3), np.uint8)


def call(*arguments: object) -> int:
    """The exit code of `onnx-compress arguments`."""
    return main([str(argument) for argument in arguments])


def parsed(arguments: Sequence[str]) -> Any:
    """The context of the command that `onnx-compress arguments` names: parsed, not run."""
    command: Any = get_command(app)
    context = command.make_context(PROGRAM, list(arguments))
    while hasattr(command, "commands"):
        words = [*context._protected_args, *context.args]
        name, command, words = command.resolve_command(context, words)
        context = command.make_context(name, words, parent=context)
    return context
