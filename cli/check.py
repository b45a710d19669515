"""`onnx-compress check MODEL`: does the target's engine take this file, and does it read it as ONNX defines it?"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ..compiler.errors import UsageError, nearest
from .options import AsJson

if TYPE_CHECKING:
    from onnx import ModelProto
    from rich.console import Console

    from ..compiler.lint import Finding

SHOWN = 5
"""Findings of one rule that are printed; --json has all."""


def check(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="The ONNX file to check.")],
    target: Annotated[str, typer.Option(help="The engine that the model is for.")] = "xavier",
    plugin_op: Annotated[
        list[str] | None, typer.Option(help="An operator that a TensorRT plugin of yours runs; may be repeated.")
    ] = None,
    engine: Annotated[
        Literal["rtx"] | None, typer.Option(help="Also parse and build it; rtx: TensorRT for RTX, needs no GPU.")
    ] = None,
    shapes: Annotated[
        list[str] | None, typer.Option(help="With --engine: NAME:1x3x224x224 of an open input; may be repeated.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what an engine refuses, misreads or runs slowly.

    Exit code 1 if it would not take the model.
    """
    from ..compiler.graph.io import parse
    from ..compiler.lint import lint
    from ..compiler.targets import find_target
    from .console import results

    if shapes and engine is None:
        raise UsageError("no shapes without an engine", "--shapes", "add --engine rtx")
    chosen = find_target(target)
    proto = parse(model)
    for name in plugin_op or []:
        known = operators(proto)
        if name not in known:
            raise UsageError(f"no node has the operator '{name}'", "--plugin-op", nearest(name, sorted(known)))
    findings = lint(proto, chosen, model.parent, plugin_op or [])
    if not _errors(findings):
        findings = [*invalid(model), *findings]
    left = left_by_legalize(model, target, plugin_op or []) if _errors(findings) else None
    built = None if engine is None else engine_figures(model, shapes or [])
    figures = {
        "model": str(model),
        "target": chosen.name,
        "passed": passes(findings, built),
        "findings": [dataclasses.asdict(finding) for finding in findings],
        "errors_after_legalize": left,
        "dla": dla_figures(model) if chosen.dla else None,
        "engine": built,
    }
    if as_json:
        typer.echo(json.dumps(figures))
    else:
        show(results(), figures, findings)
    if not figures["passed"]:
        raise typer.Exit(1)


def invalid(model: Path) -> Iterator[Finding]:
    """What is wrong with the model whatever the engine, where something is."""
    from ..compiler.errors import CompressError
    from ..compiler.graph.io import load
    from ..compiler.lint import Finding
    from ..drivers.setup import check_model

    try:
        check_model(load(model))
    except CompressError as error:
        yield Finding("invalid", error.where or "model", error.what, error.fix, "error")


def operators(model: ModelProto) -> set[str]:
    """Of all nodes, those in subgraphs and functions included."""
    from ..compiler.graph.normalize import graphs

    nodes = [node for part in graphs(model.graph) for node in part.node]
    return {node.op_type for node in (*nodes, *(node for function in model.functions for node in function.node))}


def passes(findings: Iterable[Finding], engine: dict[str, Any] | None) -> bool:
    """No rule is broken, and the engine that was asked, if any, took the model."""
    refused = engine is not None and not (engine["parsed"] and engine["built"])
    return not refused and all(finding.severity != "error" for finding in findings)


def dla_figures(model: Path) -> dict[str, Any]:
    """Which layers the DLA runs, and their share of the multiply-accumulates."""
    from ..compiler.dla import dla_layers, dla_share
    from ..compiler.graph.io import load
    from ..compiler.graph.shapes import infer_shapes

    graph = load(model).graph
    layers = dla_layers(graph, infer_shapes(graph))
    return {"share": dla_share(layers), "layers": [dataclasses.asdict(layer) for layer in layers]}


def engine_figures(model: Path, shapes: Sequence[str]) -> dict[str, Any]:
    """The result of TensorRT for RTX."""
    from ..compiler.targets.profiles import parse_ranges
    from ..runtime.tensorrt.rtx import check_engine

    sizes = {name: sizes.opt for name, sizes in parse_ranges(shapes).items()}
    return dataclasses.asdict(check_engine(model, shapes=sizes))


def left_by_legalize(model: Path, target: str, plugin_op: Sequence[str]) -> int | None:
    """How many errors a model has that the legalize pass has been over; None where that cannot run."""
    from ..compiler.errors import CompressError
    from ..compiler.lint import lint
    from ..compiler.pipeline.options import RunOptions
    from ..compiler.pipeline.progress import silent
    from ..compiler.targets import find_target
    from ..drivers.compress import compress

    options = RunOptions(target=target, plugin_operators=tuple(plugin_op), prepare=False, legalize=False)
    try:
        written = compress(str(model), "legalize", options, silent, None).proto
    except CompressError:
        return None
    return _errors(lint(written, find_target(target), model.parent, plugin_op))


def show(console: Console, figures: dict[str, Any], findings: list[Finding]) -> None:
    """Findings, errors first; then the DLA, the engine, and the verdict."""
    for rule, found in groupby(findings, key=lambda finding: finding.rule):
        _show_rule(console, rule, list(found))
    if figures["dla"] is not None:
        _show_dla(console, figures["dla"])
    if figures["engine"] is not None:
        _show_engine(console, figures["engine"])
    verdict = "passes" if figures["passed"] else "does not pass"
    console.print(f"{figures['model']} {verdict} for {figures['target']}: {_counts(findings)}", soft_wrap=True)
    left, errors = figures["errors_after_legalize"], _errors(findings)
    if left is not None and left < errors:
        mended = "all of them" if not left else f"{errors - left} of them"
        console.print(f"`onnx-compress {figures['model']} -p legalize` mends {mended}", soft_wrap=True)


def _show_rule(console: Console, rule: str, findings: list[Finding]) -> None:
    for finding in findings[:SHOWN]:
        line = f"{finding.severity}: {finding.node}: {finding.problem} ({finding.fix}) [{rule}]"
        console.print(line, soft_wrap=True)
    if len(findings) > SHOWN:
        rest = len(findings) - SHOWN
        console.print(f"{findings[0].severity}: and {rest} more of [{rule}]: --json lists all", soft_wrap=True)


def _show_dla(console: Console, dla: dict[str, Any]) -> None:
    from ..compiler.report.formatting import percent

    for layer in dla["layers"]:
        place = "DLA" if layer["runs"] else f"GPU: {layer['reason']}"
        console.print(f"{layer['op']} {layer['node']}: {place}", soft_wrap=True)
    share = dla["share"]
    said = "not all MACs are known" if share is None else f"the DLA runs {percent(share)} of the MACs"
    console.print(said)


def _show_engine(console: Console, engine: dict[str, Any]) -> None:
    for message in engine["messages"]:
        console.print(f"TensorRT for RTX: {message}", soft_wrap=True)
    done = "parsed and built" if engine["built"] else "parsed, not built" if engine["parsed"] else "not parsed"
    size = "" if engine["engine_bytes"] is None else f", {engine['engine_bytes']} bytes"
    console.print(f"TensorRT for RTX {engine['version']}: {done} in {engine['seconds']:.1f} s{size}", soft_wrap=True)


def _counts(findings: list[Finding]) -> str:
    errors = _errors(findings)
    return f"{_plural(errors, 'error')}, {_plural(len(findings) - errors, 'warning')}"


def _errors(findings: Iterable[Finding]) -> int:
    return sum(finding.severity == "error" for finding in findings)


def _plural(count: int, word: str) -> str:
    return f"{count} {word}" if count == 1 else f"{count} {word}s"
