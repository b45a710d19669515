"""`onnx-compress MODEL`: the main job."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..compiler.errors import UsageError
from .config import apply_config, as_toml
from .options import (
    DATA,
    ENGINE,
    WORK,
    WRITTEN,
    Cluster,
    Exclude,
    Include,
    Jobs,
    Memory,
    OptionalData,
    Overrides,
    Overwrite,
    Pipeline,
    Plugins,
    PowerMode,
    Preprocess,
    Quiet,
    Seed,
    Target,
)


def compress(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The ONNX file to compress.")],
    pipeline: Pipeline = "basis,quantize",
    output: Annotated[
        Path | None,
        typer.Option(
            "--output", "-o", help="Default: MODEL.compressed.onnx beside the input.", rich_help_panel=WRITTEN
        ),
    ] = None,
    target: Target = "xavier",
    data: OptionalData = None,
    samples: Annotated[
        int, typer.Option(min=1, help="How many samples are used, from the first.", rich_help_panel=DATA)
    ] = 1024,
    labels: Annotated[
        str | None, typer.Option(help="The array of the labels; for the report only.", rich_help_panel=DATA)
    ] = None,
    preprocess: Preprocess = None,
    include: Include = None,
    exclude: Exclude = None,
    overrides: Overrides = None,
    plugin: Plugins = None,
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of these flags; default: onnx-compress.toml.", callback=apply_config, is_eager=True
        ),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write what was done: .html to read, else JSON.", rich_help_panel=WRITTEN)
    ] = None,
    dump_dir: Annotated[
        Path | None,
        typer.Option(help="Keep the model after each pass here, and go on from there.", rich_help_panel=WRITTEN),
    ] = None,
    keep_going: Annotated[
        bool,
        typer.Option(
            "--keep-going", help="Leave out a pass that fails, and go on with the next.", rich_help_panel=WORK
        ),
    ] = False,
    no_prepare: Annotated[
        bool, typer.Option("--no-prepare", help="Leave out the folding of constants and BatchNormalization.")
    ] = False,
    no_legalize: Annotated[
        bool,
        typer.Option(
            "--no-legalize",
            help="Leave the model as the passes do, even if the target refuses it.",
            rich_help_panel=ENGINE,
        ),
    ] = False,
    plugin_op: Annotated[
        list[str] | None,
        typer.Option(help="An operator that the engine has a plug-in for; may be repeated.", rich_help_panel=ENGINE),
    ] = None,
    print_trtexec: Annotated[
        bool,
        typer.Option(
            "--print-trtexec",
            help="Print the command that compiles the model, and nothing else.",
            rich_help_panel=ENGINE,
        ),
    ] = False,
    power_mode: PowerMode = "MAXN",
    jobs: Jobs = 1,
    cluster: Cluster = None,
    memory: Memory = None,
    sensitivity: Annotated[
        Path | None,
        typer.Option(
            help="Table of what each Conv's error costs; measured and written where it is not there.",
            rich_help_panel=WORK,
        ),
    ] = None,
    seed: Seed = 0,
    overwrite: Overwrite = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the options in force as TOML, and nothing else.")
    ] = False,
    quiet: Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="A line per layer.")] = False,
) -> None:
    """Compress a model (the default command)."""
    if quiet and verbose:
        raise UsageError("-q and -v exclude each other", "command line", "choose one")
    if print_config:
        typer.echo(as_toml(ctx), nl=False)
        return
    from ..api import compress as run
    from .command import command_line
    from .console import progress_bars, results
    from .summary import print_summary

    written = default_output(Path(model)) if output is None else output
    with progress_bars(quiet, verbose) as progress:
        result = run(
            model,
            pipeline,
            output=written,
            target=target,
            data=data,
            samples=samples,
            labels=labels,
            preprocess=preprocess,
            include=include,
            exclude=exclude,
            overrides=overrides or [],
            plugins=plugin or [],
            prepare=not no_prepare,
            legalize=not no_legalize,
            plugin_operators=plugin_op or [],
            report=report,
            dump_dir=dump_dir,
            keep_going=keep_going,
            power_mode=power_mode,
            jobs=jobs,
            cluster=cluster,
            memory=memory,
            sensitivity_file=sensitivity,
            seed=seed,
            overwrite=overwrite,
            progress=progress,
            command=command_line(ctx),
        )
    if print_trtexec:
        typer.echo(result.report["target"]["command"])
    elif not quiet:
        print_summary(results(), result.report, verbose, report)


def default_output(model: Path) -> Path:
    """`net.onnx` -> `net.compressed.onnx`, in the same folder."""
    return model.with_name(f"{model.stem if model.suffix == '.onnx' else model.name}.compressed.onnx")
