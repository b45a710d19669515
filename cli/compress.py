"""`onnx-compress MODEL`: the main job."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from ..compiler.errors import UsageError
from ..compiler.pipeline.options import ENGINE, RunOptions
from .config import apply_config, as_toml
from .options import AsJson, Pipeline, Quiet, takes_options

STDOUT = "-"


@takes_options("compress")
def compress(
    ctx: typer.Context,
    model: Annotated[str, typer.Argument(metavar="MODEL", help="The ONNX file to compress.")],
    options: RunOptions,
    pipeline: Pipeline = "basis,quantize",
    config: Annotated[
        Path | None,
        typer.Option(
            help="TOML file of these flags; default: onnx-compress.toml.", callback=apply_config, is_eager=True
        ),
    ] = None,
    print_trtexec: Annotated[
        bool,
        typer.Option(
            "--print-trtexec",
            help="Print the command that compiles the model, and nothing else.",
            rich_help_panel=ENGINE,
        ),
    ] = False,
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the options in force as TOML, and nothing else.")
    ] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what may become of every layer and how long that takes; fit nothing."),
    ] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="A line per layer.")] = False,
) -> None:
    """Compress a model (the default command)."""
    _refuse_both({"-q": quiet, "-v": verbose})
    piped = options.output == STDOUT
    _refuse_both({"--print-trtexec": print_trtexec, "--json": as_json, "-o -": piped, "--dry-run": dry_run})
    if print_config:
        sys.stdout.write(as_toml(ctx))
        return
    from ..compiler.files import Place
    from ..compiler.pipeline.commands import command_line
    from .console import errors, progress_bars, results
    from .streams import binary_output

    command = command_line(model, pipeline, options)
    target = binary_output() if piped else None
    if piped or options.output is None:
        options = replace(options, output=None if piped else str(default_output(Path(model))))
    if dry_run:
        _foresee(model, pipeline, options, quiet)
        return
    read = [] if config is None else [Place("the config file", config)]
    with progress_bars(quiet, verbose) as progress:
        with progress("start", 1) as advance:
            from ..drivers.compress import compress as run
            from .summary import print_summary

            advance()
        result = run(model, pipeline, options, progress, command, read)
    if print_trtexec:
        sys.stdout.write(result.report["target"]["command"] + "\n")  # click would put "?" for what is no text
    elif as_json:
        sys.stdout.write(json.dumps(result.report) + "\n")
    elif not quiet:
        print_summary(errors() if piped else results(), result.report, verbose, options.report)
    if target is not None:
        target(result.one_file())


def _foresee(model: str, pipeline: str, options: RunOptions, quiet: bool) -> None:
    from .console import progress_bars, results

    with progress_bars(quiet) as progress:
        with progress("start", 1) as advance:
            from ..drivers.outlook import outlook
            from .outlook import print_outlook

            advance()
        found = outlook(model, pipeline, options, progress)
    print_outlook(results(), found)


def _refuse_both(given: Mapping[str, bool]) -> None:
    """`UsageError` where more than one of these is given."""
    several = [flag for flag, is_given in given.items() if is_given]
    if len(several) > 1:
        raise UsageError(f"{' and '.join(several)} exclude each other", "command line", "choose one")


def default_output(model: Path) -> Path:
    """`net.onnx` -> `net.compressed.onnx`, in the same folder."""
    return model.parent / f"{model.stem if model.suffix == '.onnx' else model.name}.compressed.onnx"
