"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

DATA, SCOPE, ENGINE, WRITTEN, WORK = "Data", "Nodes", "Engine", "What is written", "How it runs"


def _pipelines(incomplete: str) -> list[str]:
    """What the last word of a pipeline may become: names of passes and recipes."""
    from ..compiler.pipeline.recipes import RECIPES
    from ..compiler.pipeline.registry import names

    head, comma, _ = incomplete.rpartition(",")
    return [f"{head}{comma}{name}" for name in (*names(), *RECIPES)]


def _targets() -> list[str]:
    from ..compiler.targets import TARGETS

    return list(TARGETS)


def _presets() -> list[str]:
    from ..runtime.preprocess import PRESETS

    return list(PRESETS)


DATA_HELP = ".npz, .npz#ARRAY, .npy, a folder of images, or file.py:function."

Data = Annotated[str, typer.Option(help=DATA_HELP, rich_help_panel=DATA)]
OptionalData = Annotated[str | None, typer.Option(help=DATA_HELP, rich_help_panel=DATA)]
Pipeline = Annotated[
    str,
    typer.Option(
        "--pipeline",
        "-p",
        help="Passes and options, or a recipe: basis:macs=0.5,quantize.",
        autocompletion=_pipelines,
    ),
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        help="imagenet, cifar10, unit, none or mean=..:std=..:size=..:crop=..",
        rich_help_panel=DATA,
        autocompletion=_presets,
    ),
]
Target = Annotated[
    str,
    typer.Option(help="xavier, xavier-8.2, -8.0, -dla, trt10 or ort.", rich_help_panel=ENGINE, autocompletion=_targets),
]
PowerMode = Annotated[
    str,
    typer.Option(
        help="Of the device, for the estimated latency: MAXN, 30W, 15W or 10W.",
        rich_help_panel=ENGINE,
        autocompletion=lambda: ["MAXN", "30W", "15W", "10W"],
    ),
]
Include = Annotated[str | None, typer.Option(help="Regular expression: only these nodes.", rich_help_panel=SCOPE)]
Exclude = Annotated[str | None, typer.Option(help="Regular expression: not these nodes.", rich_help_panel=SCOPE)]
Overrides = Annotated[
    list[str] | None,
    typer.Option(
        "--set", help="REGEX:PASS.OPTION=VALUE for the nodes it matches; may be repeated.", rich_help_panel=SCOPE
    ),
]
Plugins = Annotated[list[str] | None, typer.Option(help="A file or module with passes; may be repeated.")]
Jobs = Annotated[int, typer.Option(help="Processes that share the work; -1: one per core.", rich_help_panel=WORK)]
Cluster = Annotated[
    str | None,
    typer.Option(help="dask://host:port or ray://host:port: workers that share the work.", rich_help_panel=WORK),
]
Memory = Annotated[
    str | None,
    typer.Option(help="How far the process may grow while it works on samples: 2GB.", rich_help_panel=WORK),
]
Seed = Annotated[int, typer.Option(help="Of everything random.", rich_help_panel=WORK)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.", rich_help_panel=WRITTEN)]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
