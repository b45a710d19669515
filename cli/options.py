"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

Data = Annotated[str, typer.Option(help=".npz, .npz#ARRAY, .npy, a folder of images, or file.py:function.")]
OptionalData = Annotated[
    str | None, typer.Option(help=".npz, .npz#ARRAY, .npy, a folder of images, or file.py:function.")
]
Pipeline = Annotated[
    str, typer.Option("--pipeline", "-p", help="Passes and options, or a recipe: basis:macs=0.5,quantize.")
]
Preprocess = Annotated[str | None, typer.Option(help="imagenet, cifar10, unit, none or mean=..:std=..:size=..:crop=..")]
Target = Annotated[str, typer.Option(help="The engine: xavier, xavier-8.2, -8.0, -dla, trt10 or ort.")]
PowerMode = Annotated[str, typer.Option(help="Of the device, for the estimated latency: MAXN, 30W, 15W or 10W.")]
Include = Annotated[str | None, typer.Option(help="Regular expression: only these nodes.")]
Exclude = Annotated[str | None, typer.Option(help="Regular expression: not these nodes.")]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", help="REGEX:PASS.OPTION=VALUE for the nodes it matches; may be repeated.")
]
Plugins = Annotated[list[str] | None, typer.Option(help="A file or module with passes; may be repeated.")]
Jobs = Annotated[int, typer.Option(help="Processes that share the work; -1: one per core.")]
Cluster = Annotated[str | None, typer.Option(help="dask://host:port or ray://host:port: workers that share the work.")]
Seed = Annotated[int, typer.Option(help="Of everything random.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace existing files.")]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print nothing but errors.")]
AsJson = Annotated[bool, typer.Option("--json", help="As JSON.")]
